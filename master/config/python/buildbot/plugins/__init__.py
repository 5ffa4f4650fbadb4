"""The short names of everything that configurations use: `util.Interpolate`, `steps.Git`, …"""

from buildbot.plugins.db import get_plugins

__all__ = [
    "changes", "reporters", "schedulers", "secrets", "statistics", "steps", "util", "webhooks", "worker",
]  # fmt: skip

changes = get_plugins("changes")
reporters = get_plugins("reporters")
schedulers = get_plugins("schedulers")
secrets = get_plugins("secrets")
steps = get_plugins("steps")
util = get_plugins("util")
webhooks = get_plugins("webhooks")
worker = get_plugins("worker")
