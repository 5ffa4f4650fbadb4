"""Results of user functions, also of those that answer later."""

import asyncio
import inspect
import sys
from concurrent.futures import ThreadPoolExecutor


class NotReady(Exception):
    """A Deferred that nobody will fire: there is no reactor here."""


class _Answered:
    """Something to be awaited that is there already."""

    def __init__(self, value):
        self._value = value

    def __await__(self):
        return self._value
        yield


def answered(value):
    """What methods return that answer later in Buildbot: a Deferred where Twisted is in use, else an awaitable."""
    defer = sys.modules.get("twisted.internet.defer")
    return _Answered(value) if defer is None else defer.succeed(value)


def awaited(coroutine):
    """What asynchronous functions of Buildbot return: a Deferred where Twisted is in use."""
    defer = sys.modules.get("twisted.internet.defer")
    return coroutine if defer is None else defer.ensureDeferred(coroutine)


def result_of(value):
    """The value itself, or what an awaitable or a fired Deferred gives."""
    if inspect.isawaitable(value) and not hasattr(value, "addCallbacks"):
        return _waited_for(value)
    if hasattr(value, "addCallbacks"):
        return _result_of_deferred(value)
    return value


def _waited_for(value):
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(_wait_for(value))
    # A function that waits has asked for a rendering that waits, too: that gets a loop of its own.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, _wait_for(value)).result()


async def _wait_for(value):
    return await value


def _result_of_deferred(deferred):
    results, failures = [], []
    deferred.addCallbacks(results.append, failures.append)
    if failures:
        failures[0].raiseException()
    if not results:
        raise NotReady("a Deferred that waits for the reactor is not supported by Muster yet; use async def")
    return results[0]
