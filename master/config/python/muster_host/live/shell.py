"""What steps call to run commands: the methods of `ShellMixin`, `CommandMixin` and `CompositeStepMixin`."""

from buildbot import util
from buildbot.process.results import SUCCESS


class LiveShell:
    """The methods of `ShellMixin` that run."""

    def makeRemoteShellCommand(self, collectStdout=False, collectStderr=False, stdioLogName="stdio", **overrides):
        """A command with the step's arguments and a log, to be awaited."""
        return self._running().loop.start(self._make_command(collectStdout, collectStderr, stdioLogName, overrides))

    async def _make_command(self, collectStdout, collectStderr, stdioLogName, overrides):
        from buildbot.process import remotecommand

        names = self.arguments_of_commands()
        unknown = [name for name in overrides if name not in (*names, "workdir")]
        if unknown:
            raise ValueError(f"invalid {type(self).__name__} argument {unknown[0]}")
        kwargs = {name: overrides.get(name, getattr(self, name)) for name in names if name != "lazylogfiles"}
        lazy = overrides.get("lazylogfiles", self.lazylogfiles)
        kwargs["workdir"] = overrides.get("workdir") or self.workdir
        if isinstance(kwargs["command"], (list, tuple)):
            kwargs["command"] = util.flatten(kwargs["command"], (list, tuple)) if not _has_obfuscated(kwargs["command"]) else kwargs["command"]
        kwargs["env"] = {**self.build.builder.config.env, **(kwargs["env"] or {})}
        cmd = remotecommand.RemoteShellCommand(
            collectStdout=collectStdout, collectStderr=collectStderr, stdioLogName=stdioLogName, **kwargs
        )
        if stdioLogName is not None:
            cmd.useLog(await self.addLog(stdioLogName), False)
        for name in kwargs["logfiles"] or {}:
            if lazy:
                cmd.useLogDelayed(name, None, True)
            else:
                cmd.useLog(await self.addLog(name), True, name)
        return cmd

    def getResultSummary(self):
        """As of every step; without words of its own the command speaks."""
        if self.descriptionDone is not None or not self.command:
            return super().getResultSummary()
        summary = command_to_string(self.command)
        if summary is None:
            return super().getResultSummary()
        if self.results != SUCCESS:
            from buildbot.process.results import statusToString

            summary += f" ({statusToString(self.results)})"
        if self.timed_out:
            summary += " (timed out)"
        elif self.max_lines_reached:
            summary += " (max lines)"
        return {"step": summary}


def _has_obfuscated(command):
    from muster_host.live.commands import is_obfuscated

    return any(is_obfuscated(word) or (isinstance(word, (list, tuple)) and _has_obfuscated(word)) for word in command)


def command_to_string(command):
    """A command in a summary: up to two words in quotes, then an ellipsis; `None` for none."""
    if not command:
        return None
    if isinstance(command, bytes):
        command = command.decode("utf-8", "replace")
    words = command.split() if isinstance(command, str) else [_shown(word) for word in _flat(command)]
    if not words:
        return None
    shown = " ".join(words[:2]) + (" ..." if len(words) > 2 else "")
    return f"'{shown}'"


def _flat(command):
    from muster_host.live.commands import is_obfuscated

    for word in command:
        if isinstance(word, (list, tuple)) and not is_obfuscated(word):
            yield from _flat(word)
        else:
            yield word


def _shown(word):
    if isinstance(word, (list, tuple)):
        word = word[2]
    return word.decode("utf-8", "replace") if isinstance(word, bytes) else str(word)


