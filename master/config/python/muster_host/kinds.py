"""The kinds of steps, as their classes say: what is offered, its arguments, its defaults. Nothing lists them again.

`python -m muster_host.kinds` prints them as JSON, for the test that both sides of the pipe know the same.
"""

import functools
import importlib
import inspect
import json
import pkgutil

from muster_host.encode import Encoder, Functions


@functools.lru_cache(maxsize=None)
def step_classes():
    """The classes of `buildbot.steps` that have a kind, by their names."""
    from buildbot import steps
    from buildbot.process.buildstep import BuildStep

    found = {}
    for module in pkgutil.walk_packages(steps.__path__, "buildbot.steps."):
        for name, each in vars(importlib.import_module(module.name)).items():
            is_step = inspect.isclass(each) and issubclass(each, BuildStep) and each.__module__ == module.name
            if is_step and each.__name__ == name and not name.startswith("_") and each.kind is not None:
                found[name] = each
    return found


def defaults(step):
    """The arguments of a step's kind that have a default, and it; in the form of a snapshot."""
    given = {}
    for name in step.argument_names():
        parameters = (inspect.signature(vars(base)["__init__"]).parameters for base in step.__mro__
                      if base is not object and "__init__" in vars(base))  # fmt: skip
        signed = next((each[name].default for each in parameters if name in each), inspect.Parameter.empty)
        value = getattr(step, name, inspect.Parameter.empty)
        is_plain = signed is None or isinstance(signed, (bool, int, float, str, tuple, list, dict))
        if is_plain and not (signed is None and value is not inspect.Parameter.empty):
            value = signed
        if value is not inspect.Parameter.empty:
            given[name] = Encoder(Functions(), name)(value)
    return given


def as_data():
    """All kinds of steps: name of the class, kind, names of arguments, defaults."""
    return [
        {"class": name, "kind": step.kind, "arguments": step.argument_names(), "defaults": defaults(step)}
        for name, step in sorted(step_classes().items())
    ]


if __name__ == "__main__":
    print(json.dumps(as_data()))
