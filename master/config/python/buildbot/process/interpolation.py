"""The grammar of `Interpolate`: what stands between the parentheses of `%(selector:argument:operator…)s`."""

import collections
import re

from buildbot.config.errors import error

_NAME = re.compile(r"^[\w.-]*$")


class Invalid(Exception):
    """The format was reported as wrong; nothing can be made of it."""


def keys_of(fmtstring):
    """The texts between parentheses, found by Python's own formatting, which also finds what is no format at all."""
    keys = collections.defaultdict(str)
    fmtstring % keys
    return list(keys)


def parse(key):
    """A function that gives (value, exists) from a source, and one that chooses what is shown."""
    selector, colon, argument = key.partition(":")
    if not colon:
        error(f"invalid Interpolate substitution without selector '{key}'")
        raise Invalid
    if selector == "src":
        return _source(argument)
    if selector not in _NAMED:
        error(f"invalid Interpolate selector '{selector}'")
        raise Invalid
    checked_as = _NAMED[selector]
    name, _, choice = argument.partition(":")
    if checked_as and not _NAME.match(name):
        error(f"{checked_as} must be alphanumeric for {selector} Interpolation '{argument}'")
    return (selector, name), _choice(choice if argument.count(":") else None)


#: Selectors with one name, and how that name is called where it is checked.
_NAMED = {"prop": "Property name", "kw": "Keyword", "secret": None, "worker": None}


def _source(argument):
    parts = argument.split(":", 2)
    if len(parts) < 2:
        error(f"Must specify both codebase and attribute for src Interpolation '{argument}'")
        return ("src", "", ""), _choice(None)
    for what, name in zip(("Codebase", "Attribute"), parts):
        if not _NAME.match(name):
            error(f"{what} must be alphanumeric for src Interpolation '{argument}'")
    return ("src", parts[0], parts[1]), _choice(parts[2] if len(parts) == 3 else None)


def _choice(text):
    """(kind, texts): which of the nested formats is shown when."""
    if text is None:
        return ("-", ("",))
    operator, rest = text[0], text[1:]
    if operator in "-~+":
        return (operator, (rest,))
    if operator == "?":
        return ("?", _ternary(rest))
    if operator == "#" and rest[:1] == "?":
        return ("#?", _ternary(rest[1:]))
    error(f"invalid Interpolate default type '{operator}'")
    return ("-", ("",))


def _ternary(text):
    delimiter, expression = text[0], text[1:]
    depth = 0
    for at, char in enumerate(expression):
        if char == delimiter and depth == 0:
            return expression[:at], expression[at + 1 :]
        depth += {"(": 1, ")": -1}.get(char, 0)
    error(f"invalid Interpolate ternary expression '{expression}' with delimiter '{delimiter}'")
    return "", ""


def shown(choice, value, exists):
    """What is shown: `None` for the value itself, or the index of the nested format; -1 shows nothing."""
    kind = choice[0]
    if kind == "-":
        return None if exists else 0
    if kind == "~":
        return None if exists and value else 0
    if kind == "+":
        return 0 if exists else -1
    true = exists and (bool(value) or kind == "?")
    return 0 if true else 1
