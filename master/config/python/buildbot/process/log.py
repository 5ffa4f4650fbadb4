"""Logs of a running step."""

import re

#: What ends a line beside a newline, as Buildbot reads terminals.
_LINE_ENDS = re.compile(r"\r\n|\r(?=.)|\b+|\x1b\[u|\x1b\[[0-9]+;[0-9]+[Hf]|\x1b\[2J".replace(r"\b", "\x08"))
#: Characters after which an unfinished line is cut when more comes.
_MAX_LINE = 4096


class Log:
    """A log: what it gets goes to the master in whole lines."""

    types = {}

    def __init__(self, step, name, type, number, added):
        self.step, self.name, self.type, self.number, self.added = step, name, type, number, added
        self._subscribers, self._unfinished = [], {}
        self.finished, self._had_errors = False, False

    @staticmethod
    def of_type(type, step, name, number, added):
        if type not in Log.types:
            raise RuntimeError(f"There is no log of type {type!r}")
        return Log.types[type](step, name, type, number, added)

    def getName(self):
        return self.name

    def subscribe(self, callback):
        """Calls back with each piece: (stream, text), and (None, None) at the end."""
        self._subscribers.append(callback)
        return _Subscription(self._subscribers, callback)

    def had_errors(self):
        """Whether a subscriber failed."""
        return self._had_errors

    def tell(self, stream, text):
        """Shows subscribers what has come. What they raise makes the step an exception at its end."""
        for subscriber in list(self._subscribers):
            try:
                subscriber(stream, text)
            except Exception as failed:
                self._had_errors = True
                self.step.observer_failed(self, failed)

    def _add(self, stream, text):
        if isinstance(text, bytes):
            text = text.decode(self.step.logEncoding or "utf-8", "replace")
        if self.finished:
            raise RuntimeError(f"log '{self.name}' is finished")
        text = _LINE_ENDS.sub("\n", self._unfinished.pop(stream, "") + text)
        whole, newline, rest = text.rpartition("\n")
        while len(rest) > _MAX_LINE:
            whole, newline = f"{whole}{newline}{rest[:_MAX_LINE]}", "\n"
            rest = rest[_MAX_LINE:]
        if rest:
            self._unfinished[stream] = rest
        return self._write(stream, whole + newline) if newline else self.step._done()

    def _write(self, stream, lines):
        if self.number is None:
            raise RuntimeError(f"log '{self.name}' is written by the command alone")
        effect = {"effect": "append", "log": self.number, "stream": stream or "o", "text": lines}
        answer = self.step._running().ask(effect, len(lines))
        self.tell(stream, lines)
        return answer

    def flush(self):
        """Completes unfinished lines."""
        last = self.step._done()
        for stream, rest in sorted(self._unfinished.items()):
            last = self._write(stream, rest + "\n")
        self._unfinished.clear()
        return last

    def finish(self):
        """Nothing more comes."""
        if self.finished:
            return self.step._done()
        self.end()
        if self.number is None:
            return self.step._done()
        return self.step._running().ask({"effect": "finish_log", "log": self.number})

    def end(self):
        """The step ends, and with it what is still open."""
        if not self.finished:
            self.flush()
            self.finished = True
            self.tell(None, None)


class _Subscription:
    def __init__(self, subscribers, callback):
        self._subscribers, self._callback = subscribers, callback

    def unsubscribe(self):
        if self._callback in self._subscribers:
            self._subscribers.remove(self._callback)


class PlainLog(Log):
    """Text without streams."""

    def addContent(self, text):
        return self._add("o", text)

    def tell(self, stream, text):
        # Plain text has no stream, but an end.
        super().tell(None, text)


class TextLog(PlainLog):
    """Text."""


class HtmlLog(PlainLog):
    """A page."""


class StreamLog(Log):
    """Lines of standard output, standard error and headers."""

    def addStdout(self, text):
        return self._add("o", text)

    def addStderr(self, text):
        return self._add("e", text)

    def addHeader(self, text):
        return self._add("h", text)

    def addContent(self, text):
        return self._add("o", text)


Log.types = {"s": StreamLog, "t": TextLog, "h": HtmlLog}
