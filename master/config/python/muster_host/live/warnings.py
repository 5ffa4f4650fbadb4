"""How `WarningCountingShellCommand` and `Test` run where a class of the configuration's own changes something of it.

The engine counts the warnings of all others (`engine/src/steps/warnings`).
"""

import re

from buildbot.process.results import FAILURE, WARNINGS, worst_status


class LiveWarnings:
    """The methods of `WarningCountingShellCommand` that run."""

    warnCount = 0
    commentEmptyLineRe = re.compile(r"^\s*(#.*)?$")
    suppressionLineRe = re.compile(r"^\s*(.+?)\s*:\s*(.+?)\s*(?:[:]\s*([0-9]+)(?:-([0-9]+))?\s*)?$")

    def run(self):
        return self._running().loop.start(self._run_counting())

    async def _run_counting(self):
        from buildbot.process.logobserver import LineConsumerLogObserver
        from muster_host.live.rendering import awaited

        self.directoryStack, self.loggedWarnings = [], []
        if self.warningPattern:
            self.addLogObserver("stdio", LineConsumerLogObserver(self.warningLogConsumer))
        cmd = await self.makeRemoteShellCommand()
        await awaited(self.setup_suppression())
        compiled = lambda pattern: re.compile(pattern) if isinstance(pattern, str) else pattern
        self.suppressions = [(compiled(file), compiled(text), *lines) for file, text, *lines in self.suppressionList]
        await self.runCommand(cmd)
        await awaited(self.finish_logs())
        await awaited(self.createSummary())
        return await awaited(self.evaluateCommand(cmd))

    def setup_suppression(self):
        return self._running().loop.start(self._set_up_suppression())

    async def _set_up_suppression(self):
        if self.suppressionFile is None:
            return
        content = await self.getFileContentFromWorker(self.suppressionFile, abandonOnFailure=True)
        for line in content.split("\n"):
            match = None if self.commentEmptyLineRe.match(line) else self.suppressionLineRe.match(line)
            if match:
                file, text, first, last = match.groups()
                first = None if first is None else int(first)
                self.addSuppression([(file, text, first, first if last is None else int(last))])

    def warningLogConsumer(self):
        """Looks at each line."""
        compiled = lambda pattern: re.compile(pattern) if isinstance(pattern, str) else pattern
        warning, enter, leave = map(
            compiled, (self.warningPattern, self.directoryEnterPattern, self.directoryLeavePattern)
        )
        while True:
            _stream, line = yield
            entered = enter.search(line) if enter else None
            if entered:
                self.directoryStack.append(entered.group(1))
            elif leave and self.directoryStack and leave.search(line):
                self.directoryStack.pop()
            else:
                match = warning.match(line)
                if match:
                    self.maybeAddWarning(self.loggedWarnings, line, match)

    def maybeAddWarning(self, warnings, line, match):
        """Counts a warning, unless it is suppressed."""
        if self.suppressions and self._is_suppressed(line, match):
            return
        warnings.append(line)
        self.warnCount += 1

    def _is_suppressed(self, line, match):
        extract = self.warningExtractor or type(self).warnExtractWholeLine
        file, number, text = extract(self, line, match)
        number = None if number is None else int(number)
        if file is not None and self.directoryStack and self.directoryStack[-1]:
            file = "/".join([self.directoryStack[-1], file])
        for of_file, of_text, first, last in self.suppressions:
            in_file = of_file is None or (file is not None and of_file.search(file))
            in_text = of_text is None or of_text.search(text)
            in_lines = (first is None and last is None) or (number is not None and first <= number <= last)
            if in_file and in_text and in_lines:
                return True
        return False

    def finish_logs(self):
        return self.getLog("stdio").finish()

    def createSummary(self):
        """A log of the warnings, and their number."""
        if self.warnCount:
            self.addCompleteLog(f"warnings ({self.warnCount})", "\n".join(self.loggedWarnings) + "\n")
        self.setStatistic("warnings", self.getStatistic("warnings", 0) + self.warnCount)
        before = self.getProperty("warnings-count", 0)
        return self.setProperty("warnings-count", before + self.warnCount, "WarningCountingShellCommand")

    def evaluateCommand(self, cmd):
        """The result, by the exit code and the number of warnings."""
        result = cmd.results()
        if self.maxWarnCount is not None and self.warnCount > self.maxWarnCount:
            return worst_status(result, FAILURE)
        return worst_status(result, WARNINGS) if self.warnCount else result


class LiveTest:
    """The methods of `Test` that run."""

    def setTestResults(self, total=0, failed=0, passed=0, warnings=0):
        """Adds to the numbers of tests."""
        for name, more in (("total", total), ("failed", failed), ("passed", passed), ("warnings", warnings)):
            self.setStatistic(f"tests-{name}", self.getStatistic(f"tests-{name}", 0) + more)

    def getResultSummary(self):
        if not self.hasStatistic("tests-total"):
            return super().getResultSummary()
        number = lambda name: self.getStatistic(f"tests-{name}", 0)
        total, passed, warnings = number("total"), number("passed"), number("warnings")
        failed = number("failed")
        words = [f"{total} tests"] if total else []
        words += [f"{value} {name}" for name, value in (("passed", passed), ("warnings", warnings), ("failed", failed)) if value]
        from buildbot.process.results import SUCCESS, statusToString

        text = " ".join(words) + ("" if self.results == SUCCESS else f" ({statusToString(self.results)})")
        return {"step": text}
