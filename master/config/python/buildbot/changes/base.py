"""What all change sources have."""

from buildbot import util
from buildbot.config.errors import error
from muster_host.location import caller


class ChangeSource(util.ComparableMixin):
    """Finds changes."""

    kind = None
    class_name = None
    compare_attrs = ("name",)

    def __init__(self, name):
        self.location = caller()
        self.name = util.bytes2unicode(name)

    def as_data(self, encode):
        """The change source for the snapshot."""
        return {
            "name": self.name,
            "class_name": self.class_name,
            "kind": {"kind": self.kind, **self.own_data(encode)},
            "source": self.location.as_data(),
        }

    def own_data(self, encode):
        """What the class adds."""
        raise NotImplementedError


class ReconfigurablePollingChangeSource(ChangeSource):
    """Asks from time to time."""

    compare_attrs = ("pollInterval", "pollAtLaunch", "pollRandomDelayMin", "pollRandomDelayMax")

    def __init__(
        self, name, pollInterval=10 * 60, pollAtLaunch=False, pollRandomDelayMin=0, pollRandomDelayMax=0
    ):
        super().__init__(name)
        if pollInterval < 0:
            error(f"interval must be >= 0: {pollInterval}")
        if pollRandomDelayMin < 0:
            error(f"min random delay must be >= 0: {pollRandomDelayMin}")
        if pollRandomDelayMax < 0:
            error(f"max random delay must be >= 0: {pollRandomDelayMax}")
        if pollRandomDelayMin > pollRandomDelayMax:
            error(f"min random delay must be <= {pollRandomDelayMax}: {pollRandomDelayMin}")
        if pollRandomDelayMax >= pollInterval:
            error(f"max random delay must be < {pollInterval}: {pollRandomDelayMax}")
        self.pollInterval, self.pollAtLaunch = pollInterval, pollAtLaunch
        self.pollRandomDelayMin, self.pollRandomDelayMax = pollRandomDelayMin, pollRandomDelayMax

    def own_data(self, encode):
        return {
            "poll_interval": self.pollInterval,
            "poll_at_launch": bool(self.pollAtLaunch),
            "poll_random_delay_min": self.pollRandomDelayMin,
            "poll_random_delay_max": self.pollRandomDelayMax,
        }
