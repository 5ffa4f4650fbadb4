"""The rules of `c['www']['authz']`."""

import fnmatch
import re

from buildbot.config.errors import error, warn
from buildbot.www.authz import endpointmatchers, roles
from muster_host.not_yet import is_stand_in
from muster_host.www_auth import refuse_subclass


def fnmatchStrMatcher(value, match):
    """Patterns as a shell has them."""
    return fnmatch.fnmatch(value, match)


def reStrMatcher(value, match):
    """Python's regular expressions, at the start."""
    return re.match(match, value)


_MATCHERS = {fnmatchStrMatcher: "glob", reStrMatcher: "regex"}


class Authz:
    """Rules, and where roles come from."""

    def __init__(self, allowRules=None, roleMatchers=None, stringsMatcher=fnmatchStrMatcher):
        self.allowRules, self.roleMatchers = allowRules or [], roleMatchers or []
        self.match = stringsMatcher

    def check(self):
        """Refuses what can't be served."""
        where = "c['www']['authz']"
        refuse_subclass(self, {Authz: ()}, where)
        if self.match not in _MATCHERS:
            error(f"{where}: stringsMatcher must be util.fnmatchStrMatcher or util.reStrMatcher; others are not supported by Muster")
        for things, base, stock, what in (
            (self.allowRules, endpointmatchers.EndpointMatcherBase, endpointmatchers.STOCK, "allowRules"),
            (self.roleMatchers, roles.RolesFromBase, roles.STOCK, "roleMatchers"),
        ):
            if not isinstance(things, (list, tuple)):
                error(f"{where}: {what} must be a list")
                continue
            for thing in things:
                if isinstance(thing, base):
                    refuse_subclass(thing, stock, where)
                elif not is_stand_in(thing):
                    error(f"{where}: {what} has {thing!r}, which is none of Buildbot's")
        for rule in self._rules():
            if not isinstance(rule.role, str) or not isinstance(rule.builder, (str, type(None))):
                error(f"{where}: role and builder of {type(rule).__name__} must be strings")
            elif rule.endpoints == "nothing":
                warn(f"{where}: {type(rule).__name__} has no effect, as in Buildbot 4.3")

    def _rules(self):
        rules = self.allowRules if isinstance(self.allowRules, (list, tuple)) else []
        return [rule for rule in rules if isinstance(rule, endpointmatchers.EndpointMatcherBase)]

    def as_data(self):
        return {
            "rules": [rule.as_data() for rule in self._rules()],
            "roles": [roles_from.as_data() for roles_from in self.roleMatchers if hasattr(roles_from, "as_data")],
            "strings": _MATCHERS.get(self.match, "glob"),
        }
