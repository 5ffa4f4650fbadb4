"""Properties, and the values that depend on them."""

import re
from collections.abc import Mapping

from buildbot import util
from buildbot.config.errors import error
from buildbot.interfaces import IRenderable
from buildbot.process import interpolation
from muster_host.calling import result_of


def render(value, props):
    """A value with everything in it rendered."""
    if IRenderable.providedBy(value):
        rendered = result_of(value.getRenderingFor(props))
        return render(rendered, props) if rendered is not value else rendered
    if isinstance(value, list):
        return [render(item, props) for item in value]
    if isinstance(value, tuple):
        return tuple(render(item, props) for item in value)
    if isinstance(value, dict):
        return {render(key, props): render(item, props) for key, item in value.items()}
    return value


class Properties(util.ComparableMixin):
    """Named values with the text that says where they came from."""

    compare_attrs = ("properties",)

    def __init__(self, **kwargs):
        self.properties = {}
        self.build = None
        if kwargs:
            self.update(kwargs, "TEST")

    @classmethod
    def fromDict(cls, properties):
        """From a dictionary of (value, source)."""
        made = cls()
        for name, (value, source) in properties.items():
            made.setProperty(name, value, source)
        return made

    def asDict(self):
        return dict(self.properties)

    def asList(self):
        return sorted((name, value, source) for name, (value, source) in self.properties.items())

    def update(self, values, source, runtime=False):
        for name, value in values.items():
            self.setProperty(name, value, source, runtime)

    def updateFromProperties(self, other):
        self.properties.update(other.properties)

    def setProperty(self, name, value, source, runtime=False):
        if not isinstance(name, str):
            raise TypeError(f"property name must be a string, got {name!r}")
        self.properties[name] = (value, str(source))

    def getProperty(self, name, default=None):
        return self.properties.get(name, (default, None))[0]

    def getPropertySource(self, name):
        return self.properties[name][1]

    def hasProperty(self, name):
        return name in self.properties

    has_key = hasProperty

    def getProperties(self):
        return self

    def getBuild(self):
        return self.build

    async def render(self, value):
        """The value with everything in it rendered. As with Buildbot, it is there later: for `await`, `yield` or `return`."""
        return render(value, self)

    def __contains__(self, name):
        return name in self.properties

    def __getitem__(self, name):
        return self.properties[name][0]

    def __bool__(self):
        return bool(self.properties)

    def __repr__(self):
        return f"{type(self).__name__}(**{ {name: value for name, (value, _) in self.properties.items()}!r})"


class RenderableOperatorsMixin:
    """Python's operators give a value that is computed when both sides are known."""

    def __eq__(self, other):
        return _Operation("==", self, other)

    def __ne__(self, other):
        return _Operation("!=", self, other)

    def __lt__(self, other):
        return _Operation("<", self, other)

    def __le__(self, other):
        return _Operation("<=", self, other)

    def __gt__(self, other):
        return _Operation(">", self, other)

    def __ge__(self, other):
        return _Operation(">=", self, other)

    def __add__(self, other):
        return _Operation("+", self, other)

    def __sub__(self, other):
        return _Operation("-", self, other)

    def __mul__(self, other):
        return _Operation("*", self, other)

    def __truediv__(self, other):
        return _Operation("/", self, other)

    def __floordiv__(self, other):
        return _Operation("//", self, other)

    def __mod__(self, other):
        return _Operation("%", self, other)

    def in_(self, container):
        return _Operation("in", self, container)

    __hash__ = None


_OPERATIONS = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "//": lambda a, b: a // b,
    "%": lambda a, b: a % b,
    "in": lambda a, b: a in b,
}


class _Operation(RenderableOperatorsMixin):
    """An operator with its two sides."""

    def __init__(self, operator, left, right):
        self.operator, self.left, self.right = operator, left, right

    def __repr__(self):
        return f"{self.left!r} {self.operator} {self.right!r}"

    def getRenderingFor(self, props):
        return _OPERATIONS[self.operator](render(self.left, props), render(self.right, props))

    def as_form(self, encode):
        return {"$r": "op", "op": self.operator, "left": encode(self.left), "right": encode(self.right)}


