"""What all schedulers have."""

from buildbot import util
from buildbot.config.errors import error
from buildbot.interfaces import IRenderable
from muster_host.location import caller

_BUILDER_NAMES = (
    "The builderNames argument to a scheduler must be a list of Builder names or an IRenderable object that will "
    "renderto a list of builder names."
)
_CODEBASE_KEYS = ("repository", "branch", "revision", "project")


class BaseScheduler(util.ComparableMixin):
    """Keeps name, builders, properties, codebases and priority."""

    #: The scheduler's kind for the master.
    kind = None
    #: Buildbot's name of the class, under which the scheduler has its row.
    class_name = None
    compare_attrs = ("name", "builderNames", "_properties", "codebases", "priority")

    def __init__(self, name, builderNames, properties=None, codebases=None, priority=None):
        self.location = caller()
        self.name = util.bytes2unicode(name)
        self.builderNames = builderNames
        self._check_builder_names()
        self._properties = {**dict(properties or {}), "scheduler": self.name}
        self.codebases = self._checked_codebases({"": {}} if codebases is None else codebases)
        self.priority = priority
        if priority is not None and type(priority) is not int and not callable(priority):
            error(f"Invalid type for priority: {type(priority)}. It must either be an integer or a function")

    @property
    def properties(self):
        """The properties, as configurations look at them."""
        from buildbot.process.properties import Properties

        made = Properties()
        made.update(self._properties, "Scheduler")
        return made

    def _check_builder_names(self):
        names = self.builderNames
        if IRenderable.providedBy(names):
            return
        good = isinstance(names, (list, tuple)) and all(
            isinstance(name, str) or IRenderable.providedBy(name) for name in names
        )
        if not good:
            error(_BUILDER_NAMES)
            self.builderNames = []

    def _checked_codebases(self, codebases):
        if isinstance(codebases, (list, tuple)):
            return {codebase: {} for codebase in codebases if self._good_codebase(codebase)}
        if not isinstance(codebases, dict):
            error("Codebases must be a dict of dicts, or list of strings")
            return {}
        for codebase, defaults in codebases.items():
            if not isinstance(defaults, dict):
                error("Codebases must be a dict of dicts")
                return {}
            unknown = sorted(set(defaults) - set(_CODEBASE_KEYS))
            if unknown:
                error(f"Unknown codebase keys {', '.join(unknown)} for codebase {codebase}")
        return codebases

    def _good_codebase(self, codebase):
        if not isinstance(codebase, str):
            error("Codebases must be a dict of dicts, or list of strings")
        return isinstance(codebase, str)

    def listBuilderNames(self):
        return self.builderNames

    def as_data(self, encode):
        """The scheduler for the snapshot."""
        own = {} if self.priority is None else {"fixed": self.priority}
        if callable(self.priority):
            own = {"callable": encode.at("priority").callable(self.priority)}
        return {
            "name": self.name,
            "class_name": self.class_name,
            "builder_names": encode.at("builderNames")(self.builderNames),
            "properties": encode.at("properties").values(self._properties),
            "codebases": {name: self._codebase(defaults) for name, defaults in self.codebases.items()},
            "priority": own or "default",
            "kind": {"kind": self.kind, **self.own_data(encode)},
            "source": self.location.as_data(),
        }

    @staticmethod
    def _codebase(defaults):
        return {name: value for name, value in defaults.items() if value is not None}

    def own_data(self, encode):
        """What the class adds."""
        raise NotImplementedError


def check_callable(name, value):
    """Reports what can't be called."""
    if value and not callable(value):
        error(f"{name} must be a callable")
        return None
    return value or None


def reason_as_data(reason, encode):
    """The reason of buildsets; `None` for the class's own."""
    return None if reason is None else encode.at("reason")(reason)
