"""Small helpers that configurations use."""

import calendar
import datetime
import re
import time

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


#: The time zone of all times that the data API gives.
UTC = datetime.timezone.utc


def now(_reactor=None):
    """Seconds since the epoch."""
    return time.time()


def epoch2datetime(epoch):
    """A time of the data API from seconds since the epoch; `None` stays."""
    return None if epoch is None else datetime.datetime.fromtimestamp(epoch, UTC)


def datetime2epoch(moment):
    """Whole seconds since the epoch from a time of the data API; `None` stays."""
    return None if moment is None else calendar.timegm(moment.utctimetuple())


def makeList(given):
    """A list of one text, of the items of a list, or of nothing for `None`."""
    if isinstance(given, str):
        return [given]
    return [] if given is None else list(given)


def join_list(given):
    """The words of a list as one text; a text stays."""
    return " ".join(map(bytes2unicode, given)) if isinstance(given, (list, tuple)) else bytes2unicode(given)


def string2boolean(text):
    """Yes or no from bytes, as people write them."""
    return {b"on": True, b"true": True, b"yes": True, b"1": True, b"off": False, b"false": False, b"no": False, b"0": False}[
        text.lower()
    ]


def naturalSort(words):
    """A new list in which numbers within words are ordered as numbers."""
    return sorted(words, key=lambda word: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", word)])
