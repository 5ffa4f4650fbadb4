"""Schedulers that look at the clock."""

from buildbot.changes.filter import ChangeFilter
from buildbot.config.errors import error
from buildbot.schedulers.base import BaseScheduler, check_callable, reason_as_data
from buildbot.util import NotABranch

__all__ = ["Nightly", "Periodic", "Timed"]


class Timed(BaseScheduler):
    """Builds at times, possibly only when something has changed."""

    compare_attrs = ("onlyIfChanged", "branch", "change_filter", "reason")

    def __init__(
        self,
        name,
        builderNames,
        reason=None,
        createAbsoluteSourceStamps=False,
        onlyIfChanged=False,
        branch=NotABranch,
        change_filter=None,
        fileIsImportant=None,
        onlyImportant=False,
        **kwargs,
    ):
        super().__init__(name, builderNames, **kwargs)
        self.fileIsImportant = check_callable("fileIsImportant", fileIsImportant)
        if change_filter is not None and not isinstance(change_filter, ChangeFilter):
            error(f"scheduler '{self.name}': change_filter must be a ChangeFilter")
            change_filter = None
        self.reason, self.createAbsoluteSourceStamps = reason, createAbsoluteSourceStamps
        self.onlyIfChanged, self.branch = onlyIfChanged, branch
        self.change_filter, self.onlyImportant = change_filter, onlyImportant

    def own_data(self, encode):
        only = None if self.change_filter is None else self.change_filter.as_data(encode.at("change_filter"))
        return {
            "only_if_changed": bool(self.onlyIfChanged),
            "change_filter": only,
            "file_is_important": encode.at("fileIsImportant").optional_callable(self.fileIsImportant),
            "only_important": bool(self.onlyImportant),
            "branch": "any" if self.branch is NotABranch else {"only": self.branch},
            "create_absolute_source_stamps": bool(self.createAbsoluteSourceStamps),
            "reason": reason_as_data(self.reason, encode),
        }


class Periodic(Timed):
    """Every so many seconds."""

    kind = "periodic"
    class_name = "buildbot.schedulers.timed.Periodic"
    compare_attrs = ("periodicBuildTimer",)

    def __init__(self, name, builderNames, periodicBuildTimer, **kwargs):
        super().__init__(name, builderNames, **kwargs)
        if periodicBuildTimer <= 0:
            error("periodicBuildTimer must be positive")
        self.periodicBuildTimer = periodicBuildTimer

    def own_data(self, encode):
        return {"period": self.periodicBuildTimer, **super().own_data(encode)}


_FIELDS = {
    "minute": "minute",
    "hour": "hour",
    "dayOfMonth": "day_of_month",
    "month": "month",
    "dayOfWeek": "day_of_week",
}


class Nightly(Timed):
    """At times of the calendar, as cron."""

    kind = "nightly"
    class_name = "buildbot.schedulers.timed.Nightly"
    compare_attrs = ("at", "force_at")

    def __init__(
        self,
        name,
        builderNames,
        minute=0,
        hour="*",
        dayOfMonth="*",
        month="*",
        dayOfWeek="*",
        force_at_minute=None,
        force_at_hour=None,
        force_at_day_of_month=None,
        force_at_month=None,
        force_at_day_of_week=None,
        **kwargs,
    ):
        super().__init__(name, builderNames, **kwargs)
        self.at = self._fields(minute, hour, dayOfMonth, month, dayOfWeek)
        forced = (force_at_minute, force_at_hour, force_at_day_of_month, force_at_month, force_at_day_of_week)
        self.force_at = None
        if any(value is not None for value in forced):
            defaults = (0, "*", "*", "*", "*")
            given = [default if value is None else value for value, default in zip(forced, defaults)]
            self.force_at = self._fields(*given)

    def _fields(self, *values):
        return {name: self._field(name, value) for name, value in zip(_FIELDS, values)}

    def _field(self, name, value):
        # What stands in it, the master reads when all is loaded: it names what it can't understand.
        if isinstance(value, (list, tuple, range, set, frozenset)) and value:
            items = sorted(value, key=str) if isinstance(value, (set, frozenset)) else list(value)
            if all(type(item) is int for item in items):
                return items
            if all(type(item) is int or isinstance(item, str) for item in items):
                return ",".join(map(str, items))
        if type(value) is int or isinstance(value, str):
            return value
        error(f"scheduler '{self.name}': {name} must be a number, a list of numbers or a cron field, not {value!r}")
        return "*"

    def own_data(self, encode):
        force_at = None if self.force_at is None else self._as_data(self.force_at)
        return {"at": self._as_data(self.at), "force_at": force_at, **super().own_data(encode)}

    @staticmethod
    def _as_data(fields):
        return {_FIELDS[name]: value for name, value in fields.items()}
