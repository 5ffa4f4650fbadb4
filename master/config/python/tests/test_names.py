"""Buildbot's module tree: each public name can be imported, and using what isn't there is one error."""

import importlib
import textwrap
import typing
import unittest
from importlib import metadata

from buildbot.config.errors import ConfigErrors
from muster_host import distribution, evaluate, not_yet
from muster_host.encode import Functions
from tests.support import ConfigTestCase



class Names(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        not_yet.install()
        distribution.install()

    def test_every_module_and_every_name_of_buildbots_own_can_be_imported(self):
        names = 0
        for module, of_module in not_yet.NAMES.modules.items():
            imported = importlib.import_module(module)
            for name, kind in of_module.items():
                if kind in ("", "!", "?", "()", "#"):
                    with self.subTest(f"{module}.{name}"):
                        getattr(imported, name)
                        names += 1
                elif kind.startswith("buildbot."):
                    with self.subTest(f"{module}.{name}"):
                        self._import_here(imported, name)
        self.assertGreater(names, 1200)

    def _import_here(self, module, name):
        """What Buildbot's modules hand on is the same thing; libraries behind it may be missing here."""
        try:
            getattr(module, name)
        except ModuleNotFoundError as failed:
            self.assertNotEqual(failed.name.split(".")[0], "buildbot")

    def test_exceptions_and_interfaces_have_their_kind(self):
        for module, of_module in not_yet.NAMES.modules.items():
            for name, kind in of_module.items():
                found = getattr(importlib.import_module(module), name) if kind in ("!", "?") else None
                if kind == "!":
                    self.assertTrue(issubclass(found, BaseException), f"{module}.{name}")
                if kind == "?":
                    self.assertTrue(hasattr(found, "providedBy"), f"{module}.{name}")

    def test_every_plugin_is_there(self):
        for namespace, plugins in not_yet.NAMES.plugins.items():
            from buildbot.plugins.db import get_plugins

            for name in plugins:
                found = get_plugins(namespace)
                for part in name.split("."):
                    found = getattr(found, part)

    def test_the_distribution_has_its_metadata_and_entry_points(self):
        self.assertEqual(metadata.version("buildbot"), "4.3.0")
        self.assertEqual(metadata.distribution("buildbot").metadata["Name"], "buildbot")
        points = {(point.group, point.name) for point in metadata.distribution("buildbot").entry_points}
        self.assertIn(("buildbot.steps", "ShellCommand"), points)


USES = [
    ("reporters.GitHubStatusPush(token='x')", "reporters.GitHubStatusPush", ""),
    ("class Mine(reporters.GitHubStatusPush):\n    def __init__(self, token):\n        super().__init__(token)\n"
     "        self.session.headers['a'] = self.token + 1\nc['services'] = [Mine('x'), Mine('y')]",
     "reporters.GitHubStatusPush", ""),
    ("c['services'] = [reporters.IRC]", "reporters.IRC", ""),
    ("from buildbot.util.misc import deferredLocked\nclass A:\n    @deferredLocked('lock')\n    def f(self): pass",
     "buildbot.util.misc.deferredLocked", ""),
    ("from buildbot.worker.ec2 import PENDING\nc['properties'] = {'a': PENDING}", "buildbot.worker.ec2.PENDING", ""),
    ("from buildbot.www.hooks.github import GitHubEventHandler\nGitHubEventHandler.handle_push = None",
     "buildbot.www.hooks.github.GitHubEventHandler", ""),
    ("for i in range(3):\n    c['workers'].append(worker.EC2LatentWorker(f'w{i}', 'p', type='t'))\n"
     "    c['builders'].append(util.BuilderConfig(name=f'x{i}', workernames=[f'w{i}'], factory=factory))\n"
     "    c['schedulers'][0].builderNames.append(f'x{i}')",
     "worker.EC2LatentWorker", " (3 times)"),
]  # fmt: skip

USES.append(
    ("class Mine(steps.ShellCommand):\n    def __init__(self, **kw):\n        super().__init__(**kw)\n"
     "        self.releaseLocks('x', 3).later()\nfactory.addStep(Mine(command='x'))", "ShellCommand.releaseLocks()", "")
)  # fmt: skip

UNUSED = """
import buildbot
from buildbot.buildrequest import BuildRequest
from buildbot.db.connector import DBConnector
from buildbot.process.build import Build
from buildbot.reporters.irc import IRC
from buildbot.reporters.utils import getDetailsForBuild
from buildbot.scheduler import Try_Userpass
from buildbot.schedulers.basic import Dependent
from buildbot.schedulers.canceller import *
from buildbot.steps.shell import WithProperties
from buildbot.steps.vstudio import *
from buildbot.util import asyncSleep, misc
from buildbot.warnings import warn_deprecated
from buildbot.www.hooks.github import GitHubEventHandler
from typing import Dict, List, Optional
import typing
def function(build: Build, irc: Optional[IRC] = None) -> List[BuildRequest]:
    try:
        return [build]
    except buildbot.errors.PluginDBError:
        return typing.cast(Dict[str, Dependent], [])
OldBuildCanceller, VC9
assert not isinstance(3, Dependent)
assert WithProperties is util.WithProperties
"""


class Uses(ConfigTestCase):
    def test_each_use_is_one_error_with_the_line_and_the_count(self):
        for lines, name, times in USES:
            with self.subTest(name):
                found = self.errors("from buildbot.plugins import reporters\n" + lines)
                self.assertEqual(found, [f"not provided by Muster: {name}{times}"])

    def test_what_is_not_used_is_no_error(self):
        self.load(UNUSED)

    def test_a_misspelt_name_says_what_was_meant(self):
        (text,) = self.errors("steps.ShelCommand(command='x')")
        self.assertIn("Unknown component name: ShelCommand; did you mean ShellCommand?", text)

    def test_interfaces_can_be_implemented(self):
        self.load(
            """
            from buildbot.interfaces import IRenderable, IHttpResponse, IReportGenerator
            class Own(IRenderable):
                def getRenderingFor(props): pass
            try:
                from zope.interface import implementer
            except ImportError:
                implementer = lambda *interfaces: lambda cls: cls
            @implementer(IRenderable, IReportGenerator)
            class Mine:
                def getRenderingFor(self, props):
                    return 'x'
            assert IRenderable.providedBy(Mine()) and Own.providedBy(Mine())
            """
        )


class AllInOneRun(ConfigTestCase):
    def test_the_load_goes_on_behind_what_fails(self):
        found = self.located_errors(
            """
            import no_such_module
            secret = open('/no/such/file').read()
            c['www'] = {'port': secret, 'auth': no_such_module.Auth(secret)}
            c['workers'].append(worker.Worker(secret, no_such_module.password('x')))
            steps.ShelCommand(command=secret)
            c['title'] = 7
            for name in no_such_module.names():
                c['builders'].append(util.BuilderConfig(name=name))
            c['builders'].append(util.BuilderConfig(name='z', workernames=['other'], factory=factory))
            def helper():
                return 1 / 0
            helper()
            """
        )
        texts = [text for text, _line in found]
        self.assertEqual(len(found), 5, texts)
        self.assertTrue(texts[0].startswith("error while parsing config file: No module named 'no_such_module': "))
        self.assertIn("MUSTER_PYTHON=", texts[0])
        self.assertIn("No such file or directory", texts[1])
        self.assertIn("did you mean ShellCommand?", texts[2])
        self.assertIn("division by zero", texts[3])
        self.assertEqual(texts[4], "c['title'] must be a string")
        self.assertEqual([line for _text, line in found[:4]], [2, 3, 6, 12])

    def test_modules_of_the_configuration_are_finished_too(self):
        import sys

        self.write("import no_such_module\nfrom inner_part import *\nOTHER = 5\nsteps = 1 / 0\n", "outer_part.py")
        self.write("VALUE = undefined_name\nGOOD = 'good'\n", "inner_part.py")
        for name in ("outer_part", "inner_part"):
            self.addCleanup(sys.modules.pop, name, None)
        found = self.errors(
            """
            from outer_part import OTHER, GOOD, VALUE
            assert OTHER == 5 and GOOD == 'good'
            c['title'] = 5
            """
        )
        self.assertEqual(len(found), 4, found)
        for text, part in zip(found, ("no_such_module", "undefined_name", "division", "c['title']")):
            self.assertIn(part, text)

    def test_what_the_configuration_handles_itself_is_none(self):
        self.write("import no_such_module\n", "optional_part.py")
        self.load("try:\n    import optional_part\nexcept ImportError:\n    c['title'] = 'without'")

    def test_one_text_is_told_once_with_its_count(self):
        found = self.errors("for i in range(4): steps.Git()")
        self.assertEqual(found, ["Git: must provide repourl. (4 times)"])

    def test_many_of_a_kind_are_counted(self):
        found = self.errors("for i in range(40): util.BuilderConfig(name=f'x{i}', workernames=['w1'])")
        self.assertEqual(len(found), 11)
        self.assertTrue(found[-1].startswith("30 more of this kind"), found)

    def test_values_that_can_not_be_encoded_are_all_told_with_their_places(self):
        found = self.located_errors(
            """
            factory.addStep(steps.ShellCommand(command=['x'], env={'A': object()}))
            factory.addStep(
                steps.ShellCommand(command=object()))
            c['workers'].append(worker.Worker('w2', 'x', properties={'p': float('inf')}))
            c['title'] = 3
            """
        )
        self.assertEqual(found[0][0], "c['title'] must be a string")
        self.assertEqual(
            found[1:],
            [
                ("workers/w2/properties/p: inf is not a JSON number", 5),
                ("builders/b/steps/1/env/A: object can't be used here", 2),
                ("builders/b/steps/2/command: object can't be used here", 4),
            ],
        )

    def test_tracebacks_are_about_the_users_code_alone(self):
        import contextlib
        import io
        import sys

        self.write("def inner():\n    return 1 / 0\ninner()\n", "failing_part.py")
        self.addCleanup(sys.modules.pop, "failing_part", None)
        self.write("import failing_part\nundefined_name\n")
        shown = io.StringIO()
        with contextlib.redirect_stderr(shown), self.assertRaises(ConfigErrors):
            evaluate.load(self.basedir, "master.cfg", Functions())
        self.assertIn("failing_part.py", shown.getvalue())
        for word in ("muster_host", "importlib", "During handling"):
            self.assertNotIn(word, shown.getvalue())

    def test_what_a_configuration_prints_and_logs_is_shown(self):
        import contextlib
        import io

        self.write(textwrap.dedent(""))
        shown = io.StringIO()
        with contextlib.redirect_stderr(shown):
            self.load("import logging, warnings\nlogging.getLogger('mine').info('from the log')\nwarnings.warn('careful')")
        self.assertIn("from the log", shown.getvalue())
        self.assertIn("careful", shown.getvalue())


if __name__ == "__main__":
    typing.TYPE_CHECKING and unittest.main()
    unittest.main()
