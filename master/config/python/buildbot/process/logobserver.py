"""Observers of logs."""

__all__ = [
    "BufferLogObserver", "LineConsumerLogObserver", "LogLineObserver", "LogObserver", "OutputProgressObserver",
]  # fmt: skip


class LogObserver:
    """Sees what comes into a log."""

    def __init__(self):
        self.step = self.log = None

    def setStep(self, step):
        self.step = step

    def setLog(self, loog):
        self.log = loog
        loog.subscribe(self.gotData)

    def gotData(self, stream, data):
        """A piece of the log; without data it is the end."""
        if data is None:
            self.finishReceived()
        elif stream is None or stream == "o":
            self.outReceived(data)
        elif stream == "e":
            self.errReceived(data)
        elif stream == "h":
            self.headerReceived(data)

    def logChunk(self, build, step, log, channel, text):
        """The old name of `gotData`."""

    def finishReceived(self):
        """The log is finished."""

    def outReceived(self, data):
        """Standard output."""

    def errReceived(self, data):
        """Standard error."""

    def headerReceived(self, data):
        """Words of the master and the worker."""


class LogLineObserver(LogObserver):
    """Sees line by line."""

    stdoutDelimiter = stderrDelimiter = headerDelimiter = "\n"

    def __init__(self):
        super().__init__()
        self.max_length = 16384

    def setMaxLineLength(self, max_length):
        """Longer lines are not shown."""
        self.max_length = max_length

    def _lines(self, data, delimiter, received):
        for line in data.rstrip().split(delimiter):
            if len(line) <= self.max_length:
                received(line)

    def outReceived(self, data):
        self._lines(data, self.stdoutDelimiter, self.outLineReceived)

    def errReceived(self, data):
        self._lines(data, self.stderrDelimiter, self.errLineReceived)

    def headerReceived(self, data):
        self._lines(data, self.headerDelimiter, self.headerLineReceived)

    def outLineReceived(self, line):
        """A line of standard output."""

    def errLineReceived(self, line):
        """A line of standard error."""

    def headerLineReceived(self, line):
        """A line of a header."""


class LineConsumerLogObserver(LogLineObserver):
    """Feeds a generator with (stream, line)."""

    def __init__(self, consumerFunction):
        super().__init__()
        self.generator = None
        self.consumerFunction = consumerFunction

    def feed(self, input):
        if self.generator is None:
            self.generator = self.consumerFunction()
            next(self.generator)
        self.generator.send(input)

    def outLineReceived(self, line):
        self.feed(("o", line))

    def errLineReceived(self, line):
        self.feed(("e", line))

    def headerLineReceived(self, line):
        self.feed(("h", line))

    def finishReceived(self):
        if self.generator is not None:
            self.generator.close()


class OutputProgressObserver(LogObserver):
    """Counts what comes, as a metric of progress."""

    length = 0

    def __init__(self, name):
        super().__init__()
        self.name = name

    def gotData(self, stream, data):
        if data is not None:
            self.length += len(data)
        self.step.setProgress(self.name, self.length)


class BufferLogObserver(LogObserver):
    """Keeps what comes."""

    def __init__(self, wantStdout=True, wantStderr=False):
        super().__init__()
        self.stdout = [] if wantStdout else None
        self.stderr = [] if wantStderr else None

    def outReceived(self, data):
        if self.stdout is not None:
            self.stdout.append(data)

    def errReceived(self, data):
        if self.stderr is not None:
            self.stderr.append(data)

    def getStdout(self):
        return "".join(self.stdout or ())

    def getStderr(self):
        return "".join(self.stderr or ())
