"""Steps of the configuration's own, run with a master that plays outcomes."""

import threading
import unittest

from tests.live_support import HAS_TWISTED, PATIENCE, FakeMaster, LiveTestCase, replays

SHELL = """
from buildbot.process import buildstep, logobserver, remotecommand
from buildbot.process.results import *
from buildbot.steps.worker import CompositeStepMixin
"""


def out(text):
    return [("h", "starting\n"), ("o", text)]


class Steps(LiveTestCase):
    def test_a_step_runs_a_command_and_sees_its_output(self):
        master, end = self.run_step(
            SHELL
            + """
class Mine(buildstep.ShellMixin, buildstep.BuildStep):
    name = 'mine'
    def __init__(self, **kwargs):
        kwargs = self.setupShellMixin(kwargs)
        super().__init__(**kwargs)
        self.observer = logobserver.BufferLogObserver()
        self.addLogObserver('stdio', self.observer)
    async def run(self):
        cmd = await self.makeRemoteShellCommand(env={'A': 'x'})
        await self.runCommand(cmd)
        self.setProperty('lines', self.observer.getStdout().split(), 'Mine')
        await self.addURL('there', 'http://example.org/')
        self.addCompleteLog('stages', 'one\\ntwo')
        return cmd.results()
factory.addStep(Mine(command=['make', 'all', 'x'], descriptionSuffix='fast'))
""",
            commands=lambda command: (out("a\nb\n"), {"rc": 2}),
        )
        self.assertEqual(end, {"results": 2, "summary": "'make all ...' (failure)", "build_summary": "'make all ...' (failure)"})
        self.assertEqual(master.properties, {"lines": (["a", "b"], "Mine")})
        self.assertEqual(master.urls, [("there", "http://example.org/")])
        self.assertEqual(master.logs, {"stdio": "", "stages": "oone\notwo\n"})
        command = next(effect for effect in master.live if effect["effect"] == "command")
        self.assertEqual(command["command"]["shell"]["env"], {"E": {"set": "1"}, "A": {"set": "x"}})
        self.assertEqual(command["command"]["shell"]["command"], {"argv": [{"plain": w} for w in ("make", "all", "x")]})
        self.assertGreater(master.read, 0)

    def test_killed_before_each_effect_it_does_nothing_twice(self):
        step = self.step(
            SHELL
            + """
class Mine(buildstep.BuildStep):
    async def run(self):
        log = await self.addLog('notes')
        for number in range(3):
            cmd = remotecommand.RemoteShellCommand('build', ['step', str(number)], collectStdout=True)
            await self.runCommand(cmd)
            log.addStdout('%d: %s' % (number, cmd.stdout))
            self.setProperty('last', cmd.stdout.strip(), 'Mine')
        log.addStderr('unfinished')
        return WARNINGS
factory.addStep(Mine())
"""
        )
        seen = lambda command: (out(f"out {command['shell']['command']['argv'][1]['plain']}\n"), {"rc": 0})
        master, end = replays(self, step, self.functions, seen)
        self.assertEqual(master.logs["notes"], "o0: out 0\no1: out 1\no2: out 2\neunfinished\n")
        self.assertEqual(end["results"], 1)
        self.assertEqual(end["summary"], "finished (warnings)")

    def test_two_branches_run_at_once(self):
        master, end = self.run_step(
            SHELL
            + """
import asyncio
class Mine(buildstep.BuildStep):
    async def run(self):
        commands = [remotecommand.RemoteShellCommand('build', [name]) for name in 'ab']
        await asyncio.gather(*[self.runCommand(cmd) for cmd in commands])
        return SUCCESS
factory.addStep(Mine())
"""
        )
        self.assertEqual(end["results"], 0)
        self.assertEqual(sum(effect["effect"] == "command" for effect in master.live), 2)

    def test_an_exception_is_in_the_logs_with_its_line(self):
        for line, exception in (("raise KeyError('gone')", "KeyError"), ("sys.exit(3)", "SystemExit"), ("return 'x'", "RuntimeError")):
            with self.subTest(line):
                master, end = self.run_step(
                    SHELL + f"import sys\nclass Mine(buildstep.BuildStep):\n    async def run(self):\n        {line}\n"
                    "factory.addStep(Mine())\n"
                )
                self.assertEqual(end["results"], 4)
                self.assertIn(exception, master.logs["err.text"])
                self.assertIn("<pre>", master.logs["err.html"])

    def test_an_exception_of_the_constructor_ends_the_step_alone(self):
        master, end = self.run_step(
            SHELL + "made = []\nclass Mine(buildstep.BuildStep):\n"
            "    def __init__(self):\n        super().__init__()\n        made.append(1)\n"
            "        if len(made) > 1: raise ValueError('twice')\n"
            "    async def run(self):\n        return SUCCESS\nfactory.addStep(Mine())\n"
        )
        self.assertEqual(end["results"], 4)
        self.assertIn("ValueError: twice", master.logs["err.text"])

    def test_ends_by_name(self):
        for raised, results in (("BuildStepFailed", 2), ("BuildStepCancelled", 6)):
            _master, end = self.run_step(
                SHELL + f"class Mine(buildstep.BuildStep):\n    def run(self):\n        raise buildstep.{raised}()\n"
                "factory.addStep(Mine())\n"
            )
            self.assertEqual(end["results"], results)

    def test_an_observer_that_fails_makes_the_step_an_exception(self):
        master, end = self.run_step(
            SHELL
            + """
class Bad(logobserver.LogLineObserver):
    def outLineReceived(self, line):
        raise ValueError(line)
class Mine(steps.ShellCommand):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.addLogObserver('stdio', Bad())
factory.addStep(Mine(command='x'))
""",
            commands=lambda command: (out("boom\n"), {"rc": 0}),
        )
        self.assertEqual(end["results"], 4)
        self.assertIn("ValueError: boom", master.logs["err.text"])

    def test_line_consumers_are_fed_and_closed(self):
        master, end = self.run_step(
            SHELL
            + """
class Mine(buildstep.ShellMixin, buildstep.BuildStep):
    def __init__(self, **kwargs):
        super().__init__(**self.setupShellMixin(kwargs))
        self.seen = []
        self.addLogObserver('stdio', logobserver.LineConsumerLogObserver(self.consume))
    def consume(self):
        try:
            while True:
                stream, line = yield
                self.seen.append(stream + line)
        finally:
            self.seen.append('closed')
    async def run(self):
        cmd = await self.makeRemoteShellCommand()
        await self.runCommand(cmd)
        await cmd.logs['stdio'].finish()
        self.setStatistic('lines', len(self.seen))
        self.setProperty('seen', self.seen, 'Mine')
        return cmd.results()
    def getResultSummary(self):
        return {'step': '%d lines' % self.getStatistic('lines')}
factory.addStep(Mine(command='x'))
""",
            commands=lambda command: (out("a\nb\n") + [("e", "c\n")], {"rc": 0}),
        )
        self.assertEqual(master.properties["seen"][0], ["hstarting", "oa", "ob", "ec", "closed"])
        self.assertEqual((end["results"], end["summary"], end["build_summary"]), (0, "5 lines", None))

    def test_small_commands(self):
        answers = {"stat": {"rc": 1}, "mkdir": {"rc": 0}, "rmdir": {"rc": 0}, "glob": {"rc": 0, "files": ["/a", "/b"]},
                   "upload_file": {"rc": 0, "content": "text"}, "download_file": {"rc": 0}}  # fmt: skip
        master, end = self.run_step(
            SHELL
            + """
class Mine(buildstep.BuildStep, CompositeStepMixin):
    logEnviron = False
    async def run(self):
        await self.addLogForRemoteCommands('stdio')
        got = [await self.pathExists('p'), await self.runMkdir('d'), await self.runRmdir('d'), await self.runGlob('*'),
               await self.getFileContentFromWorker('f'), await self.downloadFileContentToWorker('t', 'x') is not None]
        self.setProperty('got', got, 'Mine')
        return SUCCESS
factory.addStep(Mine())
""",
            commands=lambda command: ([], answers[next(iter(command))]),
        )
        self.assertEqual(end["results"], 0, master.logs)
        self.assertEqual(master.properties["got"][0], [False, False, False, ["/a", "/b"], "text", True])

    def test_arguments_are_rendered_for_the_build_with_its_secrets(self):
        step = self.step(
            SHELL
            + """
class Mine(buildstep.BuildStep):
    renderables = ['what']
    def __init__(self, what, **kwargs):
        self.what = what
        super().__init__(**kwargs)
    async def run(self):
        return SUCCESS if self.what == ['v', {'k': 's3'}, 'v-s3'] else FAILURE
factory.addStep(Mine([util.Property('p'), {'k': util.Secret('s')}, util.Interpolate('%(prop:p)s-%(secret:s)s')]))
"""
        )
        master = FakeMaster(self.functions, build={"properties": {"p": ["v", "x"]}})
        master.other = lambda kind, value: "s3" if kind == "ask" else None
        master.begin(step)
        self.assertEqual(master.until_end()["results"], 0, master.logs)

    def test_steps_are_made_anew_for_each_build(self):
        step = self.step(
            SHELL + "count = []\nclass Mine(buildstep.BuildStep):\n    def __init__(self):\n        super().__init__()\n"
            "        count.append(1)\n        self.mine = len(count)\n"
            "    async def run(self):\n        self.setProperty('made', self.mine, 'x')\n        return SUCCESS\n"
            "factory.addStep(Mine())\n"
        )
        seen = []
        for _ in range(2):
            master = FakeMaster(self.functions)
            master.begin(step)
            master.until_end()
            seen.append(master.properties["made"][0])
        self.assertEqual(seen, [2, 3])

    def test_more_steps_are_added_behind_it(self):
        step = self.step(
            SHELL
            + """
class Mine(buildstep.BuildStep):
    async def run(self):
        await self.build.addStepsAfterCurrentStep([steps.ShellCommand(name='n%d' % n, command='x') for n in range(2)])
        return SUCCESS
factory.addStep(Mine())
"""
        )
        master, end = replays(self, step, self.functions)
        added = next(effect for effect in master.live if effect["effect"] == "add_steps")
        self.assertEqual((added["where"], [each["name"] for each in added["steps"]]), ("current", ["n0", "n1"]))
        self.assertEqual(end["results"], 0)

    def test_the_engines_own_step_runs_inside(self):
        step = self.step(
            SHELL
            + """
class Mine(steps.Git):
    async def run(self):
        results = await super().run()
        return WARNINGS if results == SUCCESS else results
factory.addStep(Mine(repourl='https://git.example.org/r'))
"""
        )
        master = FakeMaster(self.functions)
        master.other = lambda kind, value: {"results": 0, "summary": "update"} if kind == "stock" else None
        master.begin(step)
        self.assertEqual(master.until_end()["results"], 1, master.logs)
        stock = next(effect for effect in master.live if effect["effect"] == "stock")
        self.assertEqual((stock["kind"], stock["args"]["repourl"]), ("Git", "https://git.example.org/r"))


    def test_warnings_are_counted_where_a_class_changes_that(self):
        master, end = self.run_step(
            SHELL
            + """
class Mine(steps.Compile):
    suppressionList = [(None, 'ignored', None, None)]
    def maybeAddWarning(self, warnings, line, match):
        if 'fine' not in line:
            super().maybeAddWarning(warnings, line, match)
    def evaluateCommand(self, cmd):
        return FAILURE if self.warnCount > 1 else super().evaluateCommand(cmd)
factory.addStep(Mine(command='make'))
""",
            commands=lambda command: (out("a: warning: 1\nb: warning: fine\nc: warning: ignored\nd: warning: 2\n"), {"rc": 0}),
        )
        self.assertEqual((end["results"], end["summary"]), (2, "compile (failure)"), master.logs)
        self.assertEqual(master.properties, {"warnings-count": (2, "WarningCountingShellCommand")})
        self.assertEqual(master.logs["warnings (2)"], "oa: warning: 1\nod: warning: 2\n")

    def test_sequences_are_run_by_their_flags(self):
        codes = {"1": 0, "2": 1, "3": 1, "4": 0}
        master, end = self.run_step(
            SHELL
            + """
class Mine(steps.ShellSequence):
    def shouldRunTheCommand(self, cmd):
        return cmd != ['no']
    async def run(self):
        more = util.ShellArg(command=['run', '2'], logname='b', flunkOnFailure=False, warnOnFailure=True)
        return await self.runShellSequence([*self.commands, more])
factory.addStep(Mine(commands=[util.ShellArg(command=['run', util.Property('one')], logname='a'), util.ShellArg(command=['no'])]))
""",
            commands=lambda command: ([], {"rc": codes[command["shell"]["command"]["argv"][1]["plain"]]}),
            build={"properties": {"one": ["1", "x"]}},
        )
        self.assertEqual((end["results"], end["summary"]), (1, "'run 2' (warnings)"), master.logs)
        self.assertEqual(sorted(master.logs), ["a", "b"])

    def test_tests_are_counted(self):
        _master, end = self.run_step(
            SHELL
            + """
class Mine(steps.Test):
    def evaluateCommand(self, cmd):
        self.setTestResults(total=3, failed=1, passed=2)
        return FAILURE
factory.addStep(Mine(command='make'))
"""
        )
        self.assertEqual(end["summary"], "3 tests 2 passed 1 failed (failure)")


