"""What all steps have."""

import functools
import inspect

from buildbot import util
from buildbot.config.checks import (
    check_param_bool,
    check_param_number_none,
    check_param_str,
    or_renderable,
)
from buildbot.config.errors import error, error_once, is_collecting, warn_once
from buildbot.interfaces import IRenderable, WorkerSetupError
from buildbot.process.results import ALL_RESULTS, CANCELLED, EXCEPTION, FAILURE, RETRY, SKIPPED, SUCCESS, WARNINGS
from muster_host import not_yet, overrides
from muster_host.live.recipe import Recipe
from muster_host.live.shell import LiveCommands, LiveShell
from muster_host.live.step import LiveStep
from muster_host.location import caller, is_ours
from muster_host.not_yet import unknown as unknown_value
from muster_host.suggestions import did_you_mean

__all__ = [
    "ALL_RESULTS", "BuildStep", "BuildStepCancelled", "BuildStepFailed", "CANCELLED", "CommandMixin", "EXCEPTION",
    "FAILURE", "RETRY", "SKIPPED", "SUCCESS", "ShellMixin", "WARNINGS", "WorkerSetupError",
]  # fmt: skip

#: Longest name of a step; the database's column.
MAX_NAME = 50

_FLAGS = ("haltOnFailure", "flunkOnFailure", "flunkOnWarnings", "warnOnFailure", "warnOnWarnings", "alwaysRun")

#: Methods of steps that Buildbot called before its version 4 and doesn't any more.
_OLD = frozenset(
    "start startVC commandComplete evaluateCommand createSummary describe finished getText getText2 maybeGetText2".split()
)
#: The kind of steps that run in the host.
CUSTOM = "python"
#: What the master does itself.
_MASTERS = frozenset(["acquireLocks", "startStep"])
#: What a class may say without code that runs: its arguments and flags.
_DECLARED = frozenset(["resultConfig"])


class BuildStepFailed(Exception):
    """Ends a step with a failure."""


class BuildStepCancelled(Exception):
    """Ends a step as cancelled."""


