"""Several commands in one step."""

import copy

from buildbot import util
from buildbot.config.errors import error
from buildbot.process.buildstep import BuildStep, ShellMixin


class ShellArg(util.ComparableMixin):
    """One of the commands, with its flags."""

    flags = ("haltOnFailure", "flunkOnFailure", "flunkOnWarnings", "warnOnFailure", "warnOnWarnings")
    compare_attrs = ("command", "logname", *flags)
    haltOnFailure = False
    flunkOnFailure = True
    flunkOnWarnings = False
    warnOnFailure = False
    warnOnWarnings = False

    def __init__(self, command=None, logname=None, logfile=None, **kwargs):
        if command is None:
            error("the 'command' parameter of ShellArg must not be None")
        self.command = command
        self.logname = logname if logname is not None else logfile
        for name, value in kwargs.items():
            if name not in self.flags:
                error(f"the parameter '{name}' is not handled by ShellArg")
            else:
                setattr(self, name, value)

    def getRenderingFor(self, props):
        from buildbot.process.properties import render

        # A copy: the next build renders this one again.
        rendered = copy.copy(self)
        for name in self.compare_attrs:
            setattr(rendered, name, render(getattr(self, name), props))
        return rendered

    def as_form(self, encode):
        """A dictionary of its arguments."""
        return {name: encode.at(name)(getattr(self, name)) for name in self.compare_attrs}


class ShellSequence(ShellMixin, BuildStep):
    """Runs commands one after the other, each with its own log."""

    kind = "ShellSequence"
    arguments = ("commands",)
    without = ("command",)
    renderables = ["commands"]

    def __init__(self, commands=None, **kwargs):
        self.commands = commands
        super().__init__(**self.setupShellMixin(kwargs, prohibitArgs=["command"]))
