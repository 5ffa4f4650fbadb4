"""Names that Buildbot has and Muster doesn't provide.

`public_names.txt` lists all of Buildbot's. What a module of this package defines is that; for everything else a placeholder
comes, which can be imported, called, subclassed and passed around, so that the load goes on and finds more. Using one is a
configuration error; importing it, or naming it in an annotation, is none.
"""

import functools
import importlib
import importlib.abc
import importlib.util
import os
import sys
import types

from buildbot.config import errors
from muster_host.location import caller

#: How placeholders and their types are shown in texts; what shows one is a consequence of the error that was told already.
MARK = "<not provided: "

#: What a placeholder answers, whether it stands for a class, a function, a value, or an object made of one.
_SILENT_RESULTS = {
    "__iter__": lambda: iter(()),
    "__len__": lambda: 0,
    "__contains__": lambda item: False,
    "__exit__": lambda *_raised: False,
}
_OPERATORS = """
    __add__ __radd__ __sub__ __rsub__ __mul__ __rmul__ __truediv__ __rtruediv__ __floordiv__ __mod__ __rmod__ __and__
    __rand__ __xor__ __getitem__ __enter__ __lt__ __le__ __gt__ __ge__ __neg__ __invert__
""".split()


class _StandInType(type):
    """The type of placeholders: classes that can also be called as functions and used as values."""

    def __new__(mcs, name, bases, members, **_options):
        # A class of the user's own that is made of one, which is a use of it.
        for base in bases:
            if isinstance(base, _StandInType) and base is not StandIn:
                report(base)
                members.setdefault("_reports", None)
                members.setdefault("_shown", base._shown)
        return super().__new__(mcs, name, bases, members)

    def __init__(cls, name, bases, members, **_options):
        super().__init__(name, bases, members)

    def __call__(cls, *args, **kwargs):
        report(cls)
        if cls._is_function and len(args) == 1 and not kwargs and isinstance(args[0], types.FunctionType):
            # A decorator.
            return args[0]
        made = cls.__new__(cls)
        # Configurations look up workers and builders by their names.
        made.__dict__["name"] = made.__dict__["workername"] = kwargs.get("name", args[0] if args else "")
        try:
            made.__init__(*args, **kwargs)
        except Exception:
            # It counts on what the class that isn't there does.
            made.__dict__["failed"] = True
        return made

    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return _attribute(cls, name, cls._reports)

    def __setattr__(cls, name, value):
        if not name.startswith("_"):
            report(cls)
        super().__setattr__(name, value)

    def __repr__(cls):
        return f"{MARK}{cls._shown}>"

    def __bool__(cls):
        return True


def _attribute(of, name, reports):
    return _made(f"{of._shown}.{name}", reports=reports, is_function=True)


# Python's own messages name types.
_StandInType.__name__ = f"{MARK}a name>"


class StandIn(metaclass=_StandInType):
    """The base of everything that stands in."""

    _shown = _reports = None
    _is_function = False

    def __init__(self, *args, **kwargs):
        pass

    def __new__(cls, *args, **kwargs):
        return object.__new__(cls)

    def __class_getitem__(cls, item):
        return cls

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        # Whoever made the object has been told.
        return _attribute(type(self), name, None)

    def __call__(self, *args, **kwargs):
        return self

    def __bool__(self):
        return True

    def __await__(self):
        return self
        yield

    def __repr__(self):
        return f"{MARK}{self._shown}>"


def _add_operators():
    for name, answer in _SILENT_RESULTS.items():
        setattr(StandIn, name, lambda self, *args, _answer=answer: _answer(*args))
        type.__setattr__(_StandInType, name, lambda cls, *args, _answer=answer: (report(cls), _answer(*args))[1])
    for name in _OPERATORS:
        setattr(StandIn, name, lambda self, *args: self)
        type.__setattr__(_StandInType, name, lambda cls, *args: (report(cls), cls)[1])


def _made(shown, reports, is_function=False):
    members = {"_shown": shown, "_reports": reports, "_is_function": is_function, "__module__": "muster_host.stand_ins"}
    # Not by way of a subclass of the user's.
    made = type.__new__(_StandInType, f"{MARK}{shown}>", (StandIn,), members)
    type.__init__(made, made.__name__, (StandIn,), members)
    return made


def report(used):
    """Reports that a placeholder is used here."""
    made = used if isinstance(used, type) else type(used)
    if made._reports is not None:
        errors.error(f"not provided by Muster: {made._reports}", location=caller())


def member(of_class, name):
    """What stands for a method that a class of Buildbot's has and the one here hasn't."""
    return _made(f"{of_class}.{name}", reports=f"{of_class}.{name}()", is_function=True)


def is_stand_in(value, is_use=True):
    """Whether the value is a placeholder, or an object of one. One that was not called or subclassed is used now."""
    if isinstance(value, _StandInType):
        if is_use:
            report(value)
        return True
    return isinstance(value, StandIn)


