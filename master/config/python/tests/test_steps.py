"""Steps: arguments, checks, subclasses."""

import unittest

from buildbot.config.errors import capture_config_errors
from buildbot.plugins import steps, util
from buildbot.steps.shell import Compile, ShellCommand
from muster_host import kinds, names
from muster_host.encode import Encoder, Functions
from tests.support import errors_of, properties


def data(step):
    return step.as_data(Encoder(Functions(), "step"))


class Arguments(unittest.TestCase):
    def test_defaults_of_commands(self):
        made = data(steps.ShellCommand(command=["make"]))
        self.assertEqual(made["kind"], "ShellCommand")
        self.assertEqual(made["name"], "shell")
        self.assertEqual(made["args"]["timeout"], 1200)
        self.assertEqual(made["args"]["interruptSignal"], "KILL")
        self.assertEqual(made["args"]["decodeRC"], {"$r": "dict", "items": [[0, 0]]})
        self.assertIsNone(made["args"]["usePTY"])

    def test_flags(self):
        made = data(steps.ShellCommand(command="x", haltOnFailure=True, flunkOnFailure=False))["flags"]
        self.assertTrue(made["halt_on_failure"])
        self.assertFalse(made["flunk_on_failure"])

    def test_a_lock_without_a_list(self):
        lock = util.MasterLock("l")
        found = errors_of(lambda: steps.ShellCommand(command="x", locks=lock.access("exclusive")))
        self.assertEqual(len(found), 1)
        self.assertTrue(found[0].startswith("ShellCommand locks must be a list of locks, not "), found)

    def test_conditions(self):
        self.assertEqual(data(steps.ShellCommand(command="x"))["do_step_if"], {"fixed": True})
        made = data(steps.ShellCommand(command="x", doStepIf=util.Property("p"), hideStepIf=lambda results, step: True))
        self.assertEqual(made["do_step_if"]["renderable"]["$r"], "property")
        self.assertEqual(made["hide_step_if"]["callable"]["handle"], "step/hideStepIf")

    def test_git(self):
        made = data(steps.Git("git@example.org:group/project.git", mode="full", method="fresh", codebase="lib"))
        self.assertEqual(made["name"], "git-lib")
        self.assertEqual(made["args"]["repourl"], "ssh://git@example.org:22/group/project.git")
        self.assertEqual(made["args"]["method"], "fresh")
        described = [made[name] for name in ("description", "description_done", "description_suffix")]
        self.assertEqual(described, [["updating"], ["update"], ["lib"]])
        own = data(steps.Git("x", description="getting", descriptionDone="got"))
        described = [own[name] for name in ("description", "description_done", "description_suffix")]
        self.assertEqual(described, ["getting", "got", None])

    def test_addresses_of_git_get_their_port(self):
        for written, expected in (
            ("git@host:/abs/r.git", "ssh://git@host:2222//abs/r.git"),
            ("alias:path/r.git", "ssh://alias:2222/path/r.git"),
            ("alias:/abs", "ssh://alias:2222//abs"),
            ("user@ho_st:~u/p", "ssh://user@ho_st:2222/~u/p"),
            ("git@[::1]:path", "ssh://git@[::1]:2222/path"),
            ("/abs/path", "/abs/path"),
            ("./a:b", "./a:b"),
            ("C:\\repo", "C:\\repo"),
            ("https://h:80/x", "https://h:80/x"),
            ("git@host://x", "git@host://x"),
            ("ext::sh -c x", "ext::sh -c x"),
            ("-oX=y:z", "-oX=y:z"),
        ):
            made = data(steps.Git(written, port=2222))["args"]
            self.assertEqual((made["repourl"], made["port"]), (expected, 2222))

    def test_transfers(self):
        made = data(steps.FileUpload(workersrc="a", masterdest=util.Interpolate("%(prop:b)s")))
        self.assertEqual(made["args"]["blocksize"], 256 * 1024)
        self.assertEqual(made["args"]["masterdest"]["$r"], "interpolate")

    def test_json_of_plain_values_is_written_at_once(self):
        plain = data(steps.JSONStringDownload({"a": 1}, workerdest="x"))
        self.assertEqual(plain["args"]["s"], '{"a": 1}')
        later = data(steps.JSONStringDownload({"a": util.Property("p")}, workerdest="x"))
        self.assertEqual(later["args"]["s"]["$r"], "transform")

    def test_compile_keeps_patterns_as_text(self):
        by_groups = Compile.warnExtractFromRegexpGroups
        made = data(steps.Compile(warningPattern=r"^(.*):(\d+): (.*)$", warningExtractor=by_groups))
        self.assertEqual(made["args"]["warningExtractor"], "warnExtractFromRegexpGroups")
        self.assertEqual(made["args"]["warningPattern"], r"^(.*):(\d+): (.*)$")

    def test_trigger(self):
        made = data(steps.Trigger(schedulerNames=["t"], copy_properties=["p"], set_properties={"q": 1}))["args"]
        self.assertTrue(made["updateSourceStamp"])
        self.assertEqual(made["set_properties"]["p"]["name"], "p")

    def test_shell_sequence(self):
        made = data(steps.ShellSequence(commands=[util.ShellArg(command=["a"], logname="l", haltOnFailure=True)]))
        self.assertEqual(made["args"]["commands"][0]["command"], ["a"])
        self.assertTrue(made["args"]["commands"][0]["haltOnFailure"])
        self.assertTrue(made["args"]["commands"][0]["flunkOnFailure"])

    def test_arguments_of_a_sequence_are_rendered_for_each_build(self):
        shared = util.ShellArg(command=["echo", util.Property("n")], haltOnFailure=util.Property("halts", False))
        first = shared.getRenderingFor(properties(n="1", halts=True))
        second = shared.getRenderingFor(properties(n="2", halts=False))
        self.assertEqual([(arg.command[1], arg.haltOnFailure) for arg in (first, second)], [("1", True), ("2", False)])

    def test_assert_tells_what_was_checked(self):
        told = [
            (util.Property("n") == 3, "checked Property(n) == 3"),
            (util.Interpolate("%(kw:a)s", a=1), "checked Interpolate('%(kw:a)s', **{'a': 1})"),
            (util.Interpolate("%s", 1), "checked Interpolate('%s', *(1,))"),
        ]
        for check, summary in told:
            self.assertEqual(data(steps.Assert(check))["description_done"], [summary])


