"""Commands for the worker."""

from buildbot.process.results import CANCELLED, FAILURE, SUCCESS
from muster_host.live import commands

__all__ = ["RemoteCommand", "RemoteShellCommand"]

#: What a command keeps of its own output, in characters of all streams; more is an error, so that nothing is cut silently.
MAX_KEPT = 64 << 20
#: What the master keeps of the output of a command that has no log, in bytes.
MAX_RESULT = 256 << 10


class RemoteCommand:
    """One command: what the worker is told, and what it said."""

    active = False
    rc = None
    debug = False

    def __init__(
        self,
        remote_command,
        args,
        ignore_updates=False,
        collectStdout=False,
        collectStderr=False,
        decodeRC=None,
        stdioLogName="stdio",
    ):
        self.remote_command, self.args = remote_command, args
        self.ignore_updates = ignore_updates
        self.collectStdout, self.collectStderr = collectStdout, collectStderr
        self.stdout = self.stderr = ""
        self.updates, self.logs, self.delayedLogs, self._closeWhenFinished = {}, {}, {}, {}
        self.decodeRC = {0: SUCCESS} if decodeRC is None else decodeRC
        self.stdioLogName = stdioLogName
        self.step = self.worker = self.conn = None
        self.interrupted = False
        self.remote_failure_reason = None
        self._kept = {"o": [], "e": []}
        self._kept_characters = 0

    def __repr__(self):
        return f"<RemoteCommand '{self.remote_command}' at {id(self)}>"

    def useLog(self, log_, closeWhenFinished=False, logfileName=None):
        """The log of standard output, or of a followed file."""
        name = logfileName or log_.getName()
        self.logs[name], self._closeWhenFinished[name] = log_, closeWhenFinished

    def useLogDelayed(self, logfileName, activateCallBack, closeWhenFinished=False):
        """A log that is made with its first line."""
        self.delayedLogs[logfileName] = (activateCallBack, closeWhenFinished)

    def run(self, step, conn, builder_name):
        """Runs it; itself when it is over, to be awaited."""
        self.step, self.conn = step, conn
        return step._running().loop.start(self._run())

    def _prepare(self):
        """What is known only now."""

    async def _run(self):
        conversation = self.step._running()
        self._prepare()
        effect = commands.effect_of(self)
        self.active = True
        number, answer = conversation.perform(effect)
        conversation.readers[number] = self._read
        try:
            result = await answer
        finally:
            self.active = False
            conversation.readers.pop(number, None)
        self._take(result)
        for name, log in list(self.logs.items()):
            if self._closeWhenFinished.get(name):
                await log.finish()
        return self

    def _take(self, result):
        """What the worker said, under the names of its updates."""
        self.rc = result.get("rc")
        self.interrupted = self.interrupted or bool(result.get("interrupted"))
        self.remote_failure_reason = result.get("failure_reason")
        self.content = result.get("content")
        if self.stdioLogName in self.logs:
            self.stdout, self.stderr = "".join(self._kept["o"]), "".join(self._kept["e"])
        else:
            self.stdout, self.stderr = result.get("stdout") or "", result.get("stderr") or ""
            if max(len(self.stdout.encode("utf-8", "replace")), len(self.stderr.encode("utf-8", "replace"))) >= MAX_RESULT:
                raise RuntimeError(f"the output of {self!r} is longer than {MAX_RESULT} bytes, and it has no log")
        found = {
            "rc": self.rc,
            "stat": tuple(result["stat"]) if result.get("stat") else None,
            "files": result.get("files") or ([] if self.remote_command in ("glob", "listdir") and self.rc == 0 else None),
            "failure_reason": self.remote_failure_reason,
        }
        for name, value in found.items():
            if value is not None:
                self.updates.setdefault(name, []).append(value)

    def _read(self, message):
        """Lines that have come."""
        stream, text, name = message["stream"], message["text"], message.get("name")
        if name is None:
            wanted = self.collectStdout if stream == "o" else self.collectStderr if stream == "e" else False
            if wanted:
                self._keep(stream, text)
            log = self.logs.get(self.stdioLogName)
        else:
            log = self.logs.get(name)
            if log is None:
                log = self.logs[name] = self.step._log_of_master(name, "s")
        if log is not None:
            log.tell(stream, text)

    def _keep(self, stream, text):
        self._kept_characters += len(text)
        if self._kept_characters > MAX_KEPT:
            self.step.observer_failed(self, RuntimeError(f"the output of {self!r} is longer than {MAX_KEPT} characters"))
            return
        self._kept[stream].append(text)

    def wants_lines(self):
        """Whether anybody looks at the output."""
        names = {self.stdioLogName, *self.delayedLogs, *self.logs}
        pending = any(name in names for name, _observer in self.step._pending_observers)
        collects = self.stdioLogName in self.logs and (self.collectStdout or self.collectStderr)
        return bool(collects or pending or any(log._subscribers for log in self.logs.values()))

    def interrupt(self, why):
        """The master has told the worker already."""
        self.interrupted = True
        return self.step._done()

    def results(self):
        if self.interrupted:
            return CANCELLED
        return self.decodeRC.get(self.rc, FAILURE)

    def didFail(self):
        return self.results() == FAILURE


LoggedRemoteCommand = RemoteCommand


class RemoteShellCommand(RemoteCommand):
    """A program."""

    def __init__(
        self,
        workdir,
        command,
        env=None,
        want_stdout=1,
        want_stderr=1,
        timeout=20 * 60,
        maxTime=None,
        max_lines=None,
        sigtermTime=None,
        logfiles=None,
        usePTY=None,
        logEnviron=True,
        collectStdout=False,
        collectStderr=False,
        interruptSignal=None,
        initialStdin=None,
        decodeRC=None,
        stdioLogName="stdio",
    ):
        # Messages show it without what is obfuscated.
        self.command = self.fake_command = command
        if isinstance(command, (list, tuple)):
            self.fake_command = [word[2] if commands.is_obfuscated(word) else word for word in command]
        args = {
            "workdir": workdir, "env": None if env is None else dict(env), "want_stdout": want_stdout,
            "want_stderr": want_stderr, "logfiles": logfiles or {}, "timeout": timeout, "maxTime": maxTime,
            "max_lines": max_lines, "sigtermTime": sigtermTime, "usePTY": usePTY, "logEnviron": logEnviron,
            "initial_stdin": initialStdin,
        }  # fmt: skip
        if interruptSignal is not None:
            args["interruptSignal"] = interruptSignal
        super().__init__(
            "shell",
            args,
            collectStdout=collectStdout,
            collectStderr=collectStderr,
            decodeRC=decodeRC,
            stdioLogName=stdioLogName,
        )

    def _prepare(self):
        self.args["command"] = self.command

    def __repr__(self):
        return f"<RemoteShellCommand '{self.fake_command!r}'>"