def unknown(name):
    """What stands for a name whose value is not known because of an error that was told."""
    return _made(name, reports=None)


@functools.lru_cache(maxsize=None)
def _placeholder(place, shown, kind):
    if kind == "!":
        # Nothing here raises it, so that nothing more can be wrong with it.
        return type(place.rpartition(".")[2], (Exception,), {"__module__": place.rpartition(".")[0]})
    if kind == "?":
        from buildbot.interfaces import Mark

        return Mark(place.rpartition(".")[2], lambda candidate: report(_made(shown, shown)) or False)
    return _made(shown, reports=shown, is_function=kind == "()")


class _Names:
    """What `public_names.txt` says."""

    def __init__(self):
        self.modules, self.plugins = {}, {}
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "public_names.txt")
        with open(path, encoding="utf-8") as file:
            for line in file:
                if line.startswith("#"):
                    continue
                where, _, names = line.rstrip("\n").partition(":")
                if where.startswith("@"):
                    self.plugins[where[1:]] = dict(name.split("=") for name in names.split())
                else:
                    self.modules[where] = dict(_name(name) for name in names.split())
        self.packages = {module.rpartition(".")[0] for module in self.modules}


def _name(written):
    name, imported, place = written.partition("=")
    if imported:
        return name, place
    bare = name.rstrip("!?#()")
    return bare, name[len(bare) :]


NAMES = _Names()


def plugin(namespace, name):
    """What stands for a plugin of Buildbot's own; `None` where it has none of that name, or its module has it really."""
    place = NAMES.plugins.get(namespace, {}).get(name)
    if place is None:
        return None
    module, _, attribute = place.rpartition(".")
    kind = NAMES.modules.get(module, {}).get(attribute, "")
    return _resolve(place, f"{namespace}.{name}", kind if kind in ("!", "?", "()", "#") else "")


def _resolve(place, shown, kind):
    """The real thing at a place of the package if there is one, or a placeholder."""
    module, _, attribute = place.rpartition(".")
    found = vars(importlib.import_module(module)).get(attribute) if module in NAMES.modules else None
    return _placeholder(place, shown, kind) if found is None else found


def _imported(place):
    """What another module has imported: a module, or an attribute of one."""
    module, _, attribute = place.rpartition(".")
    if place in NAMES.modules:
        return importlib.import_module(place)
    if module.split(".")[0] == "buildbot":
        return getattr(importlib.import_module(module), attribute)
    try:
        return getattr(importlib.import_module(module), attribute) if module else importlib.import_module(place)
    except AttributeError:
        return importlib.import_module(place)


def _module_attribute(module, names, others):
    def __getattr__(name):
        kind = names.get(name)
        if kind is None:
            if f"{module}.{name}" in NAMES.modules:
                # As in Buildbot, where everything is imported at some time.
                return importlib.import_module(f"{module}.{name}")
            if others is not None:
                return others(name)
            raise AttributeError(f"module '{module}' has no attribute '{name}'")
        if kind in ("", "!", "?", "()", "#"):
            return _placeholder(f"{module}.{name}", f"{module}.{name}", kind)
        return _imported(kind)

    return __getattr__


def _complete(module):
    """Gives a module the names that it lacks."""
    names = NAMES.modules.get(module.__name__, {})
    module.__getattr__ = _module_attribute(module.__name__, names, vars(module).get("__getattr__"))
    if module.__name__ == "buildbot.plugins":
        return
    own = vars(module).get("__all__") or [name for name in vars(module) if not name.startswith("_")]
    # For `from … import *`: what is Buildbot's own there, and what the module has really.
    module.__all__ = sorted({*own, *(name for name, kind in names.items() if kind in ("", "!", "?", "()", "#"))})


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Makes the modules of which this package has nothing."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname not in NAMES.modules:
            return None
        return importlib.util.spec_from_loader(fullname, self, is_package=fullname in NAMES.packages)

    def create_module(self, spec):
        return types.ModuleType(spec.name)

    def exec_module(self, module):
        _complete(module)


class _RealModules(importlib.abc.MetaPathFinder):
    """Gives the real modules the names that they lack."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname not in NAMES.modules:
            return None
        for finder in sys.meta_path:
            if isinstance(finder, (_RealModules, _Finder)):
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader = _Completing(spec.loader)
                return spec
        return None


class _Completing(importlib.abc.Loader):
    """Loads a real module and completes it."""

    def __init__(self, loader):
        self._loader = loader

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        self._loader.exec_module(module)
        _complete(module)

    def get_source(self, fullname):
        return self._loader.get_source(fullname)

    def get_filename(self, fullname):
        return self._loader.get_filename(fullname)


def install():
    """Makes the names known to `import`."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    _add_operators()
    sys.meta_path.insert(0, _RealModules())
    sys.meta_path.append(_Finder())
    for name in NAMES.modules:
        loaded = sys.modules.get(name)
        if loaded is not None:
            _complete(loaded)
