"""Builders, their factories, projects and locks."""

import sys
import unittest
from types import SimpleNamespace
from unittest import mock

from buildbot.interfaces import IRenderable
from buildbot.plugins import steps, util
from muster_host.encode import Encoder, Functions
from tests.support import errors_of


def builder(**kwargs):
    arguments = {"name": "x", "factory": util.BuildFactory(), "workername": "w", **kwargs}
    return util.BuilderConfig(**{name: value for name, value in arguments.items() if value is not ...})


class Builders(unittest.TestCase):
    def check(self, expected, **kwargs):
        self.assertEqual(errors_of(lambda: builder(**kwargs)), expected)

    def test_directories(self):
        made = builder(name="a b.c/d-e")
        self.assertEqual((made.builddir, made.workerbuilddir), ("a_b_c_d-e", "a_b_c_d-e"))
        self.assertEqual(builder(builddir="d").workerbuilddir, "d")

    def test_directories_are_those_of_buildbot(self):
        # Recorded from Buildbot 4.3.0: a moved installation must find its work directories.
        for name, directory in (
            ("plain", "plain"),
            ('say "hi"', 'say_"hi"'),
            ("a`b'c", "a`b_c"),
            ("A\"B/C\\D", "A\"B_C_D"),
            ("\t!#$%&'()*+,./:;<=>?@[\\]^_{|}~ x", "_" * 31 + "x"),
            ("-dash-", "-dash-"),
            (".hidden", "_hidden"),
            ("..", "__"),
            ("a  b", "a__b"),
            ("äöü 日本", "äöü_日本"),
            ("e\u0301\u00a0x\u2028y", "e\u0301\u00a0x\u2028y"),
            ("a\nb\x0bc\x7f", "a\nb\x0bc\x7f"),
        ):
            made = builder(name=name)
            self.assertEqual((made.builddir, made.workerbuilddir), (directory, directory), name)
        made = builder(name="x", builddir='x y"z')
        self.assertEqual((made.builddir, made.workerbuilddir), ('x y"z', 'x y"z'))

    def test_workers(self):
        self.assertEqual(builder(workernames=["v"]).workernames, ["v", "w"])
        self.assertEqual(builder(workername=..., workernames="v").workernames, ["v"])

    def test_what_is_required(self):
        self.assertEqual(
            errors_of(lambda: util.BuilderConfig()),
            [
                "builder's name is required",
                "builder '<unknown>': has no factory",
                "builder '<unknown>': at least one workername is required",
            ],
        )

    def test_names(self):
        self.check(["builder names must not start with an underscore: '_x'"], name="_x")
        self.check(["builder's name is required"], name=3)

    def test_tags(self):
        self.check(["builder 'x': tags must be a list"], tags="t")
        self.check(["builder 'x': tags list contains something that is not a string"], tags=["t", 3])
        self.check(["builder 'x': tags list contains duplicate tags: t"], tags=["t", "t"])

    def test_functions(self):
        self.check(["nextWorker must be a callable"], nextWorker=3)
        self.check(["builder's env must be a dictionary"], env=3)

    def test_a_request_that_names_its_worker(self):
        def fits(**properties):
            request = SimpleNamespace(properties=SimpleNamespace(getProperty=properties.get))
            worker = SimpleNamespace(worker=SimpleNamespace(workername="w"))
            return util.enforceChosenWorker(None, worker, request)

        self.assertTrue(fits() and fits(workername="w") and fits(workername=None))
        self.assertFalse(fits(workername="v"))

    def test_descriptions(self):
        self.check(['builder description format must be None or "markdown"'], description_format="html")

    def test_names_of_properties(self):
        (error,) = errors_of(lambda: builder(properties={"p" * 257: 1}))
        self.assertTrue(error.endswith("exceeds maximum length of 256"))

    def test_unknown_arguments(self):
        with self.assertRaisesRegex(TypeError, "category"):
            builder(category="c")

    def test_they_can_be_looked_into(self):
        self.assertEqual(builder(tags=["t"])["tags"], ["t"])


class Factories(unittest.TestCase):
    def commands(self, **kwargs):
        factory = util.GNUAutoconf(source=steps.ShellCommand(command="get"), **kwargs)
        made = [step.as_data(Encoder(Functions(), "step"))["args"] for step in (made.buildStep() for made in factory.steps)]
        return [(args["command"], args["env"]) for args in made]

    def test_autoconf(self):
        make = [["make", target] for target in ("all", "check", "distcheck")]
        plain = self.commands()
        self.assertEqual([command for command, _ in plain], ["get", "./configure", *make])
        some = self.commands(reconf=True, configureFlags=["--x"], configureEnv={"A": "b"}, compile=None, distcheck=None)
        commands = [["autoreconf", "-si"], ["./configure", "--x"], ["make", "check"]]
        self.assertEqual(some[1:], [(command, {"A": "b"}) for command in commands])


class Projects(unittest.TestCase):
    def test_descriptions(self):
        project = util.Project("p", slug="q", description="*text*").as_data()
        self.assertEqual((project["slug"], project["description"], project["description_html"]), ("q", "*text*", None))

    def test_markdown(self):
        library = SimpleNamespace(markdown=lambda text: f"<p>{text}</p>")
        with mock.patch.dict(sys.modules, markdown=library):
            project = util.Project("p", description="*text*", description_format="markdown").as_data()
        self.assertEqual(project["description_html"], "<p>*text*</p>")
        with mock.patch.dict(sys.modules, markdown=None):
            project = util.Project("p", description="*text*", description_format="markdown").as_data()
        self.assertIsNone(project["description_html"])


class Interfaces(unittest.TestCase):
    def test_classes_of_the_user_may_claim_them(self):
        # zope.interface takes a collection of interfaces where an interface can stand.
        self.assertEqual(list(IRenderable), [])
        self.assertTrue(IRenderable.providedBy(util.Property("x")))


class Locks(unittest.TestCase):
    def test_accesses(self):
        lock = util.MasterLock("l", maxCount=3)
        self.assertEqual(lock.access("counting", 2).as_data(), {"lock": "l", "mode": "counting", "count": 2})
        self.assertEqual(lock.defaultAccess().mode, "exclusive")

    def test_bad_accesses(self):
        lock = util.MasterLock("l")
        for arguments in (("shared",), ("exclusive", 2), ("counting", -1), ("counting", "x")):
            with self.subTest(arguments), self.assertRaises(ValueError):
                lock.access(*arguments)

    def test_equal_locks(self):
        self.assertEqual(util.WorkerLock("l", 2), util.WorkerLock("l", 2))
        self.assertNotEqual(util.WorkerLock("l", 2), util.WorkerLock("l", 3))


if __name__ == "__main__":
    unittest.main()
