"""Workers."""

from buildbot import util
from buildbot.config.checks import check_names_of_properties
from buildbot.config.errors import error
from buildbot.process.buildstep import locks_as_data
from muster_host.location import caller

__all__ = ["AbstractWorker", "Worker"]


class AbstractWorker(util.ComparableMixin):
    """One worker: keeps its arguments."""

    class_name = "buildbot.worker.base.Worker"
    compare_attrs = ("name", "password", "max_builds", "_properties", "_default_properties", "machine_name")

    def __init__(
        self,
        name,
        password,
        max_builds=None,
        notify_on_missing=None,
        missing_timeout=None,
        properties=None,
        defaultProperties=None,
        locks=None,
        keepalive_interval=3600,
        machine_name=None,
    ):
        self.location = caller()
        self.name = self.workername = util.bytes2unicode(name)
        self.password = password
        self.max_builds = max_builds
        if max_builds is not None and (type(max_builds) is not int or max_builds < 0):
            error(f"worker '{self.name}': max_builds must be a number from 0 on, not {max_builds!r}")
            self.max_builds = None
        notify = [notify_on_missing] if isinstance(notify_on_missing, str) else list(notify_on_missing or [])
        for address in notify:
            if not isinstance(address, str):
                error(f"notify_on_missing arg {address!r} is not a string")
        self.notify_on_missing = [address for address in notify if isinstance(address, str)]
        self.missing_timeout = 3600 if missing_timeout is None else missing_timeout
        self.keepalive_interval = keepalive_interval
        self._properties = dict((properties or {}).items())
        self._default_properties = dict((defaultProperties or {}).items())
        check_names_of_properties(self._properties, f"Worker {self.name} property")
        check_names_of_properties(self._default_properties, f"Worker {self.name} default property")
        self.locks = locks or []
        self.machine_name = machine_name
        if machine_name is not None:
            error(f"worker '{self.name}': machine_name is not supported by Muster yet")

    @property
    def properties(self):
        """The properties, as configurations look at them."""
        return self._as_properties(self._properties)

    @property
    def defaultProperties(self):
        return self._as_properties(self._default_properties)

    def _as_properties(self, values):
        from buildbot.process.properties import Properties

        made = Properties()
        made.update(values, "Worker")
        return made

    def as_data(self, encode):
        """The worker for the snapshot."""
        return {
            "name": self.name,
            "class_name": self.class_name,
            "password": None if self.password is None else encode.at("password")(self.password),
            "max_builds": self.max_builds,
            "notify_on_missing": self.notify_on_missing,
            "missing_timeout": self.missing_timeout,
            "properties": encode.at("properties").values(self._properties),
            "default_properties": encode.at("defaultProperties").values(self._default_properties),
            "locks": locks_as_data(self.locks, encode.at("locks")),
            "machine_name": None,
            "keepalive_interval": self.keepalive_interval,
            "source": self.location.as_data(),
        }


class Worker(AbstractWorker):
    """A worker that connects to the master."""
