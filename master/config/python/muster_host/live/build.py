"""The build as a running step sees it: what the master told with the step, and what it may ask for."""

import json
import ntpath
import posixpath

from muster_host import arguments
from muster_host.encode import Encoder
from muster_host.live.rendering import NeedsSecret, rendered


def _not_yet(name):
    """What a step asks for in vain says so; an empty answer would send it another way."""
    return NotImplementedError(f"{name} is not supported by Muster yet in a step")


class LiveProperties(arguments.Props):
    """The build's properties; what is set goes to the master."""

    def __init__(self, given, host, conversation):
        super().__init__(given, host)
        self.conversation, self.secrets = conversation, {}

    def setProperty(self, name, value, source, runtime=False):
        if not isinstance(name, str):
            raise TypeError(f"property name must be a string, got {name!r}")
        try:
            plain = json.loads(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError) as failed:
            raise TypeError(f"property '{name}' can't be stored: {failed}") from None
        self.properties[name] = (value, str(source))
        effect = {"effect": "set_property", "name": name, "value": plain, "source": str(source)}
        return self.conversation.ask(effect)

    def changed(self, changes):
        """What an effect changed."""
        self.properties.update({name: tuple(pair) for name, pair in changes.get("properties", {}).items()})

    def updateFromProperties(self, other):
        for name, (value, source) in other.properties.items():
            self.setProperty(name, value, source)

    def lookUp(self, selector, *names):
        if selector == "secret":
            if names[0] not in self.secrets:
                raise NeedsSecret(names[0])
            return (self.secrets[names[0]],)
        return super().lookUp(selector, *names)


class LiveBuild(arguments.Build):
    """The build."""

    def __init__(self, given, host, conversation, wanted):
        super().__init__(given, host, LiveProperties(given, host, conversation))
        self._conversation, self._functions = conversation, host.functions
        self.properties.build = self
        self.master = LiveMaster(given, host)
        self.workdir = wanted.get("workdir") or "build"
        self.name = given.get("builder")
        builder = self.builder
        builder.config = _BuilderConfig(given, wanted.get("env") or {})
        builder.master = self.master
        worker = self.workerforbuilder.worker
        worker.path_module = ntpath if worker.worker_system in ("nt", "win32") else posixpath
        worker.worker_environ = worker.info.get("environ") or {}
        self.path_module = worker.path_module
        self.workername = given.get("workername")
        self.sources = self.getAllSourceStamps()
        self.currentStep, self.stopped, self.terminate = None, False, False
        self.conn = None

    @property
    def env(self):
        return self.builder.config.env

    def setProperty(self, name, value, source, runtime=True):
        return self.properties.setProperty(name, value, source, runtime)

    def render(self, value):
        return self._conversation.loop.start(rendered(value, self.properties))

    def getWorkerCommandVersion(self, command, oldversion=None):
        versions = self.workerforbuilder.worker.info.get("worker_commands") or {}
        return versions.get(command, self.workerforbuilder.worker.info.get("version", oldversion))

    def getWorkerInfo(self):
        return self.workerforbuilder.worker.properties

    def getBuilderId(self):
        return arguments.answered(self.builder._given.get("builderid") or self._given.get("builderid"))

    def get_buildid(self):
        return self.buildid

    @property
    def requests(self):
        raise _not_yet("Build.requests")

    @property
    def reason(self):
        raise _not_yet("Build.reason")

    @reason.setter
    def reason(self, value):
        """Functions get theirs with the question; a step has no such."""

    def allChanges(self):
        raise _not_yet("Build.allChanges()")

    def allFiles(self):
        raise _not_yet("Build.allFiles()")

    def blamelist(self):
        raise _not_yet("Build.blamelist()")

    def changesText(self):
        raise _not_yet("Build.changesText()")

    def addStepsAfterCurrentStep(self, step_factories):
        """More steps, right behind this one."""
        return self._add_steps("current", step_factories)

    def addStepsAfterLastStep(self, step_factories):
        """More steps, behind all others."""
        return self._add_steps("last", step_factories)

    def _add_steps(self, where, step_factories):
        steps = [(each.get_step_factory() if hasattr(each, "get_step_factory") else each).buildStep() for each in step_factories]
        encode = Encoder(self._functions, f"builds/{self.buildid}/{self.currentStep.number}/{where}")
        made = [step.as_data(encode.at("steps", index)) for index, step in enumerate(steps)]
        return self._conversation.ask({"effect": "add_steps", "where": where, "steps": made})

    def getSummaryStatistic(self, name, summary_fn, initial_value=None):
        raise _not_yet("Build.getSummaryStatistic()")

    def stopBuild(self, reason="<no reason given>", results=None):
        raise _not_yet("Build.stopBuild()")


class _BuilderConfig:
    """What the builder is configured with, as far as steps ask."""

    def __init__(self, given, env):
        self.name, self.env = given.get("builder"), env
        self.tags = list(given.get("builder_tags") or ())
        self.builddir = given.get("builddir")
        self.workerbuilddir = given.get("builddir")


class LiveMaster(arguments.Master):
    """The master."""

    @property
    def data(self):
        raise _not_yet("master.data")

    @data.setter
    def data(self, value):
        """Functions get theirs with the question; a step has no such."""
