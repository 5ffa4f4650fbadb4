"""Rendering while a step runs: what has to be awaited is, and secrets come from the master."""

import inspect

from buildbot.interfaces import IRenderable


class NeedsSecret(BaseException):
    """A value asked for a secret that is not here yet. No `except Exception` of a renderer keeps it."""

    def __init__(self, name):
        super().__init__(name)
        self.name = name


async def awaited(value):
    """The value, or what it gives when it is awaited."""
    return await value if inspect.isawaitable(value) or hasattr(value, "addCallbacks") else value


async def rendered(value, props):
    """The value with everything in it rendered."""
    while True:
        try:
            return await _rendered(value, props)
        except NeedsSecret as wanted:
            # The master conceals it in logs from now on.
            props.secrets[wanted.name] = await props.conversation.ask({"effect": "ask", "request": {"kind": "secret", "name": wanted.name}})


async def _rendered(value, props):
    if IRenderable.providedBy(value):
        made = await awaited(value.getRenderingFor(props))
        return made if made is value else await _rendered(made, props)
    if isinstance(value, list):
        return [await _rendered(item, props) for item in value]
    if isinstance(value, tuple):
        return tuple([await _rendered(item, props) for item in value])
    if isinstance(value, dict):
        return {await _rendered(key, props): await _rendered(item, props) for key, item in value.items()}
    return value
