"""Names that Buildbot has and Muster doesn't yet.

Using one is a configuration error, not an end of the load: the user sees all of them at once. What stands in for the
name accepts everything, so that the load can go on to find more.
"""

import importlib.abc
import importlib.util
import sys
import types

from buildbot.config import errors
from muster_host.location import caller
from muster_host.names import NOT_YET_IN_MODULES


class _StandInType(type):
    """Classes that have every attribute."""

    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return stand_in(name)


def stand_in(name):
    """A class that accepts everything."""

    def accept(self, *args, **kwargs):
        # Configurations look up workers and builders by their names.
        self.name = self.workername = kwargs.get("name", args[0] if args else "")

    def attribute(self, wanted):
        if wanted.startswith("__"):
            raise AttributeError(wanted)
        return stand_in(wanted)

    def call(self, *args, **kwargs):
        return self

    members = {"__init__": accept, "__getattr__": attribute, "__call__": call, "__iter__": lambda self: iter(())}
    return _StandInType(name, (StandIn,), members)


class StandIn:
    """The base of everything that stands in."""


def refuse(shown, name):
    """Reports the name, once for each line that uses it; gives what stands in for it."""
    errors.error_once(f"{shown} is not supported by Muster yet", caller())
    return stand_in(name)


def _module_attribute(module, names, others):
    def __getattr__(name):
        if name in names:
            return refuse(f"{module}.{name}", name)
        if others is not None:
            return others(name)
        raise AttributeError(f"module '{module}' has no attribute '{name}'")

    return __getattr__


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Makes the modules that hold nothing but such names."""

    def __init__(self):
        self._modules = {module: names.split() for module, names in NOT_YET_IN_MODULES.items()}
        paths = [module.split(".") for module in self._modules]
        self._packages = {".".join(path[:end]) for path in paths for end in range(1, len(path))}

    def find_spec(self, fullname, path=None, target=None):
        if fullname not in self._modules and fullname not in self._packages:
            return None
        return importlib.util.spec_from_loader(fullname, self, is_package=fullname in self._packages)

    def create_module(self, spec):
        return types.ModuleType(spec.name)

    def exec_module(self, module):
        module.__getattr__ = _module_attribute(module.__name__, self._modules.get(module.__name__, ()), None)


class _RealModules(importlib.abc.MetaPathFinder):
    """Gives the real modules the names that they lack."""

    def __init__(self, finder):
        self._names = finder._modules

    def find_spec(self, fullname, path=None, target=None):
        if fullname not in self._names:
            return None
        for finder in sys.meta_path:
            if finder is self or isinstance(finder, _Finder):
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                spec.loader = _Completing(spec.loader, self._names[fullname])
                return spec
        return None


class _Completing(importlib.abc.Loader):
    """Loads a real module and completes it."""

    def __init__(self, loader, names):
        self._loader, self._names = loader, names

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        self._loader.exec_module(module)
        others = vars(module).get("__getattr__")
        module.__getattr__ = _module_attribute(module.__name__, self._names, others)

    def get_source(self, fullname):
        return self._loader.get_source(fullname)

    def get_filename(self, fullname):
        return self._loader.get_filename(fullname)


def install():
    """Makes the names known to `import`."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    finder = _Finder()
    sys.meta_path.insert(0, _RealModules(finder))
    sys.meta_path.append(finder)
    for module, names in finder._modules.items():
        loaded = sys.modules.get(module)
        if loaded is not None and getattr(loaded.__spec__, "loader", None) is not finder:
            loaded.__getattr__ = _module_attribute(module, names, vars(loaded).get("__getattr__"))
