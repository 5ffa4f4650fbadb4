"""Factories: the steps of a build."""

import contextlib
import warnings

from buildbot import util
from buildbot.process.buildstep import BuildStep
from buildbot.steps.download_secret_to_worker import DownloadSecretsToWorker, RemoveWorkerFileSecret
from muster_host.location import caller
from muster_host.not_yet import is_stand_in


class BuildFactory(util.ComparableMixin):
    """A list of steps."""

    compare_attrs = ("steps", "workdir", "useProgress")
    workdir = "build"
    useProgress = True
    buildClass = None
    overridable = ("addStep", "addSteps", "withSecrets")

    def __init__(self, steps=None):
        self.location = caller()
        self.steps = []
        if steps:
            self.addSteps(steps)

    def addStep(self, step):
        """Adds one step."""
        if is_stand_in(step):
            return
        if isinstance(step, _StepFactory):
            # Of another factory's `steps`.
            self.steps.append(step)
            return
        if not isinstance(step, BuildStep):
            raise TypeError("step must be an instance of a BuildStep")
        self.steps.append(_StepFactory(step))

    def addSteps(self, steps, withSecrets=None):
        """Adds steps, with files of secrets around them if asked for."""
        with self.withSecrets(withSecrets or []):
            for step in steps:
                self.addStep(step)

    @contextlib.contextmanager
    def withSecrets(self, secrets):
        """The steps added in this block find files with these secrets."""
        if secrets:
            self.addStep(DownloadSecretsToWorker(secrets))
        yield self
        if secrets:
            self.addStep(RemoveWorkerFileSecret(secrets))

    def __bool__(self):
        return True


class _StepFactory(util.ComparableMixin):
    """One step in a factory, as configurations see it when they look into `factory.steps`."""

    compare_attrs = ("step",)

    def __init__(self, step):
        self.step = step
        self.step_class = type(step)

    def buildStep(self):
        return self.step

    @property
    def args(self):
        return self.step._recipe.args

    @property
    def kwargs(self):
        return self.step._recipe.kwargs


def s(steptype, **kwargs):
    """The very old way to write a step."""
    warnings.warn("s(…) is an old way to write a step; write the step itself", DeprecationWarning, stacklevel=2)
    return steptype(**kwargs)


class QuickBuildFactory(BuildFactory):
    """Does not clean up before it builds."""

    useProgress = False


class GNUAutoconf(BuildFactory):
    """configure, make all, make check, make distcheck; `None` leaves one of them out."""

    def __init__(
        self,
        source,
        configure="./configure",
        configureEnv=None,
        configureFlags=None,
        reconf=None,
        compile=("make", "all"),
        test=("make", "check"),
        distcheck=("make", "distcheck"),
    ):
        from buildbot.steps.shell import Compile, Configure, ShellCommand, Test

        super().__init__([source])
        if reconf is True:
            reconf = ["autoreconf", "-si"]
        flags = list(configureFlags or [])
        if configure is not None and (flags or not isinstance(configure, str)):
            configure = [*([configure] if isinstance(configure, str) else configure), *flags]
        commands = [
            (ShellCommand, {"name": "autoreconf"}, reconf),
            (Configure, {}, configure),
            (Compile, {}, compile),
            (Test, {}, test),
            (Test, {}, distcheck),
        ]
        for step, arguments, command in commands:
            if command is not None:
                command = list(command) if isinstance(command, tuple) else command
                self.addStep(step(command=command, env=configureEnv or {}, **arguments))
