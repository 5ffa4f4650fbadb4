"""Keeps functions of the configuration from ending the process that all of them share.

Whoever calls `os._exit()`, kills its own process or becomes another program means itself. In the host that is everybody,
so it is an exception of that one function. Children that a function forks do as they always did.
"""

import os
import signal
import sys


class Ended(BaseException):
    """A function wanted to end the process. No `except Exception` of the user's keeps it."""


_HOST = os.getpid()


def _guarded(module, name, is_meant=lambda *args: True):
    original = getattr(module, name, None)
    if original is None:
        return

    def guarded(*args, **kwargs):
        if os.getpid() == _HOST and is_meant(*args):
            raise Ended(f"it called {module.__name__}.{name}(), which would have ended the host of all functions")
        return original(*args, **kwargs)

    guarded.__wrapped__ = original
    setattr(module, name, guarded)


def _is_deadly(number):
    return number not in (0, signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH)


def _kills_host(process, number, *_more):
    group = os.getpgid(0)
    return _is_deadly(number) and process in (0, -1, _HOST, -group)


def install():
    """From now on."""
    for name in ("_exit", "abort", "execv", "execve"):
        _guarded(os, name)
    _guarded(os, "kill", _kills_host)
    _guarded(os, "killpg", lambda group, number: _is_deadly(number) and group in (0, os.getpgid(0)))
    _guarded(signal, "raise_signal", _is_deadly)


def restore_streams():
    """What a function closed or replaced: the next one prints again."""
    for name, number in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        try:
            os.fstat(number)
        except OSError:
            # The log of the master is on both.
            os.dup2(2 if number == 1 else os.open(os.devnull, os.O_RDWR), number)
        stream = getattr(sys, name)
        if stream is None or getattr(stream, "closed", False):
            mode = "r" if number == 0 else "w"
            setattr(sys, name, open(number, mode, buffering=1, errors="replace", closefd=False))
