"""Starts other builds."""

from buildbot.config.errors import error
from buildbot.interfaces import IRenderable
from buildbot.process.buildstep import BuildStep

__all__ = ["Trigger"]


class Trigger(BuildStep):
    """Asks triggerable schedulers for builds."""

    kind = "Trigger"
    name = "trigger"
    arguments = (
        "schedulerNames", "unimportantSchedulerNames", "sourceStamps", "updateSourceStamp", "alwaysUseLatest",
        "waitForFinish", "set_properties", "parent_relationship",
    )  # fmt: skip
    renderables = list(arguments)

    def __init__(
        self,
        schedulerNames=None,
        sourceStamp=None,
        sourceStamps=None,
        updateSourceStamp=None,
        alwaysUseLatest=False,
        waitForFinish=False,
        set_properties=None,
        copy_properties=None,
        parent_relationship="Triggered from",
        unimportantSchedulerNames=None,
        **kwargs,
    ):
        from buildbot.process.properties import Property

        if not schedulerNames:
            error("You must specify a scheduler to trigger")
        if (sourceStamp or sourceStamps) and updateSourceStamp is not None:
            error("You can't specify both sourceStamps and updateSourceStamp")
        if (sourceStamp or sourceStamps) and alwaysUseLatest:
            error("You can't specify both sourceStamps and alwaysUseLatest")
        if alwaysUseLatest and updateSourceStamp is not None:
            error("You can't specify both alwaysUseLatest and updateSourceStamp")
        unimportant = unimportantSchedulerNames or []
        if _is_list(schedulerNames) and _is_list(unimportant) and not set(unimportant) <= set(schedulerNames):
            error("unimportantSchedulerNames must be a subset of schedulerNames")
        self.schedulerNames, self.unimportantSchedulerNames = schedulerNames, unimportant
        self.sourceStamps = sourceStamps or ([sourceStamp] if sourceStamp else [])
        default = not (alwaysUseLatest or self.sourceStamps)
        self.updateSourceStamp = default if updateSourceStamp is None else updateSourceStamp
        self.alwaysUseLatest, self.waitForFinish = alwaysUseLatest, waitForFinish
        properties = dict(set_properties or {})
        properties.update({name: Property(name) for name in copy_properties or []})
        for virtual in [each for each in properties if str(each).startswith("virtual_builder_")]:
            error(f"Trigger: set_properties has '{virtual}': Muster has no virtual builders yet")
        self.set_properties, self.parent_relationship = properties, parent_relationship
        super().__init__(**kwargs)


def _is_list(names):
    return isinstance(names, (list, tuple)) and not any(IRenderable.providedBy(name) for name in names)
