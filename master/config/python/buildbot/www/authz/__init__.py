"""Who may do what."""

from buildbot.www.authz.authz import Authz, fnmatchStrMatcher, reStrMatcher

__all__ = ["Authz", "fnmatchStrMatcher", "reStrMatcher"]
