"""Results of user functions, also of those that answer later."""

import asyncio
import inspect
from concurrent.futures import ThreadPoolExecutor


class NotReady(Exception):
    """A Deferred that nobody will fire: there is no reactor here."""


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
