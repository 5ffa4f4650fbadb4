"""Schedulers that react to changes."""

from buildbot.changes.filter import ChangeFilter
from buildbot.config.errors import error
from buildbot.schedulers.base import BaseScheduler, check_callable, reason_as_data
from buildbot.util import NotABranch

__all__ = ["AnyBranchScheduler", "BaseBasicScheduler", "Scheduler", "SingleBranchScheduler"]


class BaseBasicScheduler(BaseScheduler):
    """Waits until the tree is stable, then builds."""

    compare_attrs = ("treeStableTimer", "change_filter", "fileIsImportant", "onlyImportant", "reason")

    def __init__(
        self,
        name,
        *,
        treeStableTimer=None,
        builderNames=None,
        branch=NotABranch,
        branches=NotABranch,
        fileIsImportant=None,
        categories=None,
        reason=None,
        change_filter=None,
        onlyImportant=False,
        createAbsoluteSourceStamps=False,
        **kwargs,
    ):
        super().__init__(name, builderNames, **kwargs)
        self.fileIsImportant = check_callable("fileIsImportant", fileIsImportant)
        if change_filter is not None and not isinstance(change_filter, ChangeFilter):
            error(f"scheduler '{self.name}': change_filter must be a ChangeFilter")
            change_filter = None
        if not isinstance(treeStableTimer, (int, float, type(None))):
            error(f"scheduler '{self.name}': treeStableTimer must be a number of seconds, not {treeStableTimer!r}")
            treeStableTimer = None
        self.treeStableTimer, self.onlyImportant, self.reason = treeStableTimer, onlyImportant, reason
        self.createAbsoluteSourceStamps = createAbsoluteSourceStamps
        self.change_filter = self._combined(change_filter, branch, branches, categories)

    def _combined(self, change_filter, branch, branches, categories):
        """The filter that also holds what the other arguments say."""
        selected = self._branches(branch, branches, change_filter)
        if change_filter is not None and (selected is not NotABranch or categories is not None):
            error(f"scheduler '{self.name}': branch, branches and categories can't be combined with change_filter")
        if change_filter is not None:
            return change_filter
        return ChangeFilter(branch=selected, category=categories)

    def _branches(self, branch, branches, change_filter):
        raise NotImplementedError

    def own_data(self, encode):
        return {
            "tree_stable_timer": self.treeStableTimer or None,
            "change_filter": self.change_filter.as_data(encode.at("change_filter")),
            "file_is_important": encode.at("fileIsImportant").optional_callable(self.fileIsImportant),
            "only_important": bool(self.onlyImportant),
            "reason": reason_as_data(self.reason, encode),
            "create_absolute_source_stamps": bool(self.createAbsoluteSourceStamps),
        }


class SingleBranchScheduler(BaseBasicScheduler):
    """Changes of one branch."""

    kind = "single_branch"
    class_name = "buildbot.schedulers.basic.SingleBranchScheduler"

    def _branches(self, branch, branches, change_filter):
        if branches is not NotABranch:
            error(f"scheduler '{self.name}': SingleBranchScheduler has no argument branches")
        return branch


class AnyBranchScheduler(BaseBasicScheduler):
    """Changes of any branch, each branch with its own timer."""

    kind = "any_branch"
    class_name = "buildbot.schedulers.basic.AnyBranchScheduler"

    def _branches(self, branch, branches, change_filter):
        if branch is not NotABranch:
            error(f"scheduler '{self.name}': AnyBranchScheduler has no argument branch")
        return branches


Scheduler = SingleBranchScheduler
