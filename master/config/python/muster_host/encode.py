"""Values of a configuration as the JSON forms that the master reads."""

import base64
import datetime
import hashlib
import inspect
import math
import os
import re

from buildbot.config.errors import error
from buildbot.interfaces import IRenderable
from muster_host import not_yet
from muster_host.location import NOWHERE, is_ours


#: Bits of the longest integer that is taken: Python itself reads no more than 4300 digits.
MAX_BITS = 14_284


class NotEncodable(Exception):
    """The value can't leave Python; the text says which and where."""


class Functions:
    """The functions of one configuration by their handles."""

    def __init__(self):
        self._by_handle = {}

    def __len__(self):
        return len(self._by_handle)

    def get(self, handle):
        return self._by_handle.get(handle)

    def add(self, function, handle, source=None):
        """Registers a function; gives its handle and where it comes from."""
        unique, number = handle, 1
        while unique in self._by_handle and self._by_handle[unique][0] is not function:
            number += 1
            unique = f"{handle}#{number}"
        source = source or source_of(function)
        self._by_handle[unique] = (function, source)
        return {"handle": unique, "source": source}


def pattern_text(pattern):
    """A pattern with the flags of `re.compile()` written into it."""
    if isinstance(pattern, str):
        return pattern
    if not isinstance(pattern.pattern, str):
        raise NotEncodable(f"the pattern {pattern.pattern!r} is of bytes; write one of text")
    letters = {re.ASCII: "a", re.IGNORECASE: "i", re.MULTILINE: "m", re.DOTALL: "s", re.VERBOSE: "x"}
    flags = "".join(letter for flag, letter in letters.items() if pattern.flags & flag)
    # A comment at the end of a verbose pattern ends with its line.
    end = "\n" if pattern.flags & re.VERBOSE else ""
    return f"(?{flags}:{pattern.pattern}{end})" if flags else pattern.pattern


def source_of(function):
    """File, first line and digest of the code of something that can be called."""
    inner = inspect.unwrap(function) if inspect.isfunction(function) else function
    while not hasattr(inner, "__code__") and hasattr(inner, "func"):
        inner = inner.func
    if inspect.ismethod(inner):
        inner = inner.__func__
    if not hasattr(inner, "__code__") and not inspect.isclass(inner):
        inner = getattr(type(inner), "__call__", inner)
    code = getattr(inner, "__code__", None)
    if code is None:
        return {"file": "", "line": 0, "digest": _digest(repr(getattr(inner, "__qualname__", type(inner))))}
    file = "" if is_ours(code.co_filename) else code.co_filename
    return {"file": file, "line": code.co_firstlineno, "digest": _digest(_text_of(inner, code))}


def _text_of(function, code):
    """The source text, and what it captured as far as that has a lasting spelling."""
    try:
        text = inspect.getsource(function)
    except (OSError, TypeError):
        text = f"{code.co_code.hex()} {code.co_names}"
    captured = []
    for cell in getattr(function, "__closure__", None) or ():
        try:
            captured.append(_plain(cell.cell_contents))
        except ValueError:
            captured.append("unset")
    defaults = [_plain(value) for value in getattr(function, "__defaults__", None) or ()]
    return f"{text}\n{captured}\n{defaults}"


def _plain(value):
    return repr(value) if isinstance(value, (str, int, float, bool, bytes, type(None))) else type(value).__name__


def _digest(text):
    return hashlib.sha1(text.encode("utf-8", "replace")).hexdigest()


class Encoder:
    """Encodes values that hang at one place of the configuration."""

    def __init__(self, functions, path, location=None, names=()):
        self._functions, self._location = functions, location
        # Put together where a text is made of it, which is seldom.
        self._names = (*([path] if path else []), *names)

    @property
    def _path(self):
        return "/".join(map(str, self._names))

    def at(self, *names):
        """The encoder for a place below."""
        return Encoder(self._functions, "", self._location, self._names + names)

    def of(self, holder):
        """The same encoder for values that this object was given: what can't be encoded is reported with its place."""
        return Encoder(self._functions, "", getattr(holder, "location", NOWHERE), self._names)

    def data_of(self, holder, *path):
        """The object's own data for the snapshot; `None` when it has none."""
        encode = self.at(*path).of(holder)
        try:
            return holder.as_data(encode)
        except NotEncodable as refused:
            error(str(refused), location=encode._location)
            return None

    def _refuse(self, text):
        if self._location is None:
            raise NotEncodable(text)
        error(text, location=self._location)

    def callable(self, function):
        """A function by its handle."""
        return self._functions.add(function, self._path)

    def recipe(self, recipe):
        """How a step of the configuration's own is made, by its handle."""
        return {"$r": "callable", **self._functions.add(recipe, self._path, recipe.source()), "args": [], "kwargs": {}}

    def optional_callable(self, function):
        """The same, where there may be none."""
        return None if function is None else self.callable(function)

    def values(self, named):
        """A dictionary of values by their names."""
        return {str(name): self.at(name)(value) for name, value in dict(named or {}).items()}

    def condition(self, value):
        """Something that may be decided at run time."""
        if IRenderable.providedBy(value):
            return {"renderable": self(value)}
        return {"callable": self.callable(value)} if callable(value) else {"fixed": bool(value)}

    def __call__(self, value):
        if isinstance(value, int) and value.bit_length() > MAX_BITS:
            raise NotEncodable(f"{self._path}: an integer of more than 4300 digits is not taken")
        if value is None or isinstance(value, (bool, int, str)):
            # Subclasses (enums, marked strings) become what they are based on.
            return value if value is None or isinstance(value, bool) else _base(value)
        if isinstance(value, float):
            if math.isfinite(value):
                return value
            return self._refuse(f"{self._path}: {value} is not a JSON number")
        if isinstance(value, bytes):
            return {"$r": "bytes", "b64": base64.b64encode(value).decode("ascii")}
        if isinstance(value, dict):
            return self._dict(value)
        if isinstance(value, (list, tuple)):
            return [self.at(index)(item) for index, item in enumerate(value)]
        if isinstance(value, (set, frozenset)):
            return [self.at(index)(item) for index, item in enumerate(sorted(value, key=repr))]
        if isinstance(value, os.PathLike):
            return self(os.fspath(value))
        if isinstance(value, re.Pattern):
            try:
                return pattern_text(value)
            except NotEncodable as refused:
                return self._refuse(f"{self._path}: {refused}")
        if isinstance(value, datetime.timedelta):
            return value.total_seconds()
        return self._object(value)

    def _dict(self, value):
        if all(isinstance(key, str) for key in value) and "$r" not in value:
            return {str(key): self.at(key)(item) for key, item in value.items()}
        items = [[self.at("key")(key), self.at("value")(item)] for key, item in value.items()]
        return {"$r": "dict", "items": items}

    def _object(self, value):
        if not_yet.is_stand_in(value):
            # What is wrong with it was told.
            return None
        if IRenderable.providedBy(value):
            if hasattr(value, "as_form") and _is_offered(type(value).getRenderingFor):
                return value.as_form(self)
            return {"$r": "callable", **self.callable(value.getRenderingFor), "args": [], "kwargs": {}}
        if callable(value):
            return {"$r": "callable", **self.callable(value), "args": [], "kwargs": {}}
        return self._refuse(f"{self._path}: {type(value).__name__} can't be used here")


def _is_offered(function):
    """Whether the method is the package's, not the user's of a subclass."""
    return is_ours(function.__code__.co_filename)


def _base(value):
    return str.__str__(value) if isinstance(value, str) else int.__int__(value)
