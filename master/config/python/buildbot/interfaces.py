"""Marks for what an object can do. They carry no behaviour: `providedBy` looks at the object itself."""


class Mark:
    """An interface in the sense of `X.providedBy(object)`."""

    def __init__(self, name, test, members=None):
        self.__name__ = name
        # An interface that is made of this one by a class statement: what has its names provides it.
        self._test = _has(*(name for name in members if not name.startswith("__"))) if members is not None else test

    def providedBy(self, candidate):
        return self._test(candidate)

    def __iter__(self):
        # For `@implementer(IRenderable)` of zope.interface, which takes collections of interfaces, too.
        return iter(())

    def __repr__(self):
        return f"<interface {self.__name__}>"


def _has(*names):
    return lambda candidate: not isinstance(candidate, type) and all(hasattr(candidate, name) for name in names)


def _is_instance(module, name):
    def test(candidate):
        import importlib

        return isinstance(candidate, getattr(importlib.import_module(module), name))

    return test


IRenderable = Mark("IRenderable", _has("getRenderingFor"))
IProperties = Mark("IProperties", _has("getProperty", "setProperty", "render"))
IBuildStep = Mark("IBuildStep", _is_instance("buildbot.process.buildstep", "BuildStep"))
IBuildStepFactory = Mark("IBuildStepFactory", _has("buildStep"))
IWorker = Mark("IWorker", _is_instance("buildbot.worker.base", "AbstractWorker"))
IScheduler = Mark("IScheduler", _is_instance("buildbot.schedulers.base", "BaseScheduler"))
ITriggerableScheduler = Mark("ITriggerableScheduler", _is_instance("buildbot.schedulers.triggerable", "Triggerable"))
IChangeSource = Mark("IChangeSource", _is_instance("buildbot.changes.base", "ChangeSource"))
IConfigurator = Mark("IConfigurator", _has("configure"))


class BuildbotNotRunningError(Exception):
    """There is no master."""


class LatentWorkerFailedToSubstantiate(Exception):
    """A worker on demand did not come up."""


class LatentWorkerCannotSubstantiate(Exception):
    """A worker on demand will never come up."""


class LatentWorkerSubstantiatiationCancelled(Exception):
    """A worker on demand is not wanted any more."""


class WorkerSetupError(Exception):
    """The worker lacks something that a step needs."""


class ParameterError(Exception):
    """A bad argument."""
