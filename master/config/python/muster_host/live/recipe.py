"""How a step of the configuration's own is made anew for each build, and how two hosts know that it is the same one."""

import hashlib
import inspect

from muster_host.location import is_ours


class Recipe:
    """A class with the arguments of its constructor."""

    def __init__(self, made, args, kwargs):
        self.made, self.args, self.kwargs = made, args, dict(kwargs)

    def set(self, name, value):
        self.kwargs[name] = value

    def buildStep(self):
        return self.made(*self.args, **self.kwargs)

    def __call__(self):
        return self.buildStep()

    def source(self):
        """File, line and digest of the class, for the snapshot."""
        own = [base for base in self.made.__mro__ if base is not object and not _is_ours(base)]
        texts = [_text(base) for base in own]
        file, line = _place(self.made)
        return {"file": file, "line": line, "digest": hashlib.sha1("\0".join(texts).encode("utf-8", "replace")).hexdigest()}


def _is_ours(base):
    try:
        return is_ours(inspect.getfile(base))
    except (OSError, TypeError):
        # A class of the configuration file itself has no module with a file.
        return base.__module__.startswith(("buildbot.", "muster_host."))


def _members(base):
    for name, value in sorted(vars(base).items()):
        inner = getattr(value, "__func__", getattr(value, "fget", value))
        inner = inspect.unwrap(inner) if callable(inner) and not inspect.isclass(inner) else inner
        code = getattr(inner, "__code__", None)
        if code is not None:
            yield name, code


def _text(base):
    """The source of a class, or its code where there is none."""
    try:
        return inspect.getsource(base)
    except (OSError, TypeError):
        pass
    parts = [base.__qualname__]
    for name, code in _members(base):
        try:
            parts.append(f"{name} {inspect.getsource(code)}")
        except (OSError, TypeError):
            parts.append(f"{name} {code.co_code.hex()} {code.co_consts!r}")
    plain = (str, int, float, bool, tuple, list, dict, type(None))
    for name, value in sorted(vars(base).items()):
        if isinstance(value, plain) and not name.startswith("__"):
            parts.append(f"{name} = {value!r}")
    return "\n".join(parts)


def _place(made):
    for name, code in _members(made):
        return code.co_filename, code.co_firstlineno
    return "", 0
