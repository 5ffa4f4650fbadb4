"""The scheduler that steps trigger."""

from buildbot.schedulers.base import BaseScheduler, reason_as_data

__all__ = ["Triggerable"]


class Triggerable(BaseScheduler):
    """Builds when a `Trigger` step says so."""

    kind = "triggerable"
    class_name = "buildbot.schedulers.triggerable.Triggerable"
    compare_attrs = ("reason",)

    def __init__(self, name, builderNames, reason=None, **kwargs):
        super().__init__(name, builderNames, **kwargs)
        self.reason = reason

    def own_data(self, encode):
        return {"reason": reason_as_data(self.reason, encode)}
