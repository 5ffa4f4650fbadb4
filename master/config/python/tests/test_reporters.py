"""Reporters."""

import unittest

from tests.support import ConfigTestCase

HEAD = "from buildbot.plugins import reporters\n"


class Mail(ConfigTestCase):
    def test_a_mail_notifier_for_missing_workers(self):
        snapshot = self.load(
            HEAD + "c['services'] = [reporters.MailNotifier('ci@example.org', relayhost='mail', smtpPort=2525, "
            "generators=[reporters.WorkerMissingGenerator(workers=['w2', 'w1'])])]\n"
        )
        (reporter,) = snapshot["reporters"]
        self.assertEqual(reporter["name"], "MailNotifier")
        self.assertEqual(reporter["generators"], [{"kind": "worker_missing", "workers": ["w1", "w2"]}])
        kind = reporter["kind"]
        self.assertEqual((kind["kind"], kind["relay_host"], kind["smtp_port"]), ("mail", "mail", 2525))

    def test_who_gets_no_mail_about_a_missing_worker_is_said_at_load(self):
        mail = (
            "c['services'] = [reporters.MailNotifier('ci@example.org', {}"
            "generators=[reporters.WorkerMissingGenerator({})])]\n"
        )
        told = "c['workers'] = [worker.Worker('w1', 'x', notify_on_missing='a@b'), worker.Worker('w2', 'x')]\n"
        for text, warnings in (
            (mail.format("", ""), ["nobody gets its mails about missing workers"]),
            (told + mail.format("", ""), []),
            (told + mail.format("sendToInterestedUsers=False, ", "['w1']"), []),
            (told + mail.format("", "['w1', 'w2']"), ["nobody gets a mail when 'w2' is missing"]),
            (told + mail.format("extraRecipients=['c@d'], ", ""), ["extraRecipients get no mails"]),
            (
                told + mail.format("", "['w2']"),
                ["nobody gets its mails about missing workers", "worker 'w1': notify_on_missing is set, but no MailNot"],
            ),
            (told, ["worker 'w1': notify_on_missing is set, but no MailNotifier"]),
            (
                told.replace("a@b', ", "a@b', missing_timeout=0, ").replace("='a@b')", "='a@b', missing_timeout=0)")
                + mail.format("", ""),
                ["nobody gets its mails about missing workers"],
            ),
            (
                told.replace("'a@b'", "['boss', 'a@b']") + mail.format("", ""),
                ["notify_on_missing 'boss' is no mail address"],
            ),
            (told.replace("'a@b'", "['boss']") + mail.format("lookup='example.org', ", ""), []),
        ):
            with self.subTest(text):
                found = [w for w in self.load(HEAD + text)["warnings"] if "mail" in w or "missing" in w]
                self.assertEqual(len(found), len(warnings), found)
                for warning, part in zip(found, warnings):
                    self.assertIn(part, warning)

    def test_what_is_not_supported_is_refused(self):
        notifier = "c['services'] = [reporters.MailNotifier(fromaddr='a@b', {})]\n"
        cases = [
            (notifier.format(""), "reports about builds are not supported"),
            (notifier.format("generators=[3]"), "3 is not supported"),
            (notifier.format("generators=[reporters.BuildStatusGenerator()]"), "not provided by Muster: reporters.BuildStatusGenerator"),
            (notifier.format("generators=[reporters.WorkerMissingGenerator('w')]"), "list of worker names"),
            (notifier.format("generators=[], smtpPort='25'"), "smtpPort must be a port"),
            ("c['services'] = [object()]\n", "is not supported by Muster yet"),
        ]
        for text, problem in cases:
            with self.subTest(text):
                self.assertIn(problem, "\n".join(self.errors(HEAD + text)))


if __name__ == "__main__":
    unittest.main()
