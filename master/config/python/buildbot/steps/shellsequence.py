"""Several commands in one step."""

import copy
import sys

from buildbot import util
from buildbot.config.errors import error
from buildbot.process.buildstep import BuildStep, ShellMixin
from buildbot.process.results import EXCEPTION, SUCCESS, computeResultAndTermination


class ShellArg(util.ComparableMixin):
    """One of the commands, with its flags."""

    flags = ("haltOnFailure", "flunkOnFailure", "flunkOnWarnings", "warnOnFailure", "warnOnWarnings")
    compare_attrs = ("command", "logname", *flags)
    haltOnFailure = False
    flunkOnFailure = True
    flunkOnWarnings = False
    warnOnFailure = False
    warnOnWarnings = False
    _is_rendered = False

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

        if self._is_rendered:
            return self
        # A copy: the next build renders this one again.
        rendered = copy.copy(self)
        rendered._is_rendered = True
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

    def shouldRunTheCommand(self, cmd):
        """Whether a command runs at all."""
        return bool(cmd)

    def run(self):
        return self.runShellSequence(self.commands)

    def runShellSequence(self, commands):
        """Runs the commands one after the other, to be awaited."""
        return self._running().loop.start(self._run_sequence(commands))

    async def _run_sequence(self, commands):
        if commands is None or not all(isinstance(each, ShellArg) for each in commands):
            print(f"step '{self.name}': the commands of a ShellSequence must be a list of ShellArg", file=sys.stderr)
            return EXCEPTION
        overall = SUCCESS
        for each in commands:
            if not self.shouldRunTheCommand(each.command):
                continue
            # The summary is that of the last one.
            self.command = each.command
            cmd = await self.makeRemoteShellCommand(command=each.command, stdioLogName=each.logname)
            await self.runCommand(cmd)
            overall, is_last = computeResultAndTermination(each, cmd.results(), overall)
            if is_last:
                break
        return overall

    def getFinalState(self):
        """What the step says when it is over."""
        return self.getResultSummary()["step"]
