"""Configuration errors: collected while a configuration is loaded, raised otherwise."""

import contextlib
import re

from muster_host.location import NOWHERE, caller

#: So many errors that differ in names and numbers only are told each; the others are counted.
MAX_OF_A_KIND = 10


class ConfigErrors(Exception):
    """One or more things that are wrong; `locations` says where, item by item."""

    def __init__(self, errors=()):
        super().__init__()
        self.errors = []
        self.locations = []
        self.warnings = []
        for text in errors:
            self.addError(text)

    def addError(self, msg, location=NOWHERE):
        self.errors.append(msg)
        self.locations.append(location)

    def merge(self, errors):
        for text, location in zip(errors.errors, errors.locations):
            self.addError(text, location)

    def folded(self):
        """The same errors, each text once with its count, and of many that are alike the first ones."""
        counts, kinds, left_out = {}, {}, {}
        for text, location in zip(self.errors, self.locations):
            if text in counts:
                counts[text][1] += 1
                continue
            kind = re.sub(r"'[^']*'|\"[^\"]*\"|\d+", "?", text)
            kinds[kind] = kinds.get(kind, 0) + 1
            if kinds[kind] > MAX_OF_A_KIND:
                left_out.setdefault(kind, [0, text])[0] += 1
            else:
                counts[text] = [location, 1]
        made = ConfigErrors()
        made.warnings = self.warnings
        for text, (location, count) in counts.items():
            made.addError(f"{text} ({count} times)" if count > 1 else text, location)
        for number, text in left_out.values():
            made.addError(f"{number} more of this kind, the first of them: {text}" if number > 1 else text)
        return made

    def __str__(self):
        return "\n".join(self.errors)

    def __bool__(self):
        return bool(self.errors)


_collecting = None


def is_collecting():
    """Whether a load is going on, which goes on after an error to find more."""
    return _collecting is not None


def error(text, always_raise=False, location=None):
    """Reports an error: to the collector of the load that is going on, or by raising `ConfigErrors`."""
    if location is None:
        location = caller()
    if _collecting is not None and not always_raise:
        from muster_host.not_yet import MARK

        if MARK not in text:
            # Otherwise it is about what stands in for something, of which an error was told.
            _collecting.addError(text, location)
        return
    raised = ConfigErrors()
    raised.addError(text, location)
    raise raised


def error_once(text, location):
    """Reports an error, unless the same place has reported it before."""
    known = zip(_collecting.errors, _collecting.locations) if _collecting is not None else ()
    if (text, location) not in known:
        error(text, location=location)


def warn(text):
    """Reports something that is good, but that the user should know."""
    if _collecting is not None:
        location = caller()
        _collecting.warnings.append(f"{text} ({location.file}:{location.line})" if location.file else text)


def warn_once(text):
    """The same, once for each text."""
    if _collecting is not None and text not in _collecting.warnings:
        _collecting.warnings.append(text)


@contextlib.contextmanager
def capture_config_errors(raise_on_error=False):
    """Collects the errors of the block; raises them at its end if asked to."""
    global _collecting
    before, collected = _collecting, ConfigErrors()
    _collecting = collected
    try:
        yield collected
    except ConfigErrors as raised:
        collected.merge(raised)
    finally:
        _collecting = before
    if raise_on_error and collected:
        raise collected.folded()
