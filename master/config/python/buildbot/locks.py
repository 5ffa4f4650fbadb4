"""Locks that builds and steps take."""

from buildbot import util
from muster_host.location import caller


class LockAccess(util.ComparableMixin):
    """One way to take a lock."""

    compare_attrs = ("lockid", "mode", "count")

    def __init__(self, lockid, mode, count=1):
        if mode not in ("counting", "exclusive"):
            raise ValueError(f"a lock is taken 'counting' or 'exclusive', not {mode!r}")
        if type(count) is not int or count < 0:
            raise ValueError(f"the count of a lock access must be a number from 0 on, not {count!r}")
        if mode == "exclusive" and count != 1:
            raise ValueError("an exclusive access has the count 1")
        self.lockid, self.mode, self.count = lockid, mode, count

    def as_data(self):
        return {"lock": self.lockid.name, "mode": self.mode, "count": self.count}


class BaseLock(util.ComparableMixin):
    """What both kinds of locks have."""

    kind = None
    overridable = ("access", "defaultAccess")
    compare_attrs = ("name", "maxCount")

    def __init__(self, name, maxCount=1):
        if type(maxCount) is not int or maxCount < 1:
            raise ValueError(f"maxCount of lock {name!r} must be a number above 0, not {maxCount!r}")
        self.name, self.maxCount = name, maxCount
        self.location = caller()

    def access(self, mode, count=1):
        """How a build or a step takes this lock."""
        return LockAccess(self, mode, count)

    def defaultAccess(self):
        return self.access("exclusive")

    def __repr__(self):
        return f"<{type(self).__name__} {self.name!r}>"

    def as_data(self):
        return {
            "name": self.name,
            "kind": self.kind,
            "max_count": self.maxCount,
            "max_count_for_worker": dict(getattr(self, "maxCountForWorker", {})),
        }


class MasterLock(BaseLock):
    """Holds in the whole cluster."""

    kind = "master"


class WorkerLock(BaseLock):
    """Holds on one worker."""

    kind = "worker"
    compare_attrs = ("maxCountForWorker",)

    def __init__(self, name, maxCount=1, maxCountForWorker=None):
        super().__init__(name, maxCount)
        self.maxCountForWorker = dict((maxCountForWorker or {}).items())


def accesses_of(locks):
    """The accesses of a list of locks and accesses; a bare lock is taken exclusively."""
    return [lock if isinstance(lock, LockAccess) else lock.defaultAccess() for lock in locks or ()]
