"""The conversation with the master, with a real process."""

import json
import os
import shutil
import subprocess
import sys
import time
import unittest

from tests.support import BASE, ConfigTestCase

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def is_running(process):
    """Whether there is such a process, and it is none that only waits to be noticed."""
    try:
        with open(f"/proc/{process}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


class Conversation(ConfigTestCase):
    def setUp(self):
        super().setUp()
        self.host = subprocess.Popen(
            [sys.executable, "-B", PACKAGE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.basedir,
        )
        self.addCleanup(self.stop)
        self.hello = self.read()

    def stop(self):
        self.host.stdin.close()
        self.host.wait(timeout=10)
        self.host.stdout.close()
        self.host.stderr.close()

    def read(self):
        return json.loads(self.host.stdout.readline())

    def ask(self, **request):
        self.host.stdin.write(json.dumps({"id": 1, **request}).encode() + b"\n")
        self.host.stdin.flush()
        return self.read()

    def load_in_host(self, more):
        self.write(BASE + more)
        return self.ask(load={"basedir": self.basedir, "config_file": "master.cfg"})

    def call(self, handle, *args):
        return self.ask(call={"handle": handle, "args": args})

    def test_greeting(self):
        self.assertEqual(self.hello["hello"]["protocol"], 1)

    def test_what_the_configuration_prints_is_no_message(self):
        answer = self.load_in_host("import os\nprint('hello')\nos.system('echo hello')\n")
        self.assertIn("loaded", answer)

    def test_a_busy_host_ends_with_a_killed_master(self):
        # It holds Python's lock: nothing in the host itself would notice the end of the pipe.
        busy = "print('begun', os.getpid(), flush=True)\nimport re\nre.match('(a+)+$', 'a' * 60 + 'b')\n"
        self.write("import os\n" + BASE + busy)
        request = {"id": 1, "load": {"basedir": self.basedir, "config_file": "master.cfg"}}
        text = f"""
import subprocess, sys, time
host = subprocess.Popen([sys.executable, '-B', {PACKAGE!r}], stdin=subprocess.PIPE, cwd={self.basedir!r},
    stdout=subprocess.DEVNULL, stderr=sys.stdout)
host.stdin.write({json.dumps(request).encode() + b"%c" % 10!r})
host.stdin.flush()
time.sleep(600)
"""
        master = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True)
        self.addCleanup(master.stdout.close)
        host = int(master.stdout.readline().split()[1])
        self.assertTrue(is_running(host))
        master.kill()
        master.wait()
        deadline = time.monotonic() + 30
        while is_running(host):
            self.assertLess(time.monotonic(), deadline, "it goes on")
            time.sleep(0.01)

    def test_errors_have_places(self):
        (error,) = self.load_in_host("steps.Git()\n")["errors"]["errors"]
        self.assertEqual(error["text"], "Git: must provide repourl.")
        self.assertEqual(os.path.basename(error["file"]), "master.cfg")

    def test_functions_see_the_objects_of_the_master(self):
        self.load_in_host(
            "def important(change):\n"
            "    return any(f.endswith('.c') for f in change.files) and change.properties['x'] == 1\n"
            "c['schedulers'][0].fileIsImportant = important\n"
        )
        change = {"$a": "change", "files": ["a.c"], "properties": {"x": [1, "Change"]}}
        self.assertEqual(self.call("schedulers/s/fileIsImportant", change), {"id": 1, "value": True})

    def test_steps_know_their_build(self):
        self.load_in_host(
            "def wanted(step):\n"
            "    return step.build.getProperty('run') and step.getProperty('run') and step.worker.name\n"
            "factory.addStep(steps.ShellCommand(command='x', doStepIf=wanted))\n"
        )
        step = {"$a": "step", "name": "x", "build": {"properties": {"run": [True, "t"]}, "workername": "w1"}}
        self.assertEqual(self.call("builders/b/steps/1/doStepIf", step)["value"], "w1")

    def test_exceptions_carry_their_traceback(self):
        self.load_in_host("c['codebaseGenerator'] = lambda change: change['nothing']\n")
        failed = self.call("codebaseGenerator", {})["exception"]
        self.assertEqual((failed["type"], failed["text"]), ("KeyError", "nothing"))
        self.assertIn("lambda", failed["traceback"])

    def test_unknown_attributes_are_named(self):
        self.load_in_host("c['codebaseGenerator'] = lambda build: build.conn\n")
        failed = self.call("codebaseGenerator", {"$a": "build"})["exception"]
        self.assertEqual(failed["text"], "Build.conn is not supported by Muster yet")

    def test_changed_functions_are_refused(self):
        self.load_in_host("c['codebaseGenerator'] = lambda change: ''\n")
        answer = self.ask(call={"handle": "codebaseGenerator", "digest": "another", "args": [{}]})
        self.assertIn("has changed since the build began", answer["refused"])

    def test_exit_ends_the_call_only(self):
        self.load_in_host("import sys\nc['codebaseGenerator'] = lambda change: sys.exit(3)\n")
        self.assertEqual(self.call("codebaseGenerator", {})["exception"]["type"], "SystemExit")
        self.assertEqual(self.call("codebaseGenerator", {})["exception"]["type"], "SystemExit")

    def test_what_would_end_the_host_ends_the_call_only(self):
        self.load_in_host("""
import os, signal, subprocess, sys
def end(how):
    if how == 'kill':
        os.kill(os.getpid(), signal.SIGTERM)
    elif how == 'group':
        os.killpg(0, signal.SIGKILL)
    elif how == 'become':
        os.execvp('true', ['true'])
    elif how == 'close':
        sys.stdout.close(); sys.stdin.close(); os.close(1); os.close(0)
    elif how == 'fork':
        child = os.fork()
        if not child:
            os._exit(3)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    elif how == 'run':
        print('this goes to the log')
        return subprocess.run(['cat'], stdin=None, capture_output=True, text=True).stdout
    else:
        os._exit(1)
c['codebaseGenerator'] = end
""")
        for how in ("kill", "group", "become", "exit"):
            answer = self.call("codebaseGenerator", how)
            self.assertEqual(answer.get("exception", {}).get("type"), "Ended", answer)
        self.assertIsNone(self.call("codebaseGenerator", "close")["value"])
        self.assertEqual(self.call("codebaseGenerator", "run")["value"], "")
        self.assertEqual(self.call("codebaseGenerator", "fork")["value"], 3)

    def test_answers_are_bounded_and_errors_have_a_text(self):
        self.load_in_host("""
class Bad(Exception):
    def __str__(self):
        raise ValueError
def answer(what):
    if what == 'bad':
        raise Bad
    if what == 'nan':
        return [float('nan')]
    if what == 'deep':
        made = []
        made.append(made)
        return made
    return 'x' * (17 << 20)
c['codebaseGenerator'] = answer
""")
        for what, kind in (("bad", "Bad"), ("nan", "NotEncodable"), ("deep", "RecursionError"), ("huge", "TooMuch")):
            self.assertEqual(self.call("codebaseGenerator", what)["exception"]["type"], kind)

    def test_lone_surrogates_are_carried(self):
        self.load_in_host("c['codebaseGenerator'] = lambda text: [ascii(text), text, '\\udce9']\n")
        self.host.stdin.write('{"id": 1, "call": {"handle": "codebaseGenerator", "args": ["caf\U0010dce9"]}}\n'.encode())
        self.host.stdin.flush()
        self.assertEqual(self.read()["value"], ["'caf\\udce9'", "caf\udce9", "\udce9"])

    def test_integers_of_any_size_are_carried(self):
        self.load_in_host("c['codebaseGenerator'] = lambda n: [n + 1, str(n), {'n': -n}]\n")
        number = '{"id": 1, "call": {"handle": "codebaseGenerator", "args": ["\U0010d7ff%s"]}}\n' % 2**70
        self.host.stdin.write(number.encode())
        self.host.stdin.flush()
        self.assertEqual(self.read()["value"], [2**70 + 1, str(2**70), {"n": -(2**70)}])

    def test_a_host_whose_master_is_gone_removes_its_package(self):
        package = os.path.join(self.basedir, "muster-host-x")
        shutil.copytree(PACKAGE, package)
        host = subprocess.run([sys.executable, "-B", package], input=b"", capture_output=True, cwd=self.basedir)
        self.assertEqual(host.returncode, 0, host.stderr)
        self.assertFalse(os.path.exists(package))

    def test_secrets(self):
        os.mkdir(os.path.join(self.basedir, "s"), 0o700)
        path = self.write("sesame\n", "s/key")
        os.chmod(path, 0o600)
        self.load_in_host("c['secretsProviders'] = [secrets.SecretInAFile('s')]\n")
        self.assertEqual(self.ask(secret={"name": "key"})["value"], "sesame")
        self.assertIn("not found in any provider", self.ask(secret={"name": "other"})["exception"]["text"])


if __name__ == "__main__":
    unittest.main()