class Property(RenderableOperatorsMixin):
    """The value of a property, or a default."""

    def __init__(self, key, default=None, defaultWhenFalse=True):
        self.key, self.default, self.defaultWhenFalse = key, default, defaultWhenFalse

    def __repr__(self):
        return f"Property({self.key})"

    def getRenderingFor(self, props):
        value = props.getProperty(self.key)
        missing = not value if self.defaultWhenFalse else not props.hasProperty(self.key)
        return render(self.default, props) if missing else render(value, props)

    def as_form(self, encode):
        return {
            "$r": "property",
            "name": self.key,
            "default": encode(self.default),
            "default_when_false": bool(self.defaultWhenFalse),
        }


class Interpolate(RenderableOperatorsMixin):
    """A text with values in it, named by selectors."""

    compare_attrs = ("fmtstring", "args", "kwargs")

    def __init__(self, fmtstring, *args, **kwargs):
        self.fmtstring, self.args, self.kwargs = fmtstring, args, kwargs
        self.substitutions = {}
        if args and kwargs:
            error("Interpolate takes either positional or keyword substitutions, not both.")
        if not args:
            self._parse()

    def _parse(self):
        for key in interpolation.keys_of(self.fmtstring):
            try:
                lookup, (kind, texts) = interpolation.parse(key)
            except interpolation.Invalid:
                raise TypeError(f"invalid Interpolate substitution '{key}'") from None
            nested = [Interpolate(text, **self.kwargs) for text in texts]
            self.substitutions[key] = (lookup, (kind, nested))

    def __repr__(self):
        # Buildbot's form: it is in the summaries of steps (`Assert`).
        given = f", *{self.args!r}" if self.args else f", **{self.kwargs!r}" if self.kwargs else ""
        return f"Interpolate({self.fmtstring!r}{given})"

    def getRenderingFor(self, props):
        if self.args:
            return self.fmtstring % tuple(render(arg, props) for arg in self.args)
        return self.fmtstring % {key: self._shown(key, props) for key in self.substitutions}

    def _shown(self, key, props):
        lookup, (kind, nested) = self.substitutions[key]
        value, exists = self._look_up(lookup, props)
        index = interpolation.shown((kind,), value, exists)
        if index is not None:
            value = render(nested[index], props) if index >= 0 else None
        return "" if value is None else value

    def _look_up(self, lookup, props):
        if lookup[0] == "prop":
            return props.getProperty(lookup[1]), props.hasProperty(lookup[1])
        if lookup[0] == "kw":
            return render(self.kwargs.get(lookup[1]), props), lookup[1] in self.kwargs
        found = props.lookUp(*lookup)
        return (None, False) if found is None else (found[0], True)

    def as_form(self, encode):
        kwargs = {key: encode(value) for key, value in self.kwargs.items()}
        args = [encode(value) for value in self.args]
        return {"$r": "interpolate", "fmt": self.fmtstring, "args": args, "kwargs": kwargs}


class WithProperties(util.ComparableMixin):
    """The old way to put properties into a text."""

    compare_attrs = ("fmtstring", "args", "lambda_subs")

    def __init__(self, fmtstring, *args, **lambda_subs):
        self.fmtstring, self.args, self.lambda_subs = fmtstring, args, lambda_subs
        if args and lambda_subs:
            raise ValueError("WithProperties takes either positional or keyword substitutions, not both.")
        for name, function in lambda_subs.items():
            if not callable(function):
                raise ValueError(f'Value for lambda substitution "{name}" must be callable.')

    def getRenderingFor(self, props):
        if self.args:
            return self.fmtstring % tuple(_blank(props[name]) for name in self.args)
        return self.fmtstring % _OldLookup(props, self.lambda_subs)

    def as_form(self, encode):
        functions = {name: encode(_Renderer(function)) for name, function in self.lambda_subs.items()}
        return {"$r": "with_properties", "fmt": self.fmtstring, "args": list(self.args), "kwargs": functions}


def _blank(value):
    return "" if value is None else value


