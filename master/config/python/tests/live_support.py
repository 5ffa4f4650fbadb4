"""A master that plays outcomes to a step in the host, keeps a journal of them, and can be killed."""

import collections
import json
import queue
import sys
import unittest

from muster_host import reactor, server
from tests.support import ConfigTestCase

#: Seconds until a test gives up; nothing here takes one.
PATIENCE = 20
HAS_TWISTED = False
try:
    import twisted  # noqa: F401

    HAS_TWISTED = True
except ImportError:
    pass


reactor.install()


class Pipe:
    """What the host writes, line by line."""

    def __init__(self):
        self.messages = queue.Queue()

    def write(self, line):
        self.messages.put(json.loads(line))

    def flush(self):
        pass


class Killed(Exception):
    """The master died before this effect."""


class FakeMaster:
    """Runs one step: does its effects in memory, by what the test says of commands."""

    def __init__(self, functions, journal=None, die_at=None, commands=None, build=None):
        self.pipe = Pipe()
        self.host = server.Host(self.pipe)
        self.host.functions = functions
        #: [effect, outcome] in the order of their first performance.
        self.journal = journal if journal is not None else []
        self._left = collections.Counter()
        self._recorded = collections.defaultdict(list)
        for effect, outcome in self.journal:
            self._recorded[json.dumps(effect, sort_keys=True)].append(outcome)
        self.die_at, self.live, self.build = die_at, [], build or {}
        #: command -> (pieces of output, result).
        self.commands = commands or (lambda command: ([], {"rc": 0}))
        self.logs, self.properties, self.urls, self.states = {}, {}, [], []
        self.names, self.read, self.before_answer = {}, 0, None

    def begin(self, step, **wanted):
        handle = step["args"]["step"]
        build = {"properties": {}, "builder": "b", "workername": "w1", "worker": {"basedir": "/w"}, "number": 3, **self.build}
        value = {"handle": handle["handle"], "digest": handle["source"]["digest"], "name": "mine", "number": 1,
                 "workdir": "build", "env": {"E": "1"}, "build": build, **wanted}  # fmt: skip
        self.host.handle({"id": 7, "begin": value})

    def tell(self, kind, value):
        self.host.handle({"id": 7, kind: value})

    def next(self):
        message = self.pipe.messages.get(timeout=PATIENCE)
        assert message.pop("id") == 7
        return message

    def until_end(self):
        """Answers all effects; what came at the end."""
        while True:
            message = self.next()
            if "perform" in message:
                self.perform(message["perform"])
            elif "read" in message:
                self.read += message["read"]["bytes"]
            else:
                return message.get("end") or message

    def perform(self, asked):
        effect, seq = asked["effect"], asked["seq"]
        kind, value = effect["effect"], effect
        named = {name: self.names.get(each, each) if name in ("log", "stdio") else each for name, each in effect.items()}
        if kind == "add_log":
            self.names[seq] = value["name"]
            self.logs.setdefault(value["name"], "")
        key = json.dumps(named, sort_keys=True)
        recorded = self._recorded[key]
        if recorded:
            outcome = recorded.pop(0)
        else:
            if self.die_at is not None and len(self.live) == self.die_at:
                raise Killed()
            outcome = None
            self.live.append(named)
        if kind == "command":
            outcome = self._command(seq, value, outcome)
        elif kind == "append":
            self.logs[self.names[value["log"]]] += "".join(
                f"{value['stream']}{line}\n" for line in value["text"].splitlines()
            )
        elif kind == "set_property":
            self.properties[value["name"]] = (value["value"], value["source"])
        elif kind == "add_url":
            self.urls.append((value["name"], value["url"]))
        elif kind == "set_state":
            self.states.append(value["text"])
        outcome = outcome if outcome is not None else {"value": self.other(kind, value)}
        if self.live and self.live[-1] is named:
            self.journal.append([named, outcome])
        if self.before_answer:
            self.before_answer(kind, value)
        self.tell("outcome", {"seq": seq, **outcome})

    def other(self, kind, value):
        """The value of an effect that has no default."""

    def _command(self, seq, value, outcome):
        pieces, result = self.commands(value["command"])
        if "error" in result:
            return {"error": result["error"]}
        if value["lines"]:
            for stream, text in pieces:
                self.tell("lines", {"seq": seq, "name": None, "stream": stream, "text": text})
        if value["collect_stdout"]:
            result = {**result, "stdout": "".join(text for stream, text in pieces if stream == "o")}
        return outcome or {"value": {"rc": None, "stdout": "", "stderr": "", "files": [], **result}}


class LiveTestCase(ConfigTestCase):
    """Runs steps that a configuration defines."""

    def setUp(self):
        super().setUp()
        # Names that the configuration imports stay, as in a host.
        self.addCleanup(lambda before=set(sys.modules): None)

    def step(self, more):
        """The data of the last step of the first builder."""
        snapshot = self.load(more)
        return snapshot["builders"][0]["factory"]["steps"][-1]

    def run_step(self, more, **options):
        """Runs the last step to its end: the master, and what the step said at last."""
        step = self.step(more)
        master = FakeMaster(self.functions, **options)
        master.begin(step)
        return master, master.until_end()


def replays(test, step, functions, commands=None):
    """Kills the master before each effect; a second one must end the step with the same logs, and do nothing twice."""
    whole = FakeMaster(functions, commands=commands)
    whole.begin(step)
    expected = whole.until_end()
    for death in range(len(whole.live)):
        first = FakeMaster(functions, die_at=death, commands=commands)
        first.begin(step)
        try:
            first.until_end()
        except Killed:
            first.tell("drop", {})
        second = FakeMaster(functions, journal=list(first.journal), commands=commands)
        second.begin(step)
        test.assertEqual(second.until_end(), expected, f"killed before effect {death}")
        test.assertEqual(first.live[:death] + second.live, whole.live)
        test.assertEqual(second.logs, whole.logs)
    return whole, expected


__all__ = ["FakeMaster", "HAS_TWISTED", "Killed", "LiveTestCase", "PATIENCE", "replays", "unittest"]