class BuildStep(LiveStep, util.ComparableMixin):
    """A step of a build: keeps its arguments. Where its class is the user's own, it runs, too."""

    #: The engine's name for what this class does; `None` where there is nothing to run.
    kind = None
    #: Names of the class's own arguments; those of its bases are added.
    arguments = ()
    #: Those of the bases that it doesn't have.
    without = ()
    #: Arguments of the constructor without which there is no step, although they have a default.
    required = ()
    #: What subclasses may define because this package calls it itself.
    overridable = ("setupShellMixin",)

    name = "generic"
    haltOnFailure = False
    flunkOnFailure = True
    flunkOnWarnings = False
    warnOnFailure = False
    warnOnWarnings = False
    alwaysRun = False
    description = None
    descriptionDone = None
    descriptionSuffix = None
    doStepIf = True
    hideStepIf = False
    locks = ()
    logEncoding = None
    updateBuildSummaryPolicy = None
    useProgress = True
    progressMetrics = ()
    workdir = None

    renderables = [*_FLAGS, "description", "descriptionDone", "descriptionSuffix", "doStepIf", "hideStepIf", "workdir"]

    parms = [
        *_FLAGS, "description", "descriptionDone", "descriptionSuffix", "doStepIf", "hideStepIf", "locks",
        "logEncoding", "name", "progressMetrics", "updateBuildSummaryPolicy", "useProgress", "workdir",
    ]  # fmt: skip

    def __new__(cls, *args, **kwargs):
        """A step; where its arguments are not those of its class, that is reported and something stands in for it."""
        made = super().__new__(cls)
        made._recipe = Recipe(cls, args, kwargs)
        if not is_collecting():
            return made
        try:
            bound = _signature(cls.__init__).bind(made, *args, **kwargs)
            if is_ours(cls.__init__.__code__.co_filename):
                cls._look_for_required(bound.arguments)
        except TypeError as failed:
            known = cls.accepted_names()
            unknown = [name for name in kwargs if name not in known]
            similar = "".join(did_you_mean(name, known) for name in unknown)
            shown = f" (there is {', '.join(map(repr, unknown))})" if unknown else ""
            error(f"{cls.__name__}: {failed}{shown}{similar}", location=caller())
            return unknown_value(cls.__name__)()
        return made

    @classmethod
    def _look_for_required(cls, given):
        everything = {**given, **given.get("kwargs", {}), **given.get("buildstep_kwargs", {})}
        missing = next((name for name in cls.required if everything.get(name) is None), None)
        if missing is not None:
            raise TypeError(f"missing a required argument: '{missing}'")

    @classmethod
    def accepted_names(cls):
        """The names of all arguments that the constructor takes."""
        names = {*BuildStep.parms, *cls.argument_names()}
        for base in cls.__mro__:
            if inspect.isfunction(vars(base).get("__init__")):
                names.update(inspect.signature(vars(base)["__init__"]).parameters)
        return names - {"self", "args", "kwargs", "buildstep_kwargs"}

    def __init__(self, **kwargs):
        self.location = caller()
        for name in self.parms:
            if name in kwargs:
                setattr(self, name, kwargs.pop(name))
        if kwargs:
            shown = f"<class 'buildbot.process.buildstep.{type(self).__name__}'>"
            similar = "".join(did_you_mean(name, self.accepted_names()) for name in kwargs)
            error(f"{shown}.__init__ got unexpected keyword argument(s) {list(kwargs)}{similar}")
        self._check()

    def _check(self):
        check_bool, check_str = or_renderable(check_param_bool), or_renderable(check_param_str)
        for name in _FLAGS:
            setattr(self, name, check_bool(getattr(self, name), type(self).__name__, name))
        self.name = check_str(self.name, type(self).__name__, "name")
        if isinstance(self.name, str) and len(self.name) > MAX_NAME:
            error(f"Step {type(self).__name__} name '{self.name}' exceeds maximum length of {MAX_NAME}")
        if self.locks is None:
            self.locks = ()
        if not isinstance(self.locks, (list, tuple)) and not IRenderable.providedBy(self.locks):
            error(f"{type(self).__name__} locks must be a list of locks, not {self.locks!r}")
            self.locks = ()
        from muster_host.settings import check_log_encoding

        if self.logEncoding is not None:
            self.logEncoding = check_log_encoding(self.logEncoding, f"step '{self.name}': logEncoding")
        policy = self.updateBuildSummaryPolicy
        if policy is not None and not isinstance(policy, (bool, list)):
            error(f"BuildStep updateBuildSummaryPolicy must be a list of result ids or boolean but it is {policy}")
        self._check_custom()

    def __getattr__(self, name):
        # Only what is nowhere else: methods of Buildbot's that are called while the step is made, as in `__init__`.
        stock = overrides.stock_class(type(self))
        if name.startswith("__") or stock is None or name not in overrides.known_names(stock):
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
        return not_yet.member(stock.__name__, name)

    def offered_class(self):
        """The class of this package that does the work; a user's subclass may only set arguments."""
        return next(base for base in type(self).__mro__ if _is_offered(base) and issubclass(base, BuildStep))

    def _offered_bases(self):
        """All classes of this package that the step is made of, and that Buildbot has, too."""
        return [base for base in type(self).__mro__ if overrides.is_stock(base)]

    def _check_custom(self):
        """Reports what of the user's class nobody would call."""
        shown, own, bases = f"step class {type(self).__name__}", {}, self._offered_bases()
        for base in bases:
            for _owner, name, value in overrides.overridden(type(self), base):
                if name.startswith("_") or name in _MASTERS or not any(hasattr(each, name) for each in bases):
                    own[name] = value
        if own:
            shown += f" defines {', '.join(f'{name}()' for name in sorted(own))}"
        if own or (self.offered_class().kind is None and type(self).run is BuildStep.run):
            places = filter(None, (overrides.location_of(own[name], type(self)) for name in sorted(own)))
            what = ", which is not supported by Muster yet" if own else ": a custom build step must implement run()"
            error_once(f"{shown}{what}", next(places, self.location))
        for name in sorted(_OLD & _own_names(type(self)) - self._known_names()):
            warn_once(f"step class {type(self).__name__} defines {name}(), which Buildbot 4 does not call")
        for name in _FLAGS:
            if IRenderable.providedBy(getattr(self, name)):
                error(f"step '{self.name}': a renderable {name} is not supported by Muster yet")

    def is_custom(self):
        """Whether the step needs the user's code beside the running build."""
        if self._pending_observers:
            return True
        return bool(self._known_names() & _own_names(type(self)) - _DECLARED)

    def _known_names(self):
        """What Buildbot would call of the user's class, but for what is called at load."""
        return {"run"}.union(*(overrides.known_names(base) for base in self._offered_bases())) - self._called_here()

    def _called_here(self):
        return overrides.called_here(type(self))

    def as_data(self, encode):
        """The step for the snapshot."""
        custom = self.is_custom()
        args = {"step": encode.at("step").recipe(self._recipe)} if custom else self._encoded_arguments(encode)
        return {
            "kind": CUSTOM if custom else self.offered_class().kind,
            "name": encode.at("name")(self.name),
            "flags": {_snake(name): bool(getattr(self, name)) for name in _FLAGS},
            "do_step_if": encode.at("doStepIf").condition(self.doStepIf),
            "hide_step_if": encode.at("hideStepIf").condition(self.hideStepIf),
            "description": encode.at("description")(self.description),
            "description_done": encode.at("descriptionDone")(self.descriptionDone),
            "description_suffix": encode.at("descriptionSuffix")(self.descriptionSuffix),
            "locks": locks_as_data(self.locks, encode.at("locks")),
            "workdir": encode.at("workdir")(self.workdir),
            "update_build_summary_policy": encode(self.updateBuildSummaryPolicy),
            "log_encoding": encode.at("logEncoding")(self.logEncoding),
            "args": args,
            "source": self.location.as_data(),
        }

    def _encoded_arguments(self, encode):
        return {name: encode.at(name)(value) for name, value in self.own_arguments().items()}

    @classmethod
    @functools.lru_cache(maxsize=None)
    def argument_names(cls):
        """The names of the arguments beyond those of every step."""
        return sorted({name for base in cls.__mro__ for name in vars(base).get("arguments", ())} - set(cls.without))

    def own_arguments(self):
        """The arguments beyond those of every step, by name."""
        return {name: getattr(self, name, None) for name in self.argument_names()}


