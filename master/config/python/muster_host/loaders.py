"""The keys of `BuildmasterConfig`, in the order in which they are read."""

from buildbot.config.checks import rendered
from buildbot.config.errors import error
from muster_host import checks, mq, settings, www
from muster_host.encode import Encoder, NotEncodable
from muster_host.location import NOWHERE
from muster_host.not_yet import is_stand_in

#: Every key that Buildbot 4.3 knows, and the ones of which Muster says "not yet" when they are set.
KNOWN = frozenset(
    """
    buildbotNetUsageData buildbotURL buildCacheSize builders caches change_source changeCacheSize changeHorizon
    codebaseGenerator codebases collapseRequests configurators db db_url logCompressionLimit logCompressionMethod
    logEncoding logMaxSize logMaxTailSize machines manhole metrics mq multiMaster prioritizeBuilders projects properties
    protocols revlink schedulers secretsProviders select_next_worker services title titleURL user_managers validation
    workers www
    """.split()
)
#: Keys of which parts refer to each other.
_NEEDED = ("workers", "builders", "schedulers")
_NOT_YET = ("codebases", "machines", "manhole", "metrics", "revlink", "user_managers")


def read(config_file, values, functions, collected, complete=True):
    """The snapshot and the providers of secrets; errors are collected.

    Where the file was not executed `complete`ly, what is missing is no error of its own.
    """
    if not isinstance(values, dict):
        error("'BuildmasterConfig' must be a dictionary", always_raise=True)
    missing = {key for key, value in values.items() if is_stand_in(value)}
    values = {key: value for key, value in values.items() if key not in missing}
    unknown = sorted(str(key) for key in set(values) - KNOWN)
    if unknown:
        error(f"Unknown BuildmasterConfig key{'s' if len(unknown) > 1 else ''} {', '.join(unknown)}")
    _configure(values)
    for key in _NOT_YET:
        if values.get(key) and not _holds_stand_ins(values[key]):
            error(f"c['{key}'] is not supported by Muster yet")
    loaded = _Loaded(config_file, values, missing if complete else set(_NEEDED))
    checks.check(loaded)
    loaded.settings.warnings[:0] = collected.warnings
    try:
        snapshot = _snapshot(loaded, functions)
    except Exception:
        if not collected:
            raise
        # A consequence of what is wrong already.
        snapshot = {}
    return snapshot, loaded.providers


def _configure(values):
    configurators = values.get("configurators") or []
    if not isinstance(configurators, (list, tuple)):
        error("c['configurators'] must be a list")
        return
    for configurator in configurators:
        if is_stand_in(configurator):
            continue
        if not hasattr(configurator, "configure"):
            error(f"{configurator!r} is not an instance of ConfiguratorBase")
            continue
        configurator.configure(values)


def _holds_stand_ins(value):
    """Whether the value was refused already where its name was used."""
    items = value if isinstance(value, (list, tuple)) else [value]
    return bool(items) and all(is_stand_in(item) for item in items)


class _Loaded:
    """Everything that was read, as the objects of the configuration."""

    def __init__(self, config_file, values, incomplete):
        self.config_file, self.values = config_file, values
        #: Keys of which a part was refused: what others miss there is no error of its own.
        self.incomplete = incomplete | {key for key in _NEEDED if _has_stand_ins(values.get(key))}
        self.settings = settings.read_global(values)
        self.db = settings.read_db(values)
        self.mq = mq.read_mq(values)
        self.providers = settings.read_secrets_providers(values)
        self.caches = settings.read_caches(values)
        self.schedulers = self._schedulers()
        self.projects = self._projects()
        self.builders = self._builders()
        self.workers = self._workers()
        self.change_sources = self._change_sources()
        self.reporters = self._reporters()
        self.www = www.read_www(values)

    def _schedulers(self):
        from buildbot.schedulers.base import BaseScheduler

        schedulers = self.values.get("schedulers") or []
        text = "c['schedulers'] must be a list of Scheduler instances"
        if not isinstance(schedulers, (list, tuple)):
            error(text)
            return []
        schedulers = _without_stand_ins(schedulers)
        if not all(isinstance(scheduler, BaseScheduler) for scheduler in schedulers):
            error(text)
            return []
        by_name = {}
        for scheduler in schedulers:
            if scheduler.name in by_name:
                error(f"scheduler name '{scheduler.name}' used multiple times", location=scheduler.location)
            by_name[scheduler.name] = scheduler
        return list(by_name.values())

    def _projects(self):
        from buildbot.process.project import Project

        projects = self.values.get("projects") or []
        if not isinstance(projects, (list, tuple)):
            error("c['projects'] must be a list")
            return []
        good = []
        for project in _without_stand_ins(projects):
            if not isinstance(project, Project):
                error(f"{project!r} is not a project config in c['projects']")
            else:
                good.append(project)
        return good

    def _builders(self):
        from buildbot.config.builder import BuilderConfig

        builders = self.values.get("builders") or []
        if not isinstance(builders, (list, tuple)):
            error("c['builders'] must be a list")
            return []
        good = []
        for builder in _without_stand_ins(builders):
            if isinstance(builder, dict):
                builder = self._builder_of(builder)
            if builder is None:
                continue
            if not isinstance(builder, BuilderConfig):
                error(f"{builder!r} is not a builder config (in c['builders']")
            else:
                good.append(builder)
        return good

    @staticmethod
    def _builder_of(arguments):
        from buildbot.config.builder import BuilderConfig

        try:
            return BuilderConfig(**arguments)
        except TypeError as failed:
            error(f"builder '{arguments.get('name')}' in c['builders']: {failed}")
            return None

    def _workers(self):
        workers = self.values.get("workers") or []
        if not isinstance(workers, (list, tuple)):
            error("c['workers'] must be a list")
            return []
        workers = _without_stand_ins(workers)
        # One bad worker drops the whole list, as in Buildbot.
        good = [checks.good_worker(worker) for worker in workers]
        return checks.last_of_each(workers, "worker", self.settings.warnings) if all(good) else []

    def _change_sources(self):
        from buildbot.changes.base import ChangeSource

        sources = self.values.get("change_source") or []
        if not isinstance(sources, (list, tuple)):
            sources = [sources]
        sources = _without_stand_ins(sources)
        for source in sources:
            if not isinstance(source, ChangeSource):
                error("c['change_source'] must be a list of change sources")
                return []
        return checks.last_of_each(sources, "change source", self.settings.warnings)


    def _reporters(self):
        from buildbot.reporters.mail import MailNotifier

        services = self.values.get("services") or []
        if not isinstance(services, (list, tuple)):
            error("c['services'] must be a list")
            return []
        reporters = {}
        for service in _without_stand_ins(services):
            if not isinstance(service, MailNotifier):
                error(f"c['services']: {service!r} is not supported by Muster yet")
            elif service.name in reporters:
                error(f"Duplicate service name '{service.name}'", location=service.location)
            else:
                reporters[service.name] = service
        return list(reporters.values())


