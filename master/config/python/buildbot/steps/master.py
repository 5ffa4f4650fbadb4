"""Steps that happen on the master."""

from buildbot.config.errors import warn
from buildbot.process.buildstep import BuildStep

__all__ = ["Assert", "LogRenderable", "MasterShellCommand", "SetProperties", "SetProperty"]


class MasterShellCommand(BuildStep):
    """Runs a command on the master."""

    kind = "MasterShellCommand"
    name = "MasterShellCommand"
    description = "Running"
    descriptionDone = "Ran"
    haltOnFailure = True
    renderables = ["command", "env"]
    env = None
    usePTY = 0
    interruptSignal = "KILL"
    logEnviron = True
    runtime_timeout = 3600
    arguments = ("command", "env", "interruptSignal", "logEnviron", "runtime_timeout")

    def __init__(self, command, **kwargs):
        if kwargs.get("usePTY"):
            warn("MasterShellCommand: usePTY is not supported by Muster yet: the command has no terminal")
        for name in (*self.arguments, "usePTY"):
            if name in kwargs:
                setattr(self, name, kwargs.pop(name))
        super().__init__(**kwargs)
        self.command = command


class SetProperty(BuildStep):
    """Sets one property."""

    kind = "SetProperty"
    name = "SetProperty"
    description = ["Setting"]
    descriptionDone = ["Set"]
    arguments = renderables = ["property", "value"]

    def __init__(self, property, value, **kwargs):
        super().__init__(**kwargs)
        self.property, self.value = property, value


class SetProperties(BuildStep):
    """Sets several properties."""

    kind = "SetProperties"
    name = "SetProperties"
    description = ["Setting Properties.."]
    descriptionDone = ["Properties Set"]
    arguments = renderables = ["properties"]

    def __init__(self, properties=None, **kwargs):
        super().__init__(**kwargs)
        self.properties = properties


class Assert(BuildStep):
    """Fails when a value is false."""

    kind = "Assert"
    name = "Assert"
    description = ["Checking.."]
    arguments = renderables = ["check"]

    def __init__(self, check, **kwargs):
        super().__init__(**kwargs)
        self.check = check
        self.descriptionDone = [f"checked {check!r}"]


class LogRenderable(BuildStep):
    """Writes a value into a log."""

    kind = "LogRenderable"
    name = "LogRenderable"
    description = ["Logging"]
    descriptionDone = ["Logged"]
    arguments = renderables = ["content"]

    def __init__(self, content, **kwargs):
        super().__init__(**kwargs)
        self.content = content
