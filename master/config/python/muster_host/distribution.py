"""What `importlib.metadata` says about the distribution `buildbot`, for plugins that ask for its version or its plugins."""

import sys
from importlib import metadata

import buildbot
from muster_host.not_yet import NAMES

#: Distributions that plugins ask for: the master, and its pages.
_PROVIDED = ("buildbot", "buildbot-www")


class _Distribution(metadata.Distribution):
    def __init__(self, name):
        self._distribution = name

    def read_text(self, filename):
        if filename in ("METADATA", "PKG-INFO"):
            return f"Metadata-Version: 2.1\nName: {self._distribution}\nVersion: {buildbot.version}\n"
        if filename == "entry_points.txt" and self._distribution == "buildbot":
            return "\n".join(_section(namespace, plugins) for namespace, plugins in NAMES.plugins.items())
        return None

    def locate_file(self, path):
        raise FileNotFoundError(f"{self._distribution} has no files of its own: Muster stands in for it")


def _section(namespace, plugins):
    lines = [f"{name} = {place.rpartition('.')[0]}:{place.rpartition('.')[2]}" for name, place in plugins.items()]
    return "\n".join([f"[buildbot.{namespace}]", *lines])


class _Finder:
    """Only finds distributions."""

    @staticmethod
    def find_spec(_fullname, _path=None, _target=None):
        return None

    @staticmethod
    def find_distributions(context=metadata.DistributionFinder.Context()):
        wanted = None if context.name is None else context.name.replace("_", "-").lower()
        return [_Distribution(name) for name in _PROVIDED if wanted in (None, name)]


def install():
    """From now on."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
