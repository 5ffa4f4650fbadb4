"""What a step of the configuration's own class may call and override: the documented methods of `BuildStep`.

A mixin of `buildbot.process.buildstep.BuildStep`. At load nothing of it acts; when the step runs, `run.py` has given it its
conversation with the master.
"""

import json
import sys

from buildbot import util
from buildbot.process.results import CANCELLED, SUCCESS, statusToString

#: What the worker did, by its name of the reason.
_TIMED_OUT = ("timeout", "timeout_without_output")
_MAX_LINES = "max_lines_failure"


class NotRunning(RuntimeError):
    """The method is for a step that runs, and this one only stands in a factory."""


class LiveStep:
    """Effects by the names that Buildbot gives them."""

    #: The conversation with the master while the step runs.
    _conversation = None
    #: Log observers that wait for their logs: (name of the log, observer).
    _pending_observers = ()

    build = None
    master = None
    worker = None
    remote = None
    cmd = None
    results = None
    stepid = None
    number = None
    stopped = False
    timed_out = False
    max_lines_reached = False
    rendered = False

    # -- the run itself

    def run(self):
        """What the step does; here: what the engine's own step of this kind does."""
        kind = self.offered_class().kind
        if kind is None:
            raise NotImplementedError("A custom build step must implement run()")
        return self._running().loop.start(self._run_stock(kind))

    async def _run_stock(self, kind):
        args = {name: value for name, value in self.own_arguments().items()}
        effect = {"effect": "stock", "kind": kind, "args": _json(args, f"{kind} arguments"), "workdir": self.workdir}
        answered = await self._conversation.ask(effect)
        self.build.getProperties().changed(answered)
        self._stock_summary = answered.get("summary")
        return answered["results"]

    def interrupt(self, reason):
        """Somebody stops the build. The master has told the worker already."""
        if not self.stopped:
            self.addCompleteLog("cancelled", str(reason))
        self.stopped = True
        cmd = self.cmd
        if cmd is not None and cmd.active:
            cmd.interrupt(reason)
        return self._done()

    def _running(self):
        if self._conversation is None:
            raise NotRunning(f"step '{self.name}' does not run: this is for its run() and what that calls")
        return self._conversation

    def _done(self, value=None):
        """`value`, as something to be awaited."""
        loop = self._running().loop
        answer = loop.answer()
        loop.fulfil(answer, value)
        return answer

    # -- properties

    def getProperties(self):
        return self.build.getProperties()

    def getProperty(self, name, default=None):
        return self.build.getProperties().getProperty(name, default)

    def hasProperty(self, name):
        return self.build.getProperties().hasProperty(name)

    has_key = hasProperty

    def setProperty(self, name, value, source="Step", runtime=True):
        return self.build.getProperties().setProperty(name, value, source, runtime=runtime)

    def render(self, value):
        """The value with everything in it rendered, later."""
        from muster_host.live.rendering import rendered

        return self._running().loop.start(rendered(value, self.build.getProperties()))

    # -- logs and links

    def addLog(self, name, type="s", logEncoding=None):
        """A new log, to be awaited."""
        log = self._new_log(name, type)
        return self._running().loop.mapped(log.added, log)

    def _new_log(self, name, type):
        from buildbot.process.log import Log

        conversation = self._running()
        number, added = conversation.perform({"effect": "add_log", "name": str(name), "kind": type})
        log = Log.of_type(type, self, str(name), number, added)
        self._logs.setdefault(log.name, log)
        self._connect_observers()
        return log

    def _log_of_master(self, name, type, number=None):
        """A log that the master has made."""
        from buildbot.process.log import Log

        if name not in self._logs:
            self._logs[name] = Log.of_type(type, self, name, number, None)
            self._connect_observers()
        return self._logs[name]

    def getLog(self, name):
        """The log of that name; a KeyError where the step has none."""
        return self._logs[name]

    def addCompleteLog(self, name, text):
        """A log of text."""
        return self._complete_log(name, "t", text)

    def addHTMLLog(self, name, html):
        """A log of HTML."""
        return self._complete_log(name, "h", html)

    def _complete_log(self, name, type, text):
        log = self._new_log(name, type)
        log.addContent(text)
        return log.finish()

    def addLogWithFailure(self, why, logprefix=""):
        """The logs that an exception leaves; `why` is a Failure of Twisted or an exception."""
        from muster_host.live.failures import texts_of

        text, html = texts_of(why)
        self.addCompleteLog(logprefix + "err.text", text)
        return self.addHTMLLog(logprefix + "err.html", html)

    def addLogWithException(self, why, logprefix=""):
        return self.addLogWithFailure(why, logprefix)

    def addLogObserver(self, logname, observer):
        """Shows the observer what comes into the log, from its beginning."""
        observer.setStep(self)
        self._pending_observers = [*self._pending_observers, (logname, observer)]
        if self._conversation is not None:
            self._connect_observers()

    def _connect_observers(self):
        left = []
        for name, observer in self._pending_observers:
            if name in self._logs:
                observer.setLog(self._logs[name])
            else:
                left.append((name, observer))
        self._pending_observers = left

    def addURL(self, name, url):
        """A link of the step."""
        return self._running().ask({"effect": "add_url", "name": str(name), "url": str(url)})

    # -- commands

    def runCommand(self, command):
        """Runs a command on the worker; itself when it is over, to be awaited."""
        return self._running().loop.start(self._run_command(command))

    async def _run_command(self, command):
        if self.stopped:
            return CANCELLED
        self.cmd = command
        command.worker = self.worker
        try:
            await command.run(self, self.remote, self.build.builder.name)
        finally:
            self.cmd = None
        if command.remote_failure_reason in _TIMED_OUT:
            self.timed_out = True
        if command.remote_failure_reason == _MAX_LINES:
            self.max_lines_reached = True
        return command

    def checkWorkerHasCommand(self, command):
        """Raises where the worker doesn't know a command."""
        from muster_host.live.commands import KNOWN

        if command not in KNOWN:
            from buildbot.interfaces import WorkerSetupError

            raise WorkerSetupError(f"worker is too old, does not know about {command}")

    def workerVersion(self, command, oldversion=None):
        """The version of the worker's commands."""
        return self.build.getWorkerCommandVersion(command, oldversion)

    def workerVersionIsOlderThan(self, command, minversion):
        version = self.workerVersion(command, None)
        as_numbers = lambda text: [int(part) for part in text.split(".")]
        return version is None or as_numbers(version) < as_numbers(minversion)

    def getWorkerName(self):
        return self.build.getWorkerName()

    # -- what people see

    def getCurrentSummary(self):
        """What is shown while the step runs."""
        text = _words(self.description)
        if not text:
            return {"step": "running"}
        return {"step": " ".join([*text, *_words(self.descriptionSuffix)])}

    def getResultSummary(self):
        """What is shown when the step is over."""
        done = _words(self.descriptionDone) or _words(self.description)
        stock = getattr(self, "_stock_summary", None)
        if stock is not None and not done:
            return {"step": stock}
        text = " ".join([*(done or ["finished"]), *_words(self.descriptionSuffix)])
        return {"step": text + self._result_suffix()}

    def getBuildResultSummary(self):
        """The same, with what the build's summary gets."""
        return self._running().loop.start(self._build_result_summary())

    async def _build_result_summary(self):
        from muster_host.live.rendering import awaited

        summary = await awaited(self.getResultSummary())
        if not isinstance(summary, dict):
            raise TypeError(f"getResultSummary() must return a dictionary, not {summary!r}")
        policy = self.updateBuildSummaryPolicy
        wanted = policy if isinstance(policy, list) else _default_policy(self) if policy is None else None
        counts = bool(policy) if wanted is None else self.results in wanted
        if counts and "step" in summary and "build" not in summary:
            summary["build"] = summary["step"]
        return summary

    def _result_suffix(self):
        suffix = "" if self.results == SUCCESS or self.results is None else f" ({statusToString(self.results)})"
        if self.timed_out:
            suffix += " (timed out)"
        elif self.max_lines_reached:
            suffix += " (max lines reached)"
        return suffix

    def updateSummary(self):
        """Shows `getCurrentSummary()` now."""
        return self._running().loop.start(self._update_summary())

    async def _update_summary(self):
        from muster_host.live.rendering import awaited

        summary = await awaited(self.getCurrentSummary() if self.results is None else self.getResultSummary())
        if self.results is None and summary.get("step"):
            self._running().ask({"effect": "set_state", "text": str(summary["step"])})

    # -- statistics and progress

    def hasStatistic(self, name):
        return name in self._statistics

    def getStatistic(self, name, default=None):
        return self._statistics.get(name, default)

    def getStatistics(self):
        return dict(self._statistics)

    def setStatistic(self, name, value):
        self._statistics[name] = value

    def setProgress(self, metric, value):
        """Buildbot 4.3 shows progress nowhere."""

    # -- how a step comes to its build

    def setBuild(self, build):
        self.build, self.master = build, build.master

    def setWorker(self, worker):
        self.worker = worker

    def setDefaultWorkdir(self, workdir):
        if self.workdir is None:
            self.workdir = workdir

    def setupProgress(self):
        """Nothing to do."""

    def is_exact_step_class(self, klass):
        return type(self) is klass

    def set_step_arg(self, name, value):
        """Another argument, before the step is built."""
        self._recipe.set(name, value)
        if self._conversation is None:
            setattr(self, name, value)

    def get_step_factory(self):
        return self._recipe

    def setBuildData(self, name, value, source):
        raise _missing(self, "setBuildData")

    def addTestResultSets(self):
        return self._done()

    def addTestResultSet(self, description, category, value_unit):
        raise _missing(self, "addTestResultSet")

    def addTestResult(self, setid, value, **more):
        raise _missing(self, "addTestResult")

    def acquireLocks(self, res=None):
        raise _missing(self, "acquireLocks")

    def startStep(self, remote):
        raise _missing(self, "startStep")

    def begin_live(self, conversation):
        """The step runs from now on."""
        self._conversation = conversation
        self._logs, self._statistics = {}, {}


def _missing(step, name):
    return NotImplementedError(f"{type(step).__name__}.{name}() is not supported by Muster yet")


def _default_policy(step):
    from buildbot.process.results import EXCEPTION, FAILURE, RETRY, WARNINGS

    policy = [EXCEPTION, RETRY, CANCELLED]
    if step.flunkOnFailure or step.haltOnFailure or step.warnOnFailure:
        policy.append(FAILURE)
    if step.warnOnWarnings or step.flunkOnWarnings:
        policy.append(WARNINGS)
    return policy


def _words(description):
    """The words of a description: a text, or a list of texts."""
    if not description:
        return []
    return [str(word) for word in util.flatten(description)] if isinstance(description, (list, tuple)) else [description]


def _json(value, what):
    try:
        return json.loads(json.dumps(value))
    except (TypeError, ValueError) as failed:
        raise TypeError(f"{what}: {failed}") from None


def warn(text):
    """Into the master's log."""
    print(text, file=sys.stderr)
