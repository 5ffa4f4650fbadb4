"""What user functions are called with: small objects with the documented methods, made of the master's data.

The master writes an object as `{"$a": kind, …}`. An object that a function returns (a worker, a request) goes back as
`{"$a": kind, "id": …}` with the id that the master gave it.
"""

import datetime
import re

from buildbot.process.properties import Properties, render
from muster_host.calling import answered


def decode(value, host):
    """An argument as the object that the function expects."""
    if isinstance(value, list):
        return [decode(item, host) for item in value]
    if not isinstance(value, dict):
        return value
    if "$a" not in value:
        return {key: decode(item, host) for key, item in value.items()}
    return _KINDS[value["$a"]](value, host)


def encode_result(value):
    """A result, with the objects of the master as references."""
    if isinstance(value, _Given):
        return {"$a": value._given["$a"], "id": value._given.get("id")}
    if isinstance(value, (list, tuple)):
        return [encode_result(item) for item in value]
    if isinstance(value, dict):
        return {key: encode_result(item) for key, item in value.items()}
    return value


def time_of(seconds):
    """A time as Buildbot's data API gives it."""
    return None if seconds is None else datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)


class _Given:
    """An object of the master. An attribute that it doesn't have says so by name."""

    def __init__(self, given, host):
        self._given, self._host = given, host

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(f"{type(self).__name__}.{name} is not supported by Muster yet")

    def __eq__(self, other):
        return type(self) is type(other) and self._given == other._given

    def __hash__(self):
        return hash((type(self), repr(self._given.get("id"))))


def _properties(given):
    return Properties.fromDict({name: tuple(pair) for name, pair in given.items()})


class Props(Properties):
    """The properties of a build or of a scheduler's buildset, with what can be looked up beside them."""

    def __init__(self, given, host):
        super().__init__()
        self.properties = {name: tuple(pair) for name, pair in given.get("properties", {}).items()}
        self._given, self._host = given, host
        self.sourcestamps = given.get("sourcestamps", [])
        self.changes = [decode(change, host) for change in given.get("changes", ())]
        self.files = given.get("files", [])
        build = given.get("build")
        self.build = Build({**given, **build, "$a": "build"}, host, self) if build is not None else None
        self.master = Master(given, host)

    def lookUp(self, selector, *names):
        """The values of `Interpolate` that are no properties: (value,), or `None`."""
        if selector == "src":
            stamps = [stamp for stamp in self.sourcestamps if stamp.get("codebase", "") == names[0]]
            return (stamps[0][names[1]],) if stamps and names[1] in stamps[0] else None
        if selector == "worker":
            info = self._given.get("worker") or {}
            return (info[names[0]],) if names[0] in info else None
        return (self._host.secret(names[0]),)


class _WithProperties(_Given):
    """Everything that has the properties of a build."""

    @property
    def _props(self):
        raise NotImplementedError

    def getProperties(self):
        return self._props

    def getProperty(self, name, default=None):
        return self._props.getProperty(name, default)

    def hasProperty(self, name):
        return self._props.hasProperty(name)

    async def render(self, value):
        return render(value, self._props)


class Build(_WithProperties):
    """The build that a step or a renderer belongs to."""

    def __init__(self, given, host, props=None):
        super().__init__(given, host)
        self.properties = props if props is not None else Props({**given, "build": None}, host)
        self.buildid = given.get("buildid")
        self.number = given.get("number")
        self.results = given.get("results")
        self.reason = given.get("reason", "")
        self.workdir = given.get("workdir", "build")
        self.builder = Builder({"$a": "builder", "name": given.get("builder")}, host)
        self.workerforbuilder = WorkerForBuilder(
            {"$a": "worker_for_builder", "name": given.get("workername"), "info": given.get("worker")}, host
        )
        steps = given.get("steps", ())
        self.executedSteps = [Step({"$a": "step", **step, "build": None}, host, self) for step in steps]

    @property
    def _props(self):
        return self.properties

    def getBuild(self):
        return self

    def getUrl(self):
        return self._given.get("url")

    def getWorkerName(self):
        return self._given.get("workername")

    def getSourceStamp(self, codebase=""):
        stamps = [stamp for stamp in self.getAllSourceStamps() if stamp.codebase == codebase]
        return stamps[0] if stamps else None

    def getAllSourceStamps(self):
        return [SourceStamp(stamp) for stamp in self.properties.sourcestamps]

    def allChanges(self):
        return list(self.properties.changes)

    def allFiles(self):
        return [file for change in self.properties.changes for file in change.files]


class SourceStamp:
    """One sourcestamp."""

    def __init__(self, given):
        self.codebase = given.get("codebase", "")
        self.branch = given.get("branch")
        self.revision = given.get("revision")
        self.repository = given.get("repository", "")
        self.project = given.get("project", "")
        self.patch = given.get("patch")

    def asDict(self):
        return dict(vars(self))


