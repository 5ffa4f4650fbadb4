"""Filters that select changes."""

import re

from buildbot import util
from buildbot.util import NotABranch
from muster_host.encode import pattern_text

__all__ = ["ChangeFilter"]

_ATTRIBUTES = ("project", "repository", "branch", "category", "codebase")


class ChangeFilter(util.ComparableMixin):
    """Selects changes: everything that is given must hold."""

    compare_attrs = ("filter_fn", "tests")

    def __init__(
        self,
        filter_fn=None,
        project=None, project_not_eq=None, project_re=None, project_not_re=None, project_fn=None,
        repository=None, repository_not_eq=None, repository_re=None, repository_not_re=None, repository_fn=None,
        branch=NotABranch, branch_not_eq=NotABranch, branch_re=None, branch_not_re=None, branch_fn=None,
        category=None, category_not_eq=None, category_re=None, category_not_re=None, category_fn=None,
        codebase=None, codebase_not_eq=None, codebase_re=None, codebase_not_re=None, codebase_fn=None,
        property_eq=None, property_not_eq=None, property_re=None, property_not_re=None,
    ):  # fmt: skip
        given = locals()
        self.filter_fn = _checked_function("filter_fn", filter_fn)
        self.tests = []
        for attribute in _ATTRIBUTES:
            nothing = NotABranch if attribute == "branch" else None
            for test, parse in _TESTS.items():
                value = given[attribute + ("" if test == "eq" else "_" + test)]
                if value is nothing or value is None and test in ("re", "not_re", "fn"):
                    continue
                shown = f"{attribute}_{test}"
                self.tests.append((attribute, test, parse(shown, value)))
        for test in ("eq", "not_eq", "re", "not_re"):
            self._add_properties(test, given[f"property_{test}"])

    def _add_properties(self, test, wanted):
        if wanted is None:
            return
        if not isinstance(wanted, dict):
            raise ValueError(f"Value of filter property_{test} must be dict")
        for name, value in wanted.items():
            self.tests.append((("property", name), test, _TESTS[test](f"property_{test}", value)))

    def filter_change(self, change):
        """Whether the change is selected."""
        if self.filter_fn is not None and not self.filter_fn(change):
            return False
        return all(_holds(test, wanted, _value_of(change, attribute)) for attribute, test, wanted in self.tests)

    def as_data(self, encode):
        """The filter for the snapshot."""
        function = encode.at("filter_fn").optional_callable(self.filter_fn)
        return {"filter_fn": function, "checks": [self._check_as_data(check, encode) for check in self.tests]}

    @staticmethod
    def _check_as_data(check, encode):
        attribute, test, wanted = check
        if test == "fn":
            wanted = encode.at(f"{attribute}_fn").callable(wanted)
        if test in ("re", "not_re"):
            wanted = [pattern_text(pattern) for pattern in wanted]
        return {"attribute": {attribute[0]: attribute[1]} if isinstance(attribute, tuple) else attribute,
                "test": {test: wanted}}  # fmt: skip


def _checked_values(shown, value):
    if isinstance(value, (list, tuple)):
        if any(not isinstance(item, (str, type(None))) for item in value):
            raise ValueError(f"Value of filter {shown} must be string or None")
        return list(value)
    if not isinstance(value, (str, type(None))):
        raise ValueError(f"Values of filter {shown} must be list of strings, a string or None")
    return [value]


def _checked_patterns(shown, value):
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    if any(not isinstance(item, (str, re.Pattern)) for item in values):
        raise ValueError(f"Values of filter {shown} must be list of strings, a string or regex")
    return [re.compile(item) if isinstance(item, str) else item for item in values]


def _checked_function(shown, value):
    if value is not None and not callable(value):
        raise ValueError(f"Value of filter {shown} must be callable")
    return value


_TESTS = {
    "eq": _checked_values,
    "not_eq": _checked_values,
    "re": _checked_patterns,
    "not_re": _checked_patterns,
    "fn": _checked_function,
}


def _value_of(change, attribute):
    if isinstance(attribute, tuple):
        return change.properties.getProperty(attribute[1], "")
    return getattr(change, attribute)


def _holds(test, wanted, value):
    if test in ("eq", "not_eq"):
        return (value in wanted) == (test == "eq")
    if test == "fn":
        return bool(wanted(value))
    matched = value is not None and any(pattern.match(value) for pattern in wanted)
    return matched == (test == "re")
