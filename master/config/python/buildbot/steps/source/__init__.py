from buildbot.steps.source.base import Source

__all__ = ["Source"]
