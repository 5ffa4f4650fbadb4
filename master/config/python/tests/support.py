"""What the tests share."""

import contextlib
import io
import os
import tempfile
import textwrap
import unittest

from buildbot.config.errors import ConfigErrors, capture_config_errors
from buildbot.process.properties import Properties
from muster_host import evaluate
from muster_host.encode import Functions

#: A small good configuration; tests add lines to it.
BASE = """
from buildbot.plugins import changes, schedulers, secrets, steps, util, worker
c = BuildmasterConfig = {}
c['protocols'] = {'session': {'port': 9990}}
c['workers'] = [worker.Worker('w1', 'sesame')]
factory = util.BuildFactory([steps.ShellCommand(command=['true'])])
c['builders'] = [util.BuilderConfig(name='b', workernames=['w1'], factory=factory)]
c['schedulers'] = [schedulers.SingleBranchScheduler(name='s', branch='main', builderNames=['b'])]
"""
#: The line of the first added line.
FIRST_LINE = BASE.count("\n") + 1


class ConfigTestCase(unittest.TestCase):
    """Loads configurations in a directory of its own."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.addCleanup(os.chdir, os.getcwd())
        self.basedir = directory.name
        self.functions = Functions()

    def write(self, text, name="master.cfg"):
        path = os.path.join(self.basedir, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def load_text(self, text):
        self.write(text)
        return evaluate.load(self.basedir, "master.cfg", self.functions)[0]

    def load(self, more=""):
        return self.load_text(BASE + textwrap.dedent(more))

    def failed_load(self, more):
        """What is wrong; tracebacks go where nobody reads them."""
        with self.assertRaises(ConfigErrors) as raised, contextlib.redirect_stderr(io.StringIO()):
            self.load(more)
        return raised.exception

    def errors(self, more):
        return self.failed_load(more).errors

    def located_errors(self, more):
        found = self.failed_load(more)
        return [(text, where.line - FIRST_LINE + 1) for text, where in zip(found.errors, found.locations)]


def errors_of(function):
    """The errors that a constructor reports."""
    with capture_config_errors() as collected:
        function()
    return collected.errors


def properties(**values):
    """A set of properties, with no sourcestamps and no worker beside it."""
    made = Properties()
    made.update(values, "test")
    made.lookUp = lambda selector, *names: None
    return made
