"""The tables of docs/configuration.md, from the code that reads configurations.

`--write` puts them into the page, `--check` tells whether they are there.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from typing import Any, Iterator

from checks import effective
from checks.tree import Tree

from . import ground
from .ground import ROOT

PAGE = ROOT / "docs/configuration.md"
_PYTHON = ROOT / "master/config/python"
#: A heading's mark in the page, and who fills in what follows it.
_MARK = "<!-- generated: {} -->\n"
_END = "<!-- end -->\n"
#: Longest default that is shown.
_SHOWN = 40

#: Keys of which a part is in force.
_PARTLY = {
    "logEncoding": "used: names of encodings; functions are refused",
}


def _modules() -> tuple[Any, Any, Any, Any]:
    sys.path.insert(0, str(_PYTHON))
    names = ("muster_host.names", "muster_host.loaders", "muster_host.settings", "muster_host.mq")
    names_, loaders, settings, mq = (importlib.import_module(name) for name in names)
    return names_, loaders, settings, mq


def sections() -> dict[str, str]:
    """Each generated part by its name."""
    names, loaders, settings, mq = _modules()
    parts = {"keys": "\n".join(_keys(loaders, settings)), "www": "\n".join(_www()), "mq": _list(mq._KEYS["wamp"])}
    parts["every step"] = _list(importlib.import_module("buildbot.process.buildstep").BuildStep.parms)
    parts["protocols"] = _list(settings._PROTOCOLS)
    for namespace in ("changes", "schedulers", "steps", "util", "worker", "secrets", "reporters"):
        parts[namespace] = "\n".join(_namespace(names, namespace))
    return parts


def _keys(loaders: Any, settings: Any) -> Iterator[str]:
    read = effective.fields_read(Tree(ROOT))
    yield "| key | |"
    yield "| --- | --- |"
    for key in sorted(loaders.KNOWN, key=str.lower):
        if key in loaders._NOT_YET:
            yield f"| `{key}` | not yet: refused when it is set |"
        elif key in settings.WITHOUT_EFFECT:
            yield f"| `{key}` | without effect, with a warning: {settings.WITHOUT_EFFECT[key]} |"
        else:
            yield f"| `{key}` | {_PARTLY.get(key) or effective.said(key, read)} |"


def _www() -> Iterator[str]:
    yield "| key | |"
    yield "| --- | --- |"
    for key, what in sorted(importlib.import_module("muster_host.www").KEYS.items(), key=lambda item: item[0].lower()):
        yield f"| `{key}` | {what} |"


def _namespace(names: Any, namespace: str) -> Iterator[str]:
    usable = {name: getattr(importlib.import_module(module), name) for name, module in names.offered(namespace).items()}
    later = names.refused(namespace)
    if namespace == "steps":
        # Nothing is done by a step without a kind: it is there for subclasses of one's own.
        missing = {name for name, step in usable.items() if step.kind is None}
        later |= missing
        usable = {name: step for name, step in usable.items() if name not in missing}
    if usable:
        yield "| name | arguments |"
        yield "| --- | --- |"
        for name in sorted(usable):
            yield f"| `{name}` | {_arguments(usable[name])} |"
    yield ""
    if later:
        yield f"Not yet, refused by name: {_list(later)}"
    elif not usable:
        yield "Nothing yet."


def _arguments(thing: Any) -> str:
    if not callable(thing):
        return f"`{thing!r}`"
    shown: dict[str, str] = {}
    for parameter in _parameters(thing):
        name = parameter.split("=")[0]
        if name not in getattr(thing, "without", ()):
            shown.setdefault(name, parameter)
    return ", ".join(f"`{parameter}`" for parameter in shown.values()) or "none"


def _parameters(thing: Any) -> Iterator[str]:
    """Those of a class, and those that it passes on to its bases with **kwargs."""
    classes = thing.__mro__ if inspect.isclass(thing) else [thing]
    for each in classes:
        function = vars(each).get("__init__") if inspect.isclass(each) else each
        if each is object or function is None:
            continue
        parameters = inspect.signature(function).parameters.values()
        for parameter in parameters:
            if parameter.name != "self" and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                yield _parameter(parameter)
        if not any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters):
            break
    for each in classes:
        # Steps that run a command take these beside those of their __init__.
        yield from vars(each).get("arguments", ()) if inspect.isclass(each) else ()


def _parameter(parameter: inspect.Parameter) -> str:
    default = repr(parameter.default)
    # A default without words of its own would show where it lay in memory.
    if parameter.default is parameter.empty or " at 0x" in default or len(default) > _SHOWN:
        return parameter.name
    return f"{parameter.name}={default}"


def _list(names: Any) -> str:
    return ", ".join(name if "`" in name else f"`{name}`" for name in sorted(names, key=str.lower))


def page() -> str:
    """The page with its generated parts as they should be."""
    text = PAGE.read_text()
    for name, part in sections().items():
        mark = _MARK.format(name)
        before, rest = text.split(mark)
        text = before + mark + part.rstrip("\n") + "\n" + _END + rest.split(_END, 1)[1]
    return text


if __name__ == "__main__":
    ground.write_or_check(PAGE, page(), "tests.operations.reference")
