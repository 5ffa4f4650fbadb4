"""Small steps on the worker's files."""

from buildbot.process.buildstep import BuildStep
from muster_host.live.shell import LiveComposite

__all__ = ["CompositeStepMixin", "CopyDirectory", "FileExists", "MakeDirectory", "RemoveDirectory", "SetPropertiesFromEnv"]


class WorkerBuildStep(BuildStep):
    """A step that gives one order to the worker."""


class CompositeStepMixin(LiveComposite):
    """Small commands for steps of the user's own."""


class SetPropertiesFromEnv(WorkerBuildStep):
    """Properties from the environment of the worker's process."""

    kind = "SetPropertiesFromEnv"
    name = "SetPropertiesFromEnv"
    description = ["Setting"]
    descriptionDone = ["Set"]
    arguments = ("variables", "source")

    def __init__(self, variables, source="WorkerEnvironment", **kwargs):
        super().__init__(**kwargs)
        self.variables, self.source = variables, source


class FileExists(WorkerBuildStep):
    """Fails when there is no such file."""

    kind = "FileExists"
    name = "FileExists"
    haltOnFailure = True
    arguments = ("file",)
    renderables = ["file"]

    def __init__(self, file, **kwargs):
        super().__init__(**kwargs)
        self.file = file


class CopyDirectory(WorkerBuildStep):
    """Copies a directory."""

    kind = "CopyDirectory"
    name = "CopyDirectory"
    description = ["Copying"]
    descriptionDone = ["Copied"]
    haltOnFailure = True
    arguments = ("src", "dest", "timeout", "maxTime")
    renderables = ["src", "dest"]

    def __init__(self, src, dest, timeout=120, maxTime=None, **kwargs):
        super().__init__(**kwargs)
        self.src, self.dest, self.timeout, self.maxTime = src, dest, timeout, maxTime


class RemoveDirectory(WorkerBuildStep):
    """Removes a directory."""

    kind = "RemoveDirectory"
    name = "RemoveDirectory"
    description = ["Deleting"]
    descriptionDone = ["Deleted"]
    haltOnFailure = True
    arguments = ("dir",)
    renderables = ["dir"]

    def __init__(self, dir, **kwargs):
        super().__init__(**kwargs)
        self.dir = dir


class MakeDirectory(WorkerBuildStep):
    """Makes a directory, with those above it."""

    kind = "MakeDirectory"
    name = "MakeDirectory"
    description = ["Creating"]
    descriptionDone = ["Created"]
    haltOnFailure = True
    arguments = ("dir",)
    renderables = ["dir"]

    def __init__(self, dir, **kwargs):
        super().__init__(**kwargs)
        self.dir = dir
