"""Sorting by keys that are computed later."""

from muster_host.calling import awaited, result_of


def async_sort(items, key, max_parallel=10):
    """Sorts a list in place by `key(item)`, which may be awaited."""
    return awaited(_sort(items, key))


async def _sort(items, key):
    keys = {id(item): await _value(key(item)) for item in items}
    items.sort(key=lambda item: keys[id(item)])


async def _value(value):
    return await value if hasattr(value, "__await__") else result_of(value)
