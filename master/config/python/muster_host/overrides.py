"""What a configuration overrides of Buildbot's classes: what nobody here would call is refused by name.

One rule for all of them. `members.py` knows what Buildbot's classes have; a class of this package says in `overridable` what
it calls itself. Everything else that a subclass, a mixin, an instance or a patch of the class defines under a known name
would be ignored in silence.
"""

import functools
import inspect

from buildbot.config.errors import error_once
from muster_host.location import NOWHERE, Location, is_ours
from muster_host.members import MEMBERS

#: How deep objects are looked for inside of others. Steps stand at depth 5 below a builder; renderables nest below them.
_MAX_DEPTH = 40
#: What holds nothing, and what most of a configuration is.
_PLAIN = frozenset((str, bytes, int, float, bool, type(None)))


def check(*roots):
    """Reports each override that has no effect, in these objects and in all that they hold."""
    # Classes may have been changed since objects were made of them; while this runs they are not.
    seen, waiting, of_classes = set(), [(root, 0) for root in roots], {}
    while waiting:
        held, depth = waiting.pop()
        if type(held) in _PLAIN or id(held) in seen or depth > _MAX_DEPTH or isinstance(held, type):
            continue
        seen.add(id(held))
        if isinstance(held, dict):
            inner = held.values()
        elif isinstance(held, (list, tuple, set, frozenset)):
            inner = held
        elif stock_class(type(held)) is not None:
            _check_object(held, of_classes)
            inner = vars(held).values() if hasattr(held, "__dict__") else ()
        else:
            continue
        deeper = depth + 1
        waiting.extend([(each, deeper) for each in reversed(list(inner)) if type(each) not in _PLAIN])


def _check_object(held, of_classes):
    made = type(held)
    stock = stock_class(made)
    if made not in of_classes:
        # Steps report what their classes define when they are made.
        of_classes[made] = [] if hasattr(held, "offered_class") else overridden(made)
    of_class = of_classes[made]
    for owner, name, value in [*of_class, *_on_instance(held, stock)]:
        called = "()" if _is_callable(value) else ""
        shown = "the configuration replaces" if owner == stock.__name__ else f"class {owner} overrides"
        error_once(
            f"{shown} {stock.__name__}.{name}{called}, which is not supported by Muster yet: it would have no effect",
            location_of(value, type(held)) or getattr(held, "location", NOWHERE),
        )


@functools.lru_cache(maxsize=None)
def stock_class(made):
    """The class of this package, of which Buildbot has one too, that a class is or is made from; `None` for all others."""
    return next((base for base in made.__mro__ if is_stock(base)), None)


def is_stock(base):
    """Whether it is a class of this package, of which Buildbot has one too."""
    return _name(base) in MEMBERS and _is_ours(base)


def overridden(made, stock=None):
    """(owner, name, value) of what a class defines although nobody calls it; of one of its bases, or of the first."""
    stock = stock or stock_class(made)
    if stock is None:
        return []
    ignored = known_names(stock) - called_here(stock)
    found = {}
    for base in made.__mro__:
        ours = _is_ours(base)
        # What stands behind the stock class hides nothing of it; but its own bases may have been patched.
        if not ours and made.__mro__.index(base) > made.__mro__.index(stock):
            continue
        for name in sorted(ignored & set(vars(base))):
            value = vars(base)[name]
            changes = _is_users(value) if ours else _is_callable(value) or not hasattr(stock, name)
            if changes:
                found.setdefault(name, (base.__name__, name, value))
    return list(found.values())


def _on_instance(held, stock):
    """What was assigned to one object."""
    # A form is made of what the class says, so that this one would not be asked.
    ignored = _ignored_on_instances(stock)
    for name in sorted(ignored.intersection(getattr(held, "__dict__", ()))):
        value = vars(held)[name]
        if _is_callable(value):
            yield stock.__name__, name, value


@functools.lru_cache(maxsize=None)
def _ignored_on_instances(stock):
    return known_names(stock) - called_here(stock) | {"getRenderingFor"} & known_names(stock)


@functools.lru_cache(maxsize=None)
def known_names(stock):
    """The members that Buildbot's class of that name has, its bases' included."""
    names, waiting = set(), [_name(base) for base in stock.__mro__ if _is_ours(base)]
    while waiting:
        bases, own = MEMBERS.get(waiting.pop(), ("", ""))
        names.update(own.split())
        waiting.extend(bases.split())
    return frozenset(names)


@functools.lru_cache(maxsize=None)
def called_here(stock):
    """What this package calls: renderables of all classes are asked by one name."""
    return {"getRenderingFor"}.union(*(vars(base).get("overridable", ()) for base in stock.__mro__))


def _name(made):
    return f"{made.__module__}.{made.__qualname__}"


@functools.lru_cache(maxsize=None)
def _is_ours(made):
    """Whether the class is this package's, and not one of the user's in a module of that name."""
    if not made.__module__.startswith(("buildbot.", "muster_host.")):
        return False
    try:
        return is_ours(inspect.getfile(made))
    except (OSError, TypeError):
        return False


def _is_callable(value):
    return callable(value) or isinstance(value, (staticmethod, classmethod))


def _code(value):
    if isinstance(value, (staticmethod, classmethod)):
        value = value.__func__
    if isinstance(value, functools.partial):
        value = value.func
    value = inspect.unwrap(value) if callable(value) and not inspect.isclass(value) else value
    return getattr(getattr(value, "__func__", value), "__code__", None)


def _is_users(value):
    code = _code(value)
    return code is not None and not is_ours(code.co_filename)


def location_of(value, made):
    """Where a member of a class was written; `None` when nobody knows."""
    code = _code(value)
    if code is not None and not is_ours(code.co_filename):
        return Location(code.co_filename, code.co_firstlineno)
    for base in made.__mro__:
        if not _is_ours(base) and any(each is value for each in vars(base).values()):
            try:
                return Location(inspect.getsourcefile(base), inspect.getsourcelines(base)[1])
            except (OSError, TypeError):
                return None
    return None
