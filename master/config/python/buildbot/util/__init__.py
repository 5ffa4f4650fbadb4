"""Small helpers that configurations use."""

import re

#: Characters that file names should not have, by Buildbot's rule.
# A directory on a worker keeps the name that Buildbot gave it, so that nothing is cloned anew.
_PUNCTUATION = re.compile(r"[\t !#$%&'()*+,./:;<=>?@\[\\\]^{|}~]")


class ComparableMixin:
    """Objects of one class are equal when the attributes named in `compare_attrs` (of all bases) are."""

    compare_attrs = ()

    def _compared(self):
        names = {name for base in type(self).__mro__ for name in vars(base).get("compare_attrs", ())}
        return [(name, getattr(self, name, None)) for name in sorted(names)]

    def __eq__(self, other):
        if type(self) is not type(other):
            return NotImplemented
        return self._compared() == other._compared()

    def __ne__(self, other):
        same = self.__eq__(other)
        return same if same is NotImplemented else not same

    def __hash__(self):
        return hash((type(self), repr(self._compared())))


class _NotABranch:
    """Stands for "no branch given", since `None` is a branch."""

    def __bool__(self):
        return False

    def __repr__(self):
        return "NotABranch"


NotABranch = _NotABranch()


def safeTranslate(text):
    """The text as a name of a directory: blanks and most of punctuation become underscores."""
    return _PUNCTUATION.sub("_", bytes2unicode(text))


def bytes2unicode(value, encoding="utf-8", errors="strict"):
    """Text from text or bytes; `None` stays."""
    if isinstance(value, (str, type(None))):
        return value
    return str(value, encoding, errors)


def unicode2bytes(value, encoding="utf-8", errors="strict"):
    """Bytes from text; everything else stays."""
    return value.encode(encoding, errors) if isinstance(value, str) else value


def none_or_str(value):
    """`str(value)`, but `None` stays."""
    return None if value is None else str(value)


def flatten(nested, types=(list, tuple)):
    """All items of nested lists in one list."""
    flat = []
    for item in nested:
        if isinstance(item, types):
            flat.extend(flatten(item, types))
        else:
            flat.append(item)
    return flat


def flatten_iterator(nested, types=(list, tuple)):
    """The items of nested lists, one after the other."""
    yield from flatten(nested, types)


def formatInterval(seconds):
    """A duration for people: `1 hrs, 2 mins, 3 secs`."""
    seconds = int(seconds)
    parts = [(seconds // 3600, "hrs"), (seconds // 60 % 60, "mins")]
    return ", ".join([f"{number} {unit}" for number, unit in parts if number] + [f"{seconds % 60} secs"])


def giturlparse(url):
    """The parts of a git address; see `buildbot.util.giturlparse`."""
    from buildbot.util.giturlparse import giturlparse as parse

    return parse(url)
