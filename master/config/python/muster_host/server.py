"""The conversation with the master: one JSON object a line, requests with an id, answers with the same id.

`{"id": 1, "load": {"basedir": …, "config_file": …}}` is answered by `{"id": 1, "loaded": snapshot}` or
`{"id": 1, "errors": {"errors": [{"text", "file", "line"}], "partial": snapshot or null}}`. `{"id": 2, "call": {"handle", "digest", "args", "kwargs"}}` and
`{"id": 3, "secret": {"name"}}` are answered by `{"id": …, "value": …}`, by
`{"id": …, "exception": {"type", "text", "traceback"}}`, or by `{"id": …, "refused": text}` when the configuration has
no such function. Steps of the configuration's own have longer conversations: `live/PROTOCOL.md`.
"""

import faulthandler
import json
import os
import platform
import sys
import threading
import traceback

from buildbot.config.errors import ConfigErrors
from muster_host import arguments, ending, evaluate, reactor
from muster_host.calling import result_of
from muster_host.encode import Encoder, Functions, NotEncodable
from muster_host.surrogates import from_master

PROTOCOL = 1
#: Most calls at a time; more are refused, so that functions that never return can't eat all threads.
MAX_CALLS = 64
#: Longest answer to a call, in bytes of JSON: a large file's content, with room. A longer one is that call's error.
MAX_ANSWER = 16 << 20
#: Most characters of a traceback that are handed over; the end is kept.
MAX_TRACEBACK = 16 * 1024

#: Messages of conversations about steps that run.
_LIVE = ("begin", "outcome", "lines", "interrupt", "drop")


#: Seconds before the limit of a load at which a host that still loads prints its stack.
STACK_BEFORE_LIMIT = 1


def _unreadable(failed):
    text = f"error while reading the configuration: {type(failed).__name__}: {failed} (traceback in logfile)"
    return {"errors": {"errors": [{"text": text, "file": "", "line": 0}], "partial": None}}


def _encodable(partial):
    """A snapshot with holes, unless there is none or it can't even be told."""
    try:
        _line(partial)
    except (TypeError, ValueError):
        return None
    return partial or None


class Refused(Exception):
    """There is no such function; the text says why."""


class TooMuch(Exception):
    """Too many calls are running."""


