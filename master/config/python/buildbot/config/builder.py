"""Builders."""

from buildbot import util
from buildbot.config.checks import check_markdown, check_names_of_properties, check_param_str_none
from buildbot.config.errors import error
from buildbot.interfaces import IRenderable
from muster_host.location import caller

#: Names that begin with an underscore belong to the master.
_OWN_NAMES = ("__Janitor",)


class BuilderConfig(util.ComparableMixin):
    """One builder: which workers, which steps."""

    def __init__(
        self,
        name=None,
        workername=None,
        workernames=None,
        builddir=None,
        workerbuilddir=None,
        factory=None,
        tags=None,
        nextWorker=None,
        nextBuild=None,
        locks=None,
        env=None,
        properties=None,
        collapseRequests=None,
        description=None,
        description_format=None,
        canStartBuild=None,
        defaultProperties=None,
        project=None,
        do_build_if=None,
    ):
        self.location = caller()
        self.name = self._checked_name(name)
        self._shown = "<unknown>" if self.name is None else self.name
        self.factory = self._checked_factory(factory)
        self.workernames = self._checked_workers(workername, workernames)
        self.builddir = util.safeTranslate(self._shown) if builddir is None else builddir
        self.workerbuilddir = self.builddir if workerbuilddir is None else workerbuilddir
        self.tags = self._checked_tags(tags)
        self.project = project
        if not isinstance(project, (str, type(None))):
            error("builder project must be None or str")
            self.project = None
        self.nextWorker = self._checked_callable("nextWorker", nextWorker)
        self.nextBuild = self._checked_callable("nextBuild", nextBuild)
        self.canStartBuild = self._checked_callable("canStartBuild", canStartBuild)
        self.locks = [] if locks is None else locks
        self.env = self._checked_env(env)
        self.properties = dict(properties or {})
        self.defaultProperties = dict(defaultProperties or {})
        check_names_of_properties(self.properties, f"Builder {self._shown} property")
        check_names_of_properties(self.defaultProperties, f"Builder {self._shown} default property")
        self.collapseRequests = collapseRequests
        self.description = check_param_str_none(description, "BuilderConfig", "description")
        self.description_format = check_markdown(description_format, "builder")
        self.do_build_if = do_build_if

    compare_attrs = (
        "name", "workernames", "builddir", "workerbuilddir", "tags", "locks", "env", "properties", "defaultProperties",
        "collapseRequests", "description", "description_format", "project",
    )  # fmt: skip

    def _checked_name(self, name):
        if isinstance(name, bytes):
            try:
                name = name.decode("ascii")
            except UnicodeDecodeError:
                error("builder names must be unicode or ASCII")
                return None
        if not name or not isinstance(name, str):
            error("builder's name is required")
            return None
        if name.startswith("_") and name not in _OWN_NAMES:
            error(f"builder names must not start with an underscore: '{name}'")
        return name

    def _checked_factory(self, factory):
        from buildbot.process.factory import BuildFactory
        from muster_host.not_yet import is_stand_in

        if factory is None:
            error(f"builder '{self._shown}': has no factory")
        elif not isinstance(factory, BuildFactory) and not is_stand_in(factory):
            error(f"builder '{self._shown}': factory is not a BuildFactory instance")
            return None
        return factory

    def _checked_workers(self, workername, workernames):
        if isinstance(workernames, str):
            workernames = [workernames]
        if workernames is not None and not isinstance(workernames, (list, tuple)):
            error(f"builder '{self._shown}': workernames must be a list or a string")
            return []
        workernames = list(workernames or [])
        if workername is not None and not isinstance(workername, str):
            error(f"builder '{self._shown}': workername must be a string but it is {workername!r}")
            return workernames
        if workername:
            workernames.append(workername)
        if not workernames:
            error(f"builder '{self._shown}': at least one workername is required")
        return workernames

    def _checked_tags(self, tags):
        if not tags:
            return []
        if not isinstance(tags, list):
            error(f"builder '{self._shown}': tags must be a list")
            return []
        if any(not isinstance(tag, str) for tag in tags):
            error(f"builder '{self._shown}': tags list contains something that is not a string")
            return []
        twice = [tag for tag in dict.fromkeys(tags) if tags.count(tag) > 1]
        if twice:
            error(f"builder '{self._shown}': tags list contains duplicate tags: {' '.join(twice)}")
        return tags

    def _checked_callable(self, name, value):
        if value and not callable(value):
            error(f"{name} must be a callable")
            return None
        return value or None

    def _checked_env(self, env):
        if env and not isinstance(env, dict) and not IRenderable.providedBy(env):
            error("builder's env must be a dictionary")
            return {}
        return env or {}

    def getConfigDict(self):
        """The arguments as a dictionary, for configurations that look into it."""
        return {**{name: getattr(self, name) for name in self.compare_attrs}, "factory": self.factory}

    def __getitem__(self, name):
        return self.getConfigDict()[name]
