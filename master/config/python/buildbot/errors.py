"""Errors of the plugin system."""


class PluginDBError(Exception):
    """A plugin that does not exist, or that Muster does not support yet."""
