"""Warnings about configurations."""


class ConfigWarning(Warning):
    """Something in the configuration works, but is not what its author meant."""


class DeprecatedApiWarning(Warning):
    """Something in the configuration will not work for ever."""