class Host:
    """One loaded configuration and the calls into it."""

    def __init__(self, answers):
        self._answers = answers
        self._writing = threading.Lock()
        self._running = threading.BoundedSemaphore(MAX_CALLS)
        self.functions = Functions()
        self._providers = []
        self._runs = None

    def send(self, message):
        self._write(_line(message))

    def _write(self, line):
        with self._writing:
            self._answers.write(line)
            self._answers.flush()

    def handle(self, request):
        """Loads at once; everything else in a thread of its own."""
        number = request["id"]
        for kind in _LIVE:
            if kind in request:
                self._live(number, kind, request[kind])
                return
        if "load" in request:
            answer = self._load(request["load"])
            try:
                parts = _parts(number, answer)
            except (TypeError, ValueError) as failed:
                parts = [_line({"id": number, **_unreadable(failed)})]
            with self._writing:
                self._answers.writelines(parts)
                self._answers.flush()
            return
        if not self._running.acquire(blocking=False):
            self.send({"id": number, **_exception(TooMuch(f"{MAX_CALLS} calls are running already"))})
            return
        threading.Thread(target=self._answer, args=(number, request), daemon=True).start()

    def _live(self, number, kind, value):
        """A message of a conversation about a step that runs."""
        if self._runs is None:
            from muster_host.live.run import Runs

            self._runs = Runs(self)
        if kind == "begin":
            self._runs.begin(number, value)
        else:
            self._runs.message(number, kind, value)

    def _load(self, wanted):
        functions, partial = Functions(), {}
        if wanted.get("limit", 0) > STACK_BEFORE_LIMIT:
            # The master ends a load that takes too long; just before, this tells where it is.
            faulthandler.dump_traceback_later(wanted["limit"] - STACK_BEFORE_LIMIT, file=2)
        try:
            snapshot, providers = evaluate.load(wanted["basedir"], wanted["config_file"], functions, partial)
        except ConfigErrors as failed:
            errors = zip(failed.errors, failed.locations)
            told = [{"text": text, **where.as_data()} for text, where in errors]
            return {"errors": {"errors": told, "partial": _encodable(partial)}}
        except Exception as failed:
            traceback.print_exc()
            return _unreadable(failed)
        finally:
            faulthandler.cancel_dump_traceback_later()
        self.functions, self._providers = functions, providers
        return {"loaded": snapshot}

    def _answer(self, number, request):
        try:
            line = _line({"id": number, "value": self._do(request)})
            if len(line) > MAX_ANSWER:
                raise TooMuch(f"its answer has {len(line)} bytes; {MAX_ANSWER} are the most")
        except BaseException as failed:
            # Also SystemExit: a function that calls exit() has failed, and the host goes on.
            line = _line({"id": number, **_exception(failed)})
        finally:
            self._running.release()
            ending.restore_streams()
        self._write(line)

    def _do(self, request):
        if "secret" in request:
            return self.secret(request["secret"]["name"])
        call = request["call"]
        found = self.functions.get(call["handle"])
        if found is None:
            raise Refused(f"the configuration has no function {call['handle']}")
        function, source = found
        if call.get("digest") and call["digest"] != source["digest"]:
            raise Refused(f"the function {call['handle']} has changed since the build began")
        args = [arguments.decode(value, self) for value in call.get("args", ())]
        kwargs = {name: arguments.decode(value, self) for name, value in call.get("kwargs", {}).items()}
        value = arguments.encode_result(result_of(function(*args, **kwargs)))
        return Encoder(self.functions, call["handle"] + "/result")(value)

    def secret(self, name):
        """The secret of that name, from the first provider that has it."""
        for provider in self._providers:
            value = result_of(provider.get(name))
            if value is not None:
                return value
        raise KeyError(f"secret key {name} is not found in any provider")


def _line(message):
    return json.dumps(message, allow_nan=False, default=_plain).encode("ascii") + b"\n"


def _parts(number, answer):
    """The line of a load's answer in pieces. Builders are most of it: each is let go when its piece is made."""
    builders = answer.get("loaded", {}).pop("builders", None)
    if builders is None:
        return [_line({"id": number, **answer})]
    head, tail = _line({"id": number, "loaded": {**answer["loaded"], "builders": []}}).rsplit(b"[]", 1)
    parts = [head, b"["]
    for index, builder in enumerate(builders):
        parts.append((b"," if index else b"") + _line(builder)[:-1])
        builders[index] = None
    return [*parts, b"]", tail]


def _plain(value):
    """What `json` doesn't know: a path is its text."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"{type(value).__name__} {value!r} can't be used where it stands")


def _text_of(failed):
    try:
        text = str(failed.args[0]) if isinstance(failed, KeyError) and failed.args else str(failed)
    except Exception as worse:
        text = f"an exception whose text can't be made: {type(worse).__name__}"
    return text[-MAX_TRACEBACK:]


def _exception(failed):
    text = _text_of(failed)
    if isinstance(failed, Refused):
        return {"refused": text}
    trace = "" if isinstance(failed, (NotEncodable, TooMuch)) else _traceback()
    return {"exception": {"type": type(failed).__name__, "text": text, "traceback": trace}}


def _traceback():
    try:
        return traceback.format_exc()[-MAX_TRACEBACK:]
    except Exception as worse:
        return f"the traceback can't be made: {type(worse).__name__}"


def serve(requests, answers):
    """Answers until the master closes the pipe."""
    host = Host(answers)
    host.send({"hello": {"protocol": PROTOCOL, "python": platform.python_version(), "executable": sys.executable}})
    ending.install()
    reactor.install()
    for line in requests:
        host.handle(json.loads(from_master(line.decode("utf-8"))))
    return 0
