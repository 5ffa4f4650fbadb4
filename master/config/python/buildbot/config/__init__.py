from buildbot.config.builder import BuilderConfig
from buildbot.config.errors import ConfigErrors
from buildbot.config.errors import capture_config_errors
from buildbot.config.errors import error

__all__ = ["BuilderConfig", "ConfigErrors", "capture_config_errors", "error"]