class LiveCommands:
    """The methods of `CommandMixin`: true is success."""

    def _small_command(self, name, args, log, abandonOnFailure, result=None):
        return self._running().loop.start(self._run_small(name, args, log, abandonOnFailure, result))

    async def _run_small(self, name, args, log, abandonOnFailure, result):
        from buildbot.process import remotecommand
        from buildbot.process.buildstep import BuildStepFailed

        cmd = remotecommand.RemoteCommand(name, args)
        name = log or "stdio"
        cmd.useLog(self._logs.get(name) or await self.addLog(name), False, "stdio")
        await self.runCommand(cmd)
        if abandonOnFailure and cmd.didFail():
            raise BuildStepFailed()
        return not cmd.didFail() if result is None else result(cmd)

    def runRmdir(self, dir, log=None, abandonOnFailure=True):
        return self._small_command("rmdir", {"dir": dir}, log, abandonOnFailure)

    def pathExists(self, path):
        return self._small_command("stat", {"file": path}, None, False)

    def runMkdir(self, dir, log=None, abandonOnFailure=True):
        return self._small_command("mkdir", {"dir": dir}, log, abandonOnFailure)

    def runGlob(self, path):
        return self._small_command("glob", {"path": path}, None, True, lambda cmd: cmd.updates["files"][0])


class Sent:
    """A file that is on the worker now."""

    def __init__(self, name):
        self.name = name


class LiveComposite:
    """The methods of `CompositeStepMixin`: true is failure, where Buildbot has it so."""

    rc_log = None

    def workerPathToMasterPath(self, path):
        return self.worker.path_module.join(*path.split("/")) if path else path

    def addLogForRemoteCommands(self, logname):
        """The log of all that follows."""
        return self._running().loop.start(self._add_rc_log(logname))

    async def _add_rc_log(self, logname):
        self.rc_log = await self.addLog(logname)
        return self.rc_log

    def runRemoteCommand(self, cmd, args, abandonOnFailure=True, evaluateCommand=lambda cmd: cmd.didFail()):
        return self._running().loop.start(self._run_remote(cmd, args, abandonOnFailure, evaluateCommand))

    async def _run_remote(self, name, args, abandonOnFailure, evaluate, transfer=None):
        from buildbot.process import remotecommand
        from buildbot.process.buildstep import BuildStepFailed

        cmd = remotecommand.RemoteCommand(name, args)
        if transfer is not None:
            cmd.transfer = transfer
        if self.rc_log is not None:
            cmd.useLog(self.rc_log, False)
        await self.runCommand(cmd)
        if abandonOnFailure and cmd.didFail():
            raise BuildStepFailed()
        return evaluate(cmd)

    def runRmdir(self, dir, timeout=None, **kwargs):
        args = {"dir": dir, "logEnviron": getattr(self, "logEnviron", True)}
        if timeout:
            args["timeout"] = timeout
        return self.runRemoteCommand("rmdir", args, **kwargs)

    def runRmFile(self, path, timeout=None, **kwargs):
        return self.runRemoteCommand("rmfile", {"path": path}, **kwargs)

    def pathExists(self, path):
        return self.runRemoteCommand(
            "stat", {"file": path}, abandonOnFailure=False, evaluateCommand=lambda cmd: not cmd.didFail()
        )

    def runMkdir(self, _dir, **kwargs):
        return self.runRemoteCommand("mkdir", {"dir": _dir}, **kwargs)

    def runGlob(self, path, **kwargs):
        return self.runRemoteCommand(
            "glob", {"path": path}, evaluateCommand=lambda cmd: cmd.updates["files"][0], **kwargs
        )

    def getFileContentFromWorker(self, filename, abandonOnFailure=False):
        """The content of a file as text; `None` when it can't be had."""
        args = {"workdir": self.workdir, "workersrc": filename}
        content = lambda cmd: None if cmd.didFail() else cmd.content or ""
        return self._running().loop.start(
            self._run_remote("uploadFile", args, abandonOnFailure, content, "collect")
        )

    def downloadFileContentToWorker(self, workerdest, strfile, abandonOnFailure=False, mode=None, workdir=None):
        """Writes a file on the worker; `None` when it failed."""
        if isinstance(strfile, bytes):
            strfile = strfile.decode("utf-8")
        args = {"workdir": workdir or self.workdir, "workerdest": workerdest, "mode": mode}
        sent = lambda cmd: None if cmd.didFail() else Sent(workerdest)
        return self._running().loop.start(
            self._run_remote("downloadFile", args, abandonOnFailure, sent, {"download_text": strfile})
        )