class Step(_WithProperties):
    """The step that `doStepIf` or `hideStepIf` is about."""

    def __init__(self, given, host, build=None):
        super().__init__(given, host)
        self.name = given.get("name")
        self.results = given.get("results")
        self.stepid = given.get("stepid")
        self.build = build if build is not None else Build({"$a": "build", **(given.get("build") or {})}, host)

    @property
    def _props(self):
        return self.build.properties

    @property
    def worker(self):
        return self.build.workerforbuilder.worker

    def getWorkerName(self):
        return self.build.getWorkerName()


class Change(_Given):
    """A change, as `fileIsImportant` and filters see it."""

    def __init__(self, given, host):
        super().__init__(given, host)
        self.number = self.changeid = given.get("changeid")
        self.who = self.author = given.get("author", "")
        self.committer = given.get("committer")
        self.comments = given.get("comments", "")
        self.files = list(given.get("files", ()))
        self.revision, self.branch = given.get("revision"), given.get("branch")
        self.category, self.revlink = given.get("category"), given.get("revlink")
        self.repository, self.project = given.get("repository", ""), given.get("project", "")
        self.codebase, self.when = given.get("codebase", ""), given.get("when")
        self.properties = _properties(given.get("properties", {}))

    def asDict(self):
        return {key: value for key, value in self._given.items() if key != "$a"}


class Worker(_Given):
    """A worker."""

    def __init__(self, given, host):
        super().__init__(given, host)
        self.name = self.workername = given.get("name")
        self.info = given.get("info") or {}
        self.worker_system = self.info.get("system")
        self.worker_basedir = self.info.get("basedir")
        self.properties = _properties(given.get("properties") or {})


class WorkerForBuilder(_Given):
    """A worker where one builder meets it."""

    def __init__(self, given, host):
        super().__init__(given, host)
        self.worker = Worker({**given, "$a": "worker"}, host)


class Builder(_Given):
    """A builder."""

    def __init__(self, given, host):
        super().__init__(given, host)
        self.name = given.get("name")
        self.building = [decode(build, host) for build in given.get("building", ())]
        self.old_building = {}
        self.workers = [decode(worker, host) for worker in given.get("workers", ())]
        self.master = Master(given, host)

    def getBuilderId(self):
        return answered(self._given.get("builderid"))

    def getOldestRequestTime(self):
        return answered(time_of(self._told("oldest_request_time", "getOldestRequestTime")))

    def getNewestCompleteTime(self):
        return answered(time_of(self._told("newest_complete_time", "getNewestCompleteTime")))

    def get_highest_priority(self):
        return answered(self._told("highest_priority", "get_highest_priority"))

    def _told(self, key, method):
        if key not in self._given:
            raise AttributeError(f"Builder.{method} is not supported by Muster yet in this function")
        return self._given[key]


class RunningBuild(_Given):
    """A build that runs; that it does is all that is known."""


class BuildRequest(_Given):
    """A request for a build."""

    def __init__(self, given, host):
        super().__init__(given, host)
        self.id = given.get("id")
        self.bsid = given.get("buildsetid")
        self.buildername = given.get("builder")
        self.priority = given.get("priority", 0)
        self.submittedAt = given.get("submitted_at")
        self.reason = given.get("reason", "")
        self.properties = _properties(given.get("properties") or {})
        self.sources = {stamp.get("codebase", ""): SourceStamp(stamp) for stamp in given.get("sourcestamps", ())}


class Master(_Given):
    """The master itself."""

    def __init__(self, given, host):
        super().__init__({"$a": "master", "id": None}, host)
        self.config = _Config(given.get("buildbot_url", ""))
        if "resources" in given:
            self.data = _Data(given["resources"])


class _Data:
    """The data API, as far as a function needs it: what it may look up came along with the question."""

    def __init__(self, resources):
        self._resources = resources

    def get(self, path, **options):
        wanted = "/".join(str(part) for part in path)
        if wanted not in self._resources or any(value is not None for value in options.values()):
            raise NotImplementedError(f"master.data.get({tuple(path)!r}) is not supported by Muster yet in this function")
        return answered(resource(self._resources[wanted]))


def resource(value):
    """A resource with times as Buildbot's data API gives them."""
    if isinstance(value, list):
        return [resource(item) for item in value]
    if not isinstance(value, dict):
        return value
    is_time = lambda key, item: key.endswith("_at") and type(item) is int
    return {key: time_of(item) if is_time(key, item) else resource(item) for key, item in value.items()}


class _Config:
    def __init__(self, buildbot_url):
        self.buildbotURL = buildbot_url


def _match(given, host):
    """The match of a pattern, made again here."""
    return re.match(given["pattern"], given["text"])


_KINDS = {
    "props": Props,
    "build": Build,
    "step": Step,
    "change": Change,
    "worker": Worker,
    "worker_for_builder": WorkerForBuilder,
    "builder": Builder,
    "running_build": RunningBuild,
    "request": BuildRequest,
    "master": Master,
    "match": _match,
    "resource": lambda given, host: resource(given["value"]),
}