class Subclasses(unittest.TestCase):
    def test_attributes_and_constructor(self):
        class Lint(ShellCommand):
            name = "lint"
            warnOnFailure = True
            flunkOnFailure = False
            command = ["lint"]

            def __init__(self, target, **kwargs):
                super().__init__(command=["lint", target], **kwargs)

        made = data(Lint("src"))
        self.assertEqual((made["kind"], made["name"]), ("ShellCommand", "lint"))
        self.assertEqual(made["args"]["command"], ["lint", "src"])
        self.assertTrue(made["flags"]["warn_on_failure"])

    def test_what_buildbot_does_not_call_is_warned_about(self):
        class Mine(ShellCommand):
            def evaluateCommand(self, cmd):
                return util.SUCCESS

        with capture_config_errors() as collected:
            made = Mine(command="x")
        self.assertEqual(collected.warnings, ["step class Mine defines evaluateCommand(), which Buildbot 4 does not call"])
        self.assertFalse(made.is_custom())


class Errors(unittest.TestCase):
    def check(self, function, *expected):
        self.assertEqual(errors_of(function), list(expected))

    def test_shell_command(self):
        self.check(lambda: steps.ShellCommand(), "ShellCommand's `command' argument is not specified")
        self.check(
            lambda: steps.ShellCommand(command="x", foo=1),
            "Invalid argument(s) passed to ShellCommand: foo",
            "invalid ShellCommand argument foo",
        )
        self.check(
            lambda: steps.ShellCommand(command="x", timeout="soon", logEnviron=3),
            "ShellCommand argument timeout must be an instance of int or float or None",
            "ShellCommand argument logEnviron must be an instance of bool",
        )

    def test_names_have_a_limit(self):
        (error,) = errors_of(lambda: steps.ShellCommand(command="x", name="n" * 51))
        self.assertTrue(error.endswith("exceeds maximum length of 50"))

    def test_git(self):
        self.check(lambda: steps.Git(), "Git: must provide repourl.")
        self.check(lambda: steps.Git("x", mode="fast"), "Git: mode must be full or incremental")
        self.check(lambda: steps.Git("x", mode="full", method="magic"), "Git: invalid method for mode 'full'.")
        self.check(
            lambda: steps.Git("x", foo=1),
            "<class 'buildbot.process.buildstep.Git'>.__init__ got unexpected keyword argument(s) ['foo']",
        )

    def test_transfers(self):
        self.check(lambda: steps.FileUpload("a", "b", mode="rw"), "mode must be an integer or None")
        self.check(lambda: steps.FileUpload("a"), "FileUpload: missing a required argument: 'masterdest'")
        self.check(lambda: steps.StringDownload("a"), "StringDownload: missing a required argument: 'workerdest'")
        with self.assertRaisesRegex(TypeError, "takes at least 3 arguments"):
            steps.FileUpload("a")

    def test_arguments_of_other_names(self):
        self.check(
            lambda: steps.SetProperty(proprety="x", value=1),
            "SetProperty: missing a required argument: 'property' (there is 'proprety'); did you mean property?",
        )
        self.check(lambda: steps.SetProperty("x", 1, 2), "SetProperty: too many positional arguments")
        self.check(
            lambda: steps.ShellSequence(commands=[], halt_on_failure=True),
            "invalid ShellSequence argument halt_on_failure; did you mean haltOnFailure?",
        )
        (error,) = errors_of(lambda: steps.Git("x", brnch="main"))
        self.assertTrue(error.endswith("unexpected keyword argument(s) ['brnch']; did you mean branch?"), error)

    def test_subclasses_have_the_arguments_of_their_own_constructor(self):
        class Upload(steps.FileUpload):
            def __init__(self, name, **kwargs):
                super().__init__(workersrc=name, masterdest=name, **kwargs)

        self.check(lambda: Upload("x"))
        self.check(lambda: Upload(), "Upload: missing a required argument: 'name'")

    def test_trigger(self):
        self.check(lambda: steps.Trigger(), "You must specify a scheduler to trigger")

    def test_factories_take_steps_only(self):
        with self.assertRaisesRegex(TypeError, "step must be an instance of a BuildStep"):
            util.BuildFactory().addStep("make")

    def test_secrets_in_files(self):
        factory = util.BuildFactory()
        with factory.withSecrets([("/tmp/key", util.Secret("key"))]):
            factory.addStep(steps.ShellCommand(command="x"))
        kinds = [step.buildStep().kind for step in factory.steps]
        self.assertEqual(kinds, ["DownloadSecretsToWorker", "ShellCommand", "RemoveWorkerFileSecret"])
        self.check(
            lambda: factory.addSteps([], withSecrets=["/tmp/key"]),
            *[f"{step}: populated_secret_list must be a list of pairs (path, secret)" for step in kinds[::2]],
        )


class Kinds(unittest.TestCase):
    def test_classes_say_what_is_offered(self):
        self.assertIn("Compile", steps.names)
        self.assertIn("GitPush", steps.names)
        for other in ("Source", "WorkerBuildStep", "ShellCommandNewStyle", "_GitCommand"):
            self.assertNotIn(other, steps.names)
        self.assertEqual(names.refused("steps") & set(steps.names), set())
        for name in kinds.step_classes():
            self.assertIs(getattr(steps, name), kinds.step_classes()[name])

    def test_arguments_that_a_kind_does_not_have(self):
        self.assertNotIn("command", data(steps.ShellSequence(commands=[]))["args"])
        self.assertNotIn("s", data(steps.JSONPropertiesDownload("x"))["args"])


if __name__ == "__main__":
    unittest.main()
