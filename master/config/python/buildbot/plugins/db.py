"""The plugin namespaces: our own names, those of other distributions' entry points, and those we refuse."""

import functools
import importlib
from importlib import metadata

from buildbot.errors import PluginDBError
from muster_host import not_yet
from muster_host.names import offered
from muster_host.suggestions import did_you_mean


class _Namespace:
    """Names that are imported when they are asked for."""

    def __init__(self, name):
        self._name = name
        self._of_buildbot = not_yet.NAMES.plugins.get(name, {})

    # Asked for when it is needed: the modules that say what they offer may be importing this one.
    @functools.cached_property
    def _offered(self):
        return offered(self._name)

    @property
    def names(self):
        """All that can be used."""
        return sorted({*self._offered, *self._entry_points()})

    def __contains__(self, name):
        return name in self.names

    def __dir__(self):
        return self.names

    def __repr__(self):
        return f"<plugins {self._name}>"

    def get(self, name, default=None):
        return getattr(self, name) if name in self else default

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        if name in self._offered:
            return getattr(importlib.import_module(self._offered[name]), name)
        if name in self._of_buildbot:
            return not_yet.plugin(self._name, name)
        if any(other.startswith(name + ".") for other in self._of_buildbot):
            return _Group(self._name, name)
        entry = self._entry_points().get(name)
        if entry is None:
            raise AttributeError(f"Unknown component name: {name}{self._hint(name)}") from PluginDBError(name)
        try:
            return entry.load()
        except ImportError as failed:
            raise PluginDBError(f"Unable to load {self._name}.{name}: {failed}") from failed

    def _hint(self, name):
        return did_you_mean(name, [*self._offered, *self._of_buildbot, *self._entry_points()])

    def _entry_points(self):
        """Plugins of other distributions; Buildbot's own, should it be installed, are not for us."""
        found = metadata.entry_points()
        group = f"buildbot.{self._name}"
        entries = found.select(group=group) if hasattr(found, "select") else found.get(group, ())
        return {entry.name: entry for entry in entries if not entry.value.startswith("buildbot.")}


class _Group:
    """Names with a dot, such as `util.svn.split_file_branches`."""

    def __init__(self, namespace, name):
        self._namespace, self._name = namespace, name

    def __getattr__(self, name):
        found = None if name.startswith("__") else not_yet.plugin(self._namespace, f"{self._name}.{name}")
        if found is None:
            raise AttributeError(f"Unknown component name: {self._name}.{name}") from PluginDBError(name)
        return found


_namespaces = {}


def get_plugins(namespace, interface=None, check_extras=True, load_now=False):
    """The namespace of that name."""
    return _namespaces.setdefault(namespace, _Namespace(namespace))
