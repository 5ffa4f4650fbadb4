"""An old place of `RemoveWorkerFileSecret`."""

from buildbot.steps.download_secret_to_worker import RemoveWorkerFileSecret

__all__ = ["RemoveWorkerFileSecret"]
