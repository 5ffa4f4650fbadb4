"""Commands by Buildbot's names and arguments, as the engine's sessions know them (`session/src/command.rs`)."""

#: The names that workers know.
KNOWN = frozenset(
    """
    shell uploadFile uploadDirectory downloadFile mkdir rmdir cpdir stat glob listdir rmfile
    """.split()
)
#: Bytes in one chunk of an upload.
_BLOCK = 32 * 1024


class NoSuchCommand(ValueError):
    """The text says which."""


def effect_of(command):
    """The effect that runs a `RemoteCommand`."""
    name, args = command.remote_command, command.args
    if name not in KNOWN:
        raise NoSuchCommand(f"the command {name!r} is not supported by Muster yet")
    if name in ("uploadFile", "downloadFile") and not hasattr(command, "transfer"):
        raise NoSuchCommand(f"the command {name!r} with a reader or writer of its own is not supported by Muster yet")
    made = _MADE[name](args)
    stdio = command.logs.get(command.stdioLogName)
    files = args.get("logfiles") or {} if name == "shell" else {}
    return {
        "effect": "command",
        "command": made,
        "stdio": None if stdio is None else stdio.number,
        "logfiles": [[each, command.logs[each].number if each in command.logs else None] for each in files],
        "lines": command.wants_lines(),
        "collect_stdout": stdio is None and bool(command.collectStdout),
        "collect_stderr": stdio is None and bool(command.collectStderr),
        "transfer": getattr(command, "transfer", "none"),
    }


def is_obfuscated(word):
    """Whether it is `("obfuscated", real, shown)` or an `Obfuscated`."""
    return isinstance(word, (list, tuple)) and len(word) == 3 and word[0] == "obfuscated"


def _shell(args):
    command = args["command"]
    return {
        "shell": {
            "workdir": _path(args.get("workdir") or "build"),
            "command": _line(command),
            "env": _env(args.get("env") or {}),
            "want_stdout": bool(args.get("want_stdout", True)),
            "want_stderr": bool(args.get("want_stderr", True)),
            "logfiles": {name: _logfile(file) for name, file in (args.get("logfiles") or {}).items()},
            "timeout": _seconds(args.get("timeout")),
            "max_time": _seconds(args.get("maxTime")),
            "max_lines": args.get("max_lines") or None,
            "sigterm_time": _seconds(args.get("sigtermTime")),
            "interrupt_signal": args.get("interruptSignal") or "KILL",
            "use_pty": bool(args.get("usePTY")),
            "initial_stdin": args.get("initial_stdin"),
            "log_environ": bool(args.get("logEnviron", True)),
        }
    }


def _line(command):
    if isinstance(command, (str, bytes)):
        return {"script": {"plain": _text(command)}}
    if not isinstance(command, (list, tuple)):
        raise TypeError(f"a command must be a text or a list, not {command!r}")
    return {"argv": list(_words(command))}


def _words(command):
    for word in command:
        if is_obfuscated(word):
            yield {"obfuscated": {"real": _text(word[1]), "shown": _text(word[2])}}
        elif isinstance(word, (list, tuple)):
            yield from _words(word)
        else:
            yield {"plain": _text(word)}


def _text(value):
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _env(env):
    made = {}
    for name, value in env.items():
        if value is None:
            made[str(name)] = "remove"
        elif isinstance(value, (list, tuple)):
            made[str(name)] = {"joined": [_text(part) for part in value]}
        elif isinstance(value, (str, bytes)):
            made[str(name)] = {"set": _text(value)}
        else:
            raise RuntimeError(f"'env' values must be strings or lists; key '{name}' is incorrect")
    return made


def _logfile(file):
    if isinstance(file, dict):
        return {"filename": _text(file["filename"]), "follow": bool(file.get("follow", False))}
    return {"filename": _text(file), "follow": False}


def _seconds(value):
    return float(value) if value else None


def _path(value):
    return _text(value)


def _paths(value):
    return [_text(each) for each in value] if isinstance(value, (list, tuple)) else [_text(value)]


_MADE = {
    "shell": _shell,
    "mkdir": lambda args: {"mkdir": {"dirs": _paths(args["dir"])}},
    "rmdir": lambda args: {
        "rmdir": {
            "dirs": _paths(args["dir"]),
            "timeout": _seconds(args.get("timeout", 120)),
            "max_time": _seconds(args.get("maxTime")),
        }
    },
    "cpdir": lambda args: {
        "cpdir": {
            "from": _text(args["fromdir"]),
            "to": _text(args["todir"]),
            "timeout": _seconds(args.get("timeout", 120)),
            "max_time": _seconds(args.get("maxTime")),
        }
    },
    "stat": lambda args: {
        "stat": {"file": _text(args["file"]), "workdir": _text(args["workdir"]) if args.get("workdir") else None}
    },
    "glob": lambda args: {"glob": {"pattern": _text(args["path"])}},
    "listdir": lambda args: {"listdir": {"dir": _text(args["dir"])}},
    "rmfile": lambda args: {"rmfile": {"path": _text(args["path"])}},
    "uploadFile": lambda args: {
        "upload_file": {
            "workdir": _text(args["workdir"]),
            "source": _text(args.get("workersrc", args.get("slavesrc"))),
            "max_size": args.get("maxsize"),
            "block_size": args.get("blocksize") or _BLOCK,
            "keep_stamp": bool(args.get("keepstamp")),
        }
    },
    "downloadFile": lambda args: {
        "download_file": {
            "workdir": _text(args["workdir"]),
            "destination": _text(args.get("workerdest", args.get("slavedest"))),
            "max_size": args.get("maxsize"),
            "mode": args.get("mode"),
        }
    },
}


def _no_transfer(args):
    raise NoSuchCommand("the command 'uploadDirectory' of a step's own is not supported by Muster yet; use the step")


_MADE["uploadDirectory"] = _no_transfer