class _OldLookup(Mapping):
    """Keys of the old form: a name, or a name with `:-`, `:~` or `:+` and a text."""

    def __init__(self, props, functions):
        self.props, self.functions = props, functions

    def __getitem__(self, key):
        match = re.match(r"^(.*?)(:[-~+])(.*)$", key, re.DOTALL)
        name, operator, text = match.groups() if match else (key, None, None)
        exists = name in self.functions or self.props.hasProperty(name)
        value = self.functions[name](self.props) if name in self.functions else self.props.getProperty(name)
        if operator == ":+":
            return text if exists else ""
        if operator == ":-" and not exists or operator == ":~" and not value:
            return text
        if not exists:
            raise KeyError(name)
        return _blank(value)

    def __iter__(self):
        return iter(self.functions)

    def __len__(self):
        return len(self.functions)


class _Renderer(util.ComparableMixin):
    """A function of the properties."""

    compare_attrs = ("fn", "args", "kwargs")

    def __init__(self, fn, args=(), kwargs=None):
        self.fn, self.args, self.kwargs = fn, tuple(args), dict(kwargs or {})
        self.__name__ = getattr(fn, "__name__", "renderer")

    def withArgs(self, *args, **kwargs):
        """The same function with more arguments."""
        return _Renderer(self.fn, self.args + args, {**self.kwargs, **kwargs})

    def __repr__(self):
        return f"renderer({self.fn!r})"

    def getRenderingFor(self, props):
        kwargs = {name: render(value, props) for name, value in self.kwargs.items()}
        return result_of(self.fn(props, *[render(arg, props) for arg in self.args], **kwargs))

    def as_form(self, encode):
        kwargs = {name: encode(value) for name, value in self.kwargs.items()}
        args = [encode(value) for value in self.args]
        return {"$r": "callable", **encode.callable(self.fn), "args": args, "kwargs": kwargs}


def renderer(fn):
    """Makes a function of the properties a value."""
    return _Renderer(fn)


class Transform:
    """A function called with rendered arguments."""

    def __init__(self, function, *args, **kwargs):
        if not callable(function) and not IRenderable.providedBy(function):
            error("function given to Transform neither callable nor renderable")
        self._function, self._args, self._kwargs = function, args, kwargs

    def __repr__(self):
        return f"Transform({self._function!r})"

    def getRenderingFor(self, props):
        function = render(self._function, props)
        kwargs = {name: render(value, props) for name, value in self._kwargs.items()}
        return result_of(function(*[render(arg, props) for arg in self._args], **kwargs))

    def as_form(self, encode):
        if IRenderable.providedBy(self._function):
            # The function itself depends on the build: the whole is one function of the properties.
            return {"$r": "callable", **encode.callable(self.getRenderingFor), "args": [], "kwargs": {}}
        kwargs = {name: encode(value) for name, value in self._kwargs.items()}
        args = [encode(value) for value in self._args]
        return {"$r": "transform", "function": encode.callable(self._function), "args": args, "kwargs": kwargs}


class FlattenList(RenderableOperatorsMixin):
    """A nested list, flat."""

    def __init__(self, nestedlist, types=(list, tuple)):
        self.nestedlist, self.types = nestedlist, types

    def __repr__(self):
        return f"FlattenList({self.nestedlist!r})"

    def __add__(self, other):
        if isinstance(other, FlattenList):
            return FlattenList(self.nestedlist + other.nestedlist, self.types)
        return FlattenList(self.nestedlist + other, self.types)

    def getRenderingFor(self, props):
        return util.flatten(render(self.nestedlist, props), self.types)

    def as_form(self, encode):
        return {"$r": "flatten", "items": encode(self.nestedlist)}


class Secret:
    """The value of a secret."""

    def __init__(self, secret_name):
        self.secret_name = secret_name

    def __repr__(self):
        return f"Secret({self.secret_name!r})"

    def getRenderingFor(self, props):
        return props.lookUp("secret", self.secret_name)[0]

    def as_form(self, encode):
        return {"$r": "secret", "name": self.secret_name}


class _UrlForBuild:
    """The address of the build's page."""

    def __repr__(self):
        return "URLForBuild"

    def getRenderingFor(self, props):
        return props.getBuild().getUrl()

    def as_form(self, encode):
        return {"$r": "url_for_build"}


URLForBuild = _UrlForBuild()
