"""Where in the user's files something happens."""

import os
import sys
from typing import NamedTuple, Optional

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_OUR_PACKAGES = tuple(os.path.join(_OURS, name) + os.sep for name in ("buildbot", "muster_host"))


class Location(NamedTuple):
    """A line of a file."""

    file: str
    line: int

    def as_data(self):
        return {"file": self.file, "line": self.line}


NOWHERE = Location("", 0)


def is_ours(filename: str) -> bool:
    """Whether a code object's file belongs to the host instead of the user."""
    return filename.startswith(_OUR_PACKAGES) or filename == os.path.join(_OURS, "__main__.py")


def caller() -> Location:
    """The innermost line of the user's own code on the stack; `NOWHERE` when only the host is at work."""
    frame: Optional[object] = sys._getframe(1)
    while frame is not None:
        filename = frame.f_code.co_filename
        if not filename.startswith("<") and not is_ours(filename) and not is_standard_library(filename):
            return Location(filename, frame.f_lineno)
        frame = frame.f_back
    return NOWHERE


_STANDARD_LIBRARY = os.path.dirname(os.path.abspath(os.__file__)) + os.sep


def is_standard_library(filename: str) -> bool:
    """Whether a code object's file is one of Python's own."""
    return filename.startswith(_STANDARD_LIBRARY) and "site-packages" not in filename