class Ends(LiveTestCase):
    WAITING = (
        SHELL
        + """
class Mine(buildstep.BuildStep):
    async def run(self):
        cmd = remotecommand.RemoteShellCommand('build', ['sleep', '9'])
        await self.runCommand(cmd)
        return cmd.results()
    def interrupt(self, reason):
        print('told', reason)
        return super().interrupt(reason)
factory.addStep(Mine())
"""
    )

    def test_an_interrupt_cancels_the_step(self):
        step = self.step(self.WAITING)
        master = FakeMaster(self.functions)

        def stop(kind, _value):
            if kind == "command":
                master.tell("interrupt", {"reason": "because"})

        master.before_answer = stop
        master.commands = lambda command: ([], {"rc": -1, "interrupted": True})
        master.begin(step)
        end = master.until_end()
        self.assertEqual((end["results"], end["summary"]), (6, "finished (cancelled)"))
        self.assertEqual(master.logs["cancelled"], "obecause\n")

    def test_an_effect_after_a_stop_cancels_the_step(self):
        error = {"kind": "cancelled", "text": "stopped"}
        _master, end = self.run_step(self.WAITING, commands=lambda command: ([], {"error": error}))
        self.assertEqual(end["results"], 6)

    def test_what_cannot_be_done_is_an_exception_of_the_step(self):
        error = {"kind": "exception", "text": "the worker has no such thing"}
        master, end = self.run_step(self.WAITING, commands=lambda command: ([], {"error": error}))
        self.assertEqual(end["results"], 4)
        self.assertIn("the worker has no such thing", master.logs["err.text"])

    def test_other_code_is_refused(self):
        step = self.step(self.WAITING)
        master = FakeMaster(self.functions)
        master.begin(step, digest="0" * 40)
        self.assertIn("has changed", master.until_end()["refused"])

    def test_a_dropped_step_says_no_more_and_its_thread_ends(self):
        step = self.step(
            SHELL
            + """
class Mine(buildstep.BuildStep):
    async def run(self):
        try:
            await self.runCommand(remotecommand.RemoteShellCommand('build', ['x']))
        finally:
            ended.set()
factory.addStep(Mine())
"""
        )
        ended = threading.Event()
        recipe = self.functions.get(step["args"]["step"]["handle"])[0]
        recipe.made.run.__globals__["ended"] = ended
        master = FakeMaster(self.functions)
        master.begin(step)
        while master.next().get("perform", {}).get("effect", {}).get("effect") != "command":
            pass
        master.tell("drop", {})
        self.assertTrue(ended.wait(PATIENCE))

    def test_a_step_that_never_yields_delays_no_other(self):
        stuck = self.step(
            SHELL + "import threading\ngate = threading.Event()\nclass Mine(buildstep.BuildStep):\n"
            "    async def run(self):\n        gate.wait()\n        return SUCCESS\nfactory.addStep(Mine())\n"
        )
        gate = self.functions.get(stuck["args"]["step"]["handle"])[0].made.run.__globals__["gate"]
        self.addCleanup(gate.set)
        first = FakeMaster(self.functions)
        first.begin(stuck)
        self.assertIn("perform", first.next())
        _master, end = self.run_step(SHELL + "class Other(buildstep.BuildStep):\n    def run(self):\n        return SUCCESS\nfactory.addStep(Other())\n")
        self.assertEqual(end["results"], 0)
        gate.set()

    def test_a_step_that_floods_a_log_waits_for_the_master(self):
        step = self.step(
            SHELL
            + """
class Mine(buildstep.BuildStep):
    async def run(self):
        log = await self.addLog('big')
        for number in range(64):
            log.addStdout('x' * 65535 + '\\n')
            self.written = number
        return SUCCESS
factory.addStep(Mine())
"""
        )
        master, writes = FakeMaster(self.functions), []
        master.begin(step)
        while True:
            message = master.pipe.messages.get(timeout=PATIENCE)
            if "perform" in message and message["perform"]["effect"]["effect"] == "append":
                writes.append(message["perform"])
                if len(writes) == 16:
                    break
            elif "perform" in message:
                master.perform(message["perform"])
        # So much is under way, and the step waits.
        self.assertTrue(master.pipe.messages.empty())
        for each in writes:
            master.perform(each)
        self.assertEqual(master.until_end()["results"], 0)
        self.assertEqual(len(master.logs["big"]), 64 * 65537)


@unittest.skipUnless(HAS_TWISTED, "Twisted is not installed here")
class WithTwisted(LiveTestCase):
    def test_inline_callbacks_deferreds_and_threads(self):
        master, end = self.run_step(
            SHELL
            + """
from twisted.internet import defer, reactor, threads
class Mine(steps.ShellCommand):
    @defer.inlineCallbacks
    def run(self):
        cmd = yield self.makeRemoteShellCommand(collectStdout=True)
        yield self.runCommand(cmd)
        answered = yield threads.deferToThread(lambda: 6 * 7)
        later = defer.Deferred()
        reactor.callLater(0, later.callback, 1)
        more = yield later
        both = yield defer.gatherResults([self.render(util.Property('p')), self.addURL('a', 'b')])
        yield self.setProperty('got', [cmd.stdout, answered, more, both[0]], 'Mine')
        return cmd.results()
factory.addStep(Mine(command='x'))
""",
            commands=lambda command: (out("a\n"), {"rc": 0}),
            build={"properties": {"p": ["v", "x"]}},
        )
        self.assertEqual(end["results"], 0, master.logs)
        self.assertEqual(master.properties["got"][0], ["a\n", 42, 1, "v"])


if __name__ == "__main__":
    unittest.main()