class CommandMixin(LiveCommands):
    """Small commands, by the older one of their two mixins."""


class ShellMixin(LiveShell):
    """Arguments of everything that runs one command on the worker."""

    command = None
    env = {}
    want_stdout = True
    want_stderr = True
    usePTY = None
    logfiles = {}
    lazylogfiles = False
    timeout = 1200
    maxTime = None
    max_lines = None
    logEnviron = True
    interruptSignal = "KILL"
    sigtermTime = None
    initialStdin = None
    decodeRC = {0: SUCCESS}

    arguments = (
        "command", "env", "want_stdout", "want_stderr", "usePTY", "logfiles", "lazylogfiles", "timeout", "maxTime",
        "max_lines", "logEnviron", "interruptSignal", "sigtermTime", "initialStdin", "decodeRC",
    )  # fmt: skip
    renderables = [*arguments, "workdir"]

    _checks = (
        ("workdir", lambda value, cls, name: value is None or check_param_str(value, cls, name)),
        ("want_stdout", check_param_bool),
        ("want_stderr", check_param_bool),
        ("usePTY", lambda value, cls, name: value is None or check_param_bool(value, cls, name)),
        ("lazylogfiles", check_param_bool),
        ("timeout", check_param_number_none),
        ("maxTime", check_param_number_none),
        ("max_lines", check_param_number_none),
        ("logEnviron", check_param_bool),
        ("sigtermTime", check_param_number_none),
    )

    def setupShellMixin(self, constructorArgs, prohibitArgs=()):
        """Takes this mixin's arguments out of the constructor's; gives what is left."""
        class_name = type(self).__name__
        left = {}
        for name, value in constructorArgs.items():
            if name in prohibitArgs:
                error(f"invalid {class_name} argument {name}")
            elif name in self.arguments_of_commands():
                setattr(self, name, value)
            elif name in BuildStep.parms:
                left[name] = value
            else:
                similar = did_you_mean(name, self.accepted_names().difference(prohibitArgs))
                error(f"invalid {class_name} argument {name}{similar}")
        given = {**left, **constructorArgs}
        for name, check in self._checks:
            if name in given:
                or_renderable(check)(given[name], class_name, name)
        return left

    @staticmethod
    def arguments_of_commands():
        return ShellMixin.arguments


def _own_names(made):
    """What the user's own classes, in front of the package's, define."""
    names = set()
    for base in made.__mro__:
        if not _is_offered(base):
            names |= set(vars(base))
    return names


def locks_as_data(locks, encode):
    """Locks of a builder or a step for the snapshot."""
    from buildbot.locks import accesses_of

    if IRenderable.providedBy(locks):
        return {"renderable": encode(locks)}
    return {"accesses": [access.as_data() for access in accesses_of(locks)]}


@functools.lru_cache(maxsize=None)
def _signature(function):
    return inspect.signature(function, follow_wrapped=False)


@functools.lru_cache(maxsize=None)
def _snake(name):
    return "".join("_" + char.lower() if char.isupper() else char for char in name)


def _is_offered(base):
    """Whether the class is this package's: its module is, and no user's file defined it under that name."""
    if not base.__module__.startswith(("buildbot.", "muster_host.")):
        return base is object
    try:
        return is_ours(inspect.getfile(base))
    except (OSError, TypeError):
        return False
