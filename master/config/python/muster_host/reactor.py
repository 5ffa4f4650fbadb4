"""Which reactor of Twisted a configuration gets that imports one: asyncio's, so that both ways to wait work in one thread."""

import importlib.abc
import importlib.util
import sys

_NAME = "twisted.internet.reactor"


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Installs it when the configuration asks for the reactor first. Nothing of Twisted is imported before."""

    def find_spec(self, fullname, path=None, target=None):
        return importlib.util.spec_from_loader(fullname, self) if fullname == _NAME else None

    def create_module(self, spec):
        sys.meta_path.remove(self)
        import asyncio

        from twisted.internet import asyncioreactor

        sys.modules.pop(_NAME, None)
        asyncioreactor.install(asyncio.new_event_loop())
        return sys.modules[_NAME]

    def exec_module(self, module):
        """It is made already."""


def install():
    """From now on."""
    sys.meta_path.insert(0, _Finder())
