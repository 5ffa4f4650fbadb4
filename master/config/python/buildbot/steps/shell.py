"""Steps that run one command on the worker."""

import re

from buildbot.config.errors import error
from buildbot.process.buildstep import BuildStep, ShellMixin
from buildbot.steps.worker import CompositeStepMixin
from muster_host.live.warnings import LiveTest, LiveWarnings

__all__ = [
    "Compile", "Configure", "PerlModuleTest", "SetPropertyFromCommand", "ShellCommand", "ShellCommandNewStyle", "Test",
    "TreeSize", "WarningCountingShellCommand",
]  # fmt: skip


class ShellCommand(ShellMixin, BuildStep):
    """Runs a command; its exit code is the result."""

    kind = "ShellCommand"
    name = "shell"

    def __init__(self, **kwargs):
        if type(self) is ShellCommand:
            if "command" not in kwargs:
                error("ShellCommand's `command' argument is not specified")
            unknown = [name for name in kwargs if name not in (*BuildStep.parms, *ShellMixin.arguments)]
            if unknown:
                error("Invalid argument(s) passed to ShellCommand: " + ", ".join(unknown))
        super().__init__(**self.setupShellMixin(kwargs))

    def run(self):
        return self._running().loop.start(self._run_shell())

    async def _run_shell(self):
        cmd = await self.makeRemoteShellCommand()
        await self.runCommand(cmd)
        return cmd.results()


ShellCommandNewStyle = ShellCommand


class Configure(ShellCommand):
    """`./configure`"""

    kind = "ShellCommand"
    name = "configure"
    haltOnFailure = True
    description = "configuring"
    descriptionDone = "configure"
    command = ["./configure"]


class TreeSize(ShellMixin, BuildStep):
    """Measures the tree; the property `tree-size-KiB` has the number."""

    kind = "TreeSize"
    name = "treesize"
    command = ["du", "-s", "-k", "."]
    description = ["measuring", "tree", "size"]

    def __init__(self, **kwargs):
        super().__init__(**self.setupShellMixin(kwargs))


class SetPropertyFromCommand(ShellMixin, BuildStep):
    """Makes properties of a command's output."""

    kind = "SetPropertyFromCommand"
    name = "setproperty"
    arguments = ("property", "extract_fn", "strip", "includeStdout", "includeStderr")
    renderables = ["property"]

    def __init__(
        self, property=None, extract_fn=None, strip=True, includeStdout=True, includeStderr=False, **kwargs
    ):
        if (property is None) == (extract_fn is None):
            error("Exactly one of property and extract_fn must be set")
        self.property, self.extract_fn, self.strip = property, extract_fn, strip
        self.includeStdout, self.includeStderr = includeStdout, includeStderr
        super().__init__(**self.setupShellMixin(kwargs))


class WarningCountingShellCommand(LiveWarnings, ShellMixin, CompositeStepMixin, BuildStep):
    """Runs a command and counts the warnings in its output."""

    kind = "WarningCountingShellCommand"
    arguments = (
        "warningPattern", "warningExtractor", "maxWarnCount", "directoryEnterPattern", "directoryLeavePattern",
        "suppressionFile", "suppressionList",
    )  # fmt: skip
    renderables = list(arguments)

    warningPattern = "(?i).*warning[: ].*"
    warningExtractor = None
    maxWarnCount = None
    directoryEnterPattern = r"make.*: Entering directory [\u2019\"`'](.*)[\u2019'`\"]"
    directoryLeavePattern = r"make.*: Leaving directory"
    suppressionFile = None
    suppressionList = ()

    _NOT_GIVEN = object()

    def __init__(
        self,
        warningPattern=_NOT_GIVEN,
        warningExtractor=None,
        maxWarnCount=None,
        directoryEnterPattern=None,
        directoryLeavePattern=None,
        suppressionFile=None,
        suppressionList=None,
        **kwargs,
    ):
        if warningPattern is not self._NOT_GIVEN:
            self.warningPattern = warningPattern
        given = {
            "warningExtractor": warningExtractor,
            "maxWarnCount": maxWarnCount,
            "directoryEnterPattern": directoryEnterPattern,
            "directoryLeavePattern": directoryLeavePattern,
            "suppressionFile": suppressionFile,
            "suppressionList": suppressionList,
        }
        for name, value in given.items():
            if value is not None:
                setattr(self, name, value)
        super().__init__(**self.setupShellMixin(kwargs))

    def addSuppression(self, suppressionList):
        """More warnings that don't count."""
        self.suppressionList = [*self.suppressionList, *suppressionList]

    def own_arguments(self):
        """Patterns go as their text; the known ways to take a warning apart go by their name."""
        arguments = super().own_arguments()
        for name in ("warningPattern", "directoryEnterPattern", "directoryLeavePattern"):
            if isinstance(arguments[name], re.Pattern):
                arguments[name] = arguments[name].pattern
        known = (type(self).warnExtractWholeLine, type(self).warnExtractFromRegexpGroups)
        if arguments["warningExtractor"] in known:
            arguments["warningExtractor"] = arguments["warningExtractor"].__name__
        arguments["suppressionList"] = [
            [getattr(part, "pattern", part) for part in entry] for entry in arguments["suppressionList"]
        ]
        return arguments

    def warnExtractWholeLine(self, line, match):
        """The whole line is the text of the warning."""
        return None, None, line

    def warnExtractFromRegexpGroups(self, line, match):
        """The groups of the pattern are file, line number and text."""
        file, number, text = match.group(1), match.group(2), match.group(3)
        return file, None if number is None else int(number), text


class Compile(WarningCountingShellCommand):
    """`make all`, with its warnings counted."""

    name = "compile"
    haltOnFailure = True
    description = ["compiling"]
    descriptionDone = ["compile"]
    command = ["make", "all"]


class Test(LiveTest, WarningCountingShellCommand):
    """`make test`; the summary has the numbers of tests."""

    kind = "Test"
    name = "test"
    warnOnFailure = True
    description = ["testing"]
    descriptionDone = ["test"]
    command = ["make", "test"]


class PerlModuleTest(Test):
    """`prove`; the summary has the numbers of tests."""

    kind = "PerlModuleTest"
    command = ["prove", "--lib", "lib", "-r", "t"]
