"""An old name of the schedulers' module."""

from buildbot.schedulers.basic import AnyBranchScheduler, Scheduler, SingleBranchScheduler
from buildbot.schedulers.timed import Nightly, Periodic
from buildbot.schedulers.triggerable import Triggerable

__all__ = ["AnyBranchScheduler", "Nightly", "Periodic", "Scheduler", "SingleBranchScheduler", "Triggerable"]
