"""Reports about workers."""

from buildbot import util
from buildbot.config.errors import error
from muster_host.not_yet import is_stand_in

__all__ = ["WorkerMissingGenerator"]


class WorkerMissingGenerator(util.ComparableMixin):
    """Reports workers that have been away for their `missing_timeout`."""

    compare_attrs = ("workers",)

    def __init__(self, workers="all", message_formatter=None):
        if workers != "all" and not (
            isinstance(workers, (list, tuple, set)) and all(isinstance(name, str) for name in workers)
        ):
            error("WorkerMissingGenerator: workers must be 'all', or list of worker names")
            workers = "all"
        if message_formatter is not None and not is_stand_in(message_formatter):
            error("WorkerMissingGenerator: message_formatter is not supported by Muster yet")
        self.workers = workers

    def as_data(self):
        """The generator for the snapshot."""
        workers = None if self.workers == "all" else sorted(self.workers)
        return {"kind": "worker_missing", "workers": workers}