def _has_stand_ins(items):
    return isinstance(items, (list, tuple)) and any(is_stand_in(item, is_use=False) for item in items)


def _without_stand_ins(items):
    return [item for item in items if not is_stand_in(item)]


def _snapshot(loaded, functions):
    # What stands in no object of its own has only the name of its key.
    encode = Encoder(functions, "", NOWHERE)
    try:
        snapshot = {
            "config_file": loaded.config_file,
            **settings.global_data(loaded.settings, encode),
            "db": {"db_url": encode.at("db", "db_url")(loaded.db)},
            "mq": mq.mq_data(loaded.mq, encode.at("mq", "router_url")),
            "caches": loaded.caches,
            "www": www.www_data(loaded.www, encode.at("www")),
            "workers": _each(loaded.workers, encode.at("workers")),
            "builders": [_builder(builder, encode.at("builders", builder.name).of(builder)) for builder in loaded.builders],
            "schedulers": _each(loaded.schedulers, encode.at("schedulers")),
            "change_sources": _each(loaded.change_sources, encode.at("change_source")),
            "reporters": _each(loaded.reporters, encode.at("services")),
            "locks": [lock.as_data() for lock in checks.all_locks(loaded)],
            "projects": [project.as_data() for project in loaded.projects],
            "warnings": loaded.settings.warnings,
        }
    except NotEncodable as refused:
        error(str(refused))
        return {}
    for part in ("caches", "www", "workers", "schedulers", "change_sources", "reporters", "locks"):
        _check_integers(f"c['{_KEYS.get(part, part)}']", snapshot[part])
    snapshot["has_callables"] = bool(len(functions) or loaded.providers)
    return snapshot


def _each(items, encode):
    made = (encode.data_of(item, item.name) for item in items)
    return [data for data in made if data is not None]


#: Parts of the snapshot whose key in the configuration is another word.
_KEYS = {"change_sources": "change_source", "reporters": "services"}
#: What has values of the user's, of any size.
_VALUES = frozenset({"properties", "default_properties", "default"})


def _check_integers(where, value):
    """Says which numbers are larger than what they are for; properties and arguments of steps may be of any size."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        shown = str(value) if value.bit_length() < 256 else f"an integer of {value.bit_length()} bits"
        error(f"{where}: {shown} is out of range: numbers of 64 bits are taken here")
    elif isinstance(value, dict) and "$r" not in value:
        for key, item in value.items():
            if key not in _VALUES:
                _check_integers(f"{where}[{key!r}]", item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            name = item.get("name", index) if isinstance(item, dict) else index
            _check_integers(f"{where}[{name!r}]", item)


def _builder(builder, encode):
    from buildbot.process.buildstep import locks_as_data

    factory = builder.factory
    steps = [step_factory.buildStep() for step_factory in factory.steps]
    return {
        "name": builder.name,
        "worker_names": builder.workernames,
        "builddir": builder.builddir,
        "worker_builddir": builder.workerbuilddir,
        "tags": builder.tags,
        "next_worker": encode.at("nextWorker").optional_callable(builder.nextWorker),
        "next_build": encode.at("nextBuild").optional_callable(builder.nextBuild),
        "can_start_build": encode.at("canStartBuild").optional_callable(builder.canStartBuild),
        "locks": locks_as_data(builder.locks, encode.at("locks")),
        "env": encode.at("env")(builder.env),
        "properties": encode.at("properties").values(builder.properties),
        "default_properties": encode.at("defaultProperties").values(builder.defaultProperties),
        "collapse_requests": settings.collapse_data(builder.collapseRequests, encode.at("collapseRequests")),
        "description": builder.description,
        "description_format": builder.description_format,
        "description_html": rendered(builder.description, builder.description_format),
        "project": builder.project,
        "do_build_if": encode.at("do_build_if").condition(True if builder.do_build_if is None else builder.do_build_if),
        "factory": {
            "workdir": encode.at("factory", "workdir")(factory.workdir),
            "steps": [encode.data_of(step, "steps", index) for index, step in enumerate(steps)],
        },
        "source": builder.location.as_data(),
    }
