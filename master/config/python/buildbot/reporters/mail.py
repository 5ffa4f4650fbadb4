"""Reports by mail."""

from buildbot import util
from buildbot.config.errors import error
from buildbot.process.properties import Secret
from buildbot.reporters.generators.worker import WorkerMissingGenerator
from muster_host.location import caller
from muster_host.not_yet import is_stand_in

__all__ = ["MailNotifier"]


class MailNotifier(util.ComparableMixin):
    """Sends reports as mails."""

    compare_attrs = (
        "name", "generators", "fromaddr", "relayhost", "smtpPort", "useTls", "useSmtps", "smtpUser", "smtpPassword",
        "extraRecipients", "extraHeaders", "sendToInterestedUsers", "lookup",
    )  # fmt: skip

    def __init__(
        self,
        fromaddr,
        relayhost="localhost",
        lookup=None,
        extraRecipients=None,
        sendToInterestedUsers=True,
        extraHeaders=None,
        useTls=False,
        useSmtps=False,
        smtpUser=None,
        smtpPassword=None,
        smtpPort=25,
        dumpMailsToLog=False,
        generators=None,
        name=None,
    ):
        self.location = caller()
        self.name = "MailNotifier" if name is None else util.bytes2unicode(name)
        self.fromaddr, self.relayhost, self.smtpPort = fromaddr, relayhost, smtpPort
        self.lookup, self.extraRecipients = lookup, list(extraRecipients or [])
        self.sendToInterestedUsers, self.extraHeaders = bool(sendToInterestedUsers), extraHeaders or {}
        self.useTls, self.useSmtps = bool(useTls), bool(useSmtps)
        self.smtpUser, self.smtpPassword = smtpUser, smtpPassword
        self.dumpMailsToLog = bool(dumpMailsToLog)
        self.generators = [WorkerMissingGenerator()] if generators is None else list(generators)
        self._check(generators is None)

    def _check(self, has_no_generators):
        if has_no_generators:
            # Buildbot's own default are builds, too; nobody shall wait for mails that never come.
            error(
                "MailNotifier: reports about builds are not supported by Muster yet; "
                "write generators=[reporters.WorkerMissingGenerator()]"
            )
        for generator in self.generators:
            if not isinstance(generator, WorkerMissingGenerator) and not is_stand_in(generator):
                error(f"MailNotifier: {generator!r} is not supported by Muster yet, only WorkerMissingGenerator")
        self.generators = [made for made in self.generators if isinstance(made, WorkerMissingGenerator)]
        for what, value in (("fromaddr", self.fromaddr), ("relayhost", self.relayhost)):
            if not isinstance(value, str) or not value:
                error(f"MailNotifier: {what} must be a string")
        if isinstance(self.smtpPort, bool) or not isinstance(self.smtpPort, int) or not 0 < self.smtpPort < 65536:
            error(f"MailNotifier: smtpPort must be a port, not {self.smtpPort!r}")
        if not all(isinstance(address, str) and "@" in address for address in self.extraRecipients):
            error("extra recipient must be a list of mail addresses")
        if not isinstance(self.extraHeaders, dict) or not all(
            isinstance(text, str) for pair in self.extraHeaders.items() for text in pair
        ):
            error("extraHeaders must be a dictionary of texts")
        if self.lookup is not None and not isinstance(self.lookup, str):
            error("MailNotifier: lookup must be a domain; other look-ups are not supported by Muster yet")
        for what, value in (("smtpUser", self.smtpUser), ("smtpPassword", self.smtpPassword)):
            if value is not None and not isinstance(value, (str, Secret)):
                error(f"MailNotifier: {what} must be a text or util.Secret, not {value!r}")

    def reaches(self, recipient):
        """Whether this has an address for somebody."""
        return "@" in recipient or bool(self.lookup)

    def as_data(self, encode):
        """The reporter for the snapshot."""
        return {
            "name": self.name,
            "kind": {
                "kind": "mail",
                "from_address": self.fromaddr,
                "relay_host": self.relayhost,
                "smtp_port": self.smtpPort,
                "use_tls": self.useTls,
                "use_smtps": self.useSmtps,
                "smtp_user": encode(self.smtpUser),
                "smtp_password": encode(self.smtpPassword),
                "domain": self.lookup.lstrip("@") if self.lookup else None,
                "extra_headers": self.extraHeaders,
                "dump_mails_to_log": self.dumpMailsToLog,
            },
            "generators": [generator.as_data() for generator in self.generators],
            "source": self.location.as_data(),
        }
