"""Results of user functions, also of those that answer later."""

import asyncio
import inspect


class NotReady(Exception):
    """A Deferred that nobody will fire: there is no reactor here."""


def result_of(value):
    """The value itself, or what an awaitable or a fired Deferred gives."""
    if inspect.isawaitable(value) and not hasattr(value, "addCallbacks"):
        return asyncio.run(_wait_for(value))
    if hasattr(value, "addCallbacks"):
        return _result_of_deferred(value)
    return value


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
