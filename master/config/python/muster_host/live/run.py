"""Runs one step of the configuration's own: makes it, gives it its build, awaits its `run`, and tells how it ended."""

import asyncio
import sys

from buildbot.process.results import ALL_RESULTS, CANCELLED, EXCEPTION, FAILURE, RETRY
from muster_host.live import loops
from muster_host.live.conversation import Cancelled, Conversation, Dropped
from muster_host.live.failures import texts_of
from muster_host.live.rendering import awaited, rendered

#: Seconds that a step has to end after somebody stopped its build; then its coroutine is cancelled.
INTERRUPT_GRACE = 30.0


class StepRun:
    """One step that runs."""

    def __init__(self, number, wanted, host, on_end):
        self._wanted, self._host, self._on_end = wanted, host, on_end
        self._step, self._running, self._interrupted = None, None, None
        self._loop = loops.for_step(wanted.get("name") or number)
        self._observer_failure = None
        self.conversation = Conversation(number, host.send, self._loop)

    def begin(self):
        """From the thread that reads the pipe."""
        found = self._host.functions.get(self._wanted["handle"])
        if found is None or found[1]["digest"] != self._wanted.get("digest"):
            reason = "the configuration has no step" if found is None else "the code has changed of the step"
            self.conversation.refuse(f"{reason} {self._wanted['handle']}")
            self._over()
            return
        self._loop.call(self._start, found[0])

    def _start(self, recipe):
        self._running = self._loop.start(self._conduct(recipe))

    def interrupt(self, reason):
        self._loop.call(self._interrupt, reason)

    def drop(self):
        """From the thread that reads the pipe: the step is not wanted any more."""
        self.conversation.stop()
        self._loop.call(self._cancel)

    def _interrupt(self, reason):
        if self._interrupted is not None or self.conversation.is_over:
            return
        self._interrupted = reason
        self._loop.later(INTERRUPT_GRACE, self._cancel)
        if self._step is not None:
            self._step.build.stopped = True
            self._loop.start(self._tell_interrupt(reason))

    async def _tell_interrupt(self, reason):
        try:
            await awaited(self._step.interrupt(reason))
        except Exception as failed:
            print(f"interrupt() of step '{self._step.name}' failed:\n{texts_of(failed)[0]}", file=sys.stderr)
        finally:
            # Also where a class of the user's own forgot to.
            self._step.stopped = True

    def _cancel(self):
        if self._running is not None:
            self._running.cancel()

    async def _conduct(self, recipe):
        results, summary = EXCEPTION, {}
        try:
            results = await self._results(recipe)
            summary = await self._last_words(results)
            results = summary.pop("results")
        except (Dropped, GeneratorExit):
            self.conversation.stop()
        except BaseException as failed:
            # Also SystemExit: the host goes on.
            if self.conversation.is_over:
                return
            print(f"a step could not be ended:\n{texts_of(failed)[0]}", file=sys.stderr)
            summary = {"summary": f"finished (exception): {type(failed).__name__}"}
            results = EXCEPTION
        finally:
            if self.conversation.is_over:
                self.conversation.gone()
            else:
                self.conversation.end({"results": results, **summary})
            self._over()

    def _over(self):
        self._on_end(self.conversation.number)
        self._loop.close()

    async def _results(self, recipe):
        """Makes the step and runs it; its result."""
        from buildbot.process.buildstep import BuildStepCancelled, BuildStepFailed

        try:
            results = await self._run(recipe)
        except BuildStepFailed:
            results = FAILURE
        except (BuildStepCancelled, Cancelled):
            results = CANCELLED
        except (Dropped, GeneratorExit):
            raise
        except BaseException as failed:
            if self.conversation.is_over:
                raise Dropped() from None
            if _is_cancellation(failed) and self._interrupted is not None:
                results = CANCELLED
            else:
                results = self._failed(failed)
        if self._interrupted is not None and results not in (RETRY, CANCELLED):
            # As in Buildbot: what was stopped half-way has no result of its own.
            results = EXCEPTION
        return results

    async def _run(self, recipe):
        step = recipe()
        step.begin_live(self.conversation)
        step.observer_failed = self._observer_failed
        self._attach(step)
        self._step = step
        step.rendered = False
        names = [name for base in type(step).__mro__ for name in vars(base).get("renderables", ())]
        for name in dict.fromkeys(names):
            if hasattr(step, name):
                value = getattr(step, name)
                made = await rendered(value, step.build.properties)
                if made is not value:
                    setattr(step, name, made)
        step.rendered = True
        step.setupProgress()
        await awaited(step.addTestResultSets())
        await step.updateSummary()
        if self._interrupted is not None:
            if not step.stopped:
                await self._tell_interrupt(self._interrupted)
            return CANCELLED
        results = await awaited(step.run())
        if results not in ALL_RESULTS or isinstance(results, bool):
            raise RuntimeError(f"run() of step '{step.name}' must give a result code, not {results!r}")
        return results

    def _attach(self, step):
        from muster_host.live.build import LiveBuild

        wanted = self._wanted
        build = LiveBuild({**wanted["build"], "$a": "build"}, self._host, self.conversation, wanted)
        self.conversation.changed = build.properties.changed
        step.name = wanted.get("name") or step.name
        step.number, step.stepid = wanted.get("number"), wanted.get("stepid")
        build.currentStep = step
        step.setBuild(build)
        step.setWorker(build.workerforbuilder.worker)
        step.setDefaultWorkdir(build.workdir)

    def _observer_failed(self, log, failed):
        print(f"an observer of {getattr(log, 'name', log)} failed:\n{texts_of(failed)[0]}", file=sys.stderr)
        if self._observer_failure is None:
            self._observer_failure = failed

    def _failed(self, failed):
        """Tells an exception in the step's logs; its result."""
        text, html = texts_of(failed)
        if self._step is not None:
            self._step.addLogWithFailure(failed)
            return EXCEPTION
        # There is no step yet that could do it.
        for name, kind, content in (("err.text", "t", text), ("err.html", "h", html)):
            log, _answer = self.conversation.perform({"effect": "add_log", "name": name, "kind": kind})
            self.conversation.ask({"effect": "append", "log": log, "stream": "o", "text": content})
        return EXCEPTION

    async def _last_words(self, results):
        """Finishes the logs; what people see of the end, and the result after that."""
        step = self._step
        if step is None:
            return {"results": results, "summary": "finished (exception)"}
        for log in list(step._logs.values()):
            log.end()
        if self._observer_failure is not None and results not in (RETRY, CANCELLED):
            self._failed(self._observer_failure)
            results = EXCEPTION
        step.results = results
        try:
            summary = await step.getBuildResultSummary()
        except Exception as failed:
            results = step.results = self._failed(failed)
            summary = {"step": "finished (exception)", "build": "finished (exception)"}
        text = summary.get("step")
        if not isinstance(text, str):
            text = "finished" + step._result_suffix() if text is None else str(text)
        build = summary.get("build")
        return {"results": results, "summary": text, "build_summary": None if build is None else str(build)}


def _is_cancellation(failed):
    defer = sys.modules.get("twisted.internet.defer")
    return isinstance(failed, asyncio.CancelledError) or (defer is not None and isinstance(failed, defer.CancelledError))


class Runs:
    """All steps that run in this host."""

    #: Most of them; more are refused.
    MAX = 1000

    def __init__(self, host):
        self._host, self._by_number = host, {}

    def begin(self, number, wanted):
        if len(self._by_number) >= self.MAX:
            self._host.send({"id": number, "refused": f"{self.MAX} steps run here already"})
            return
        run = self._by_number[number] = StepRun(number, wanted, self._host, self._ended)
        run.begin()

    def _ended(self, number):
        self._by_number.pop(number, None)

    def message(self, number, kind, value):
        """A message of a conversation; one that is over has none to get it."""
        run = self._by_number.get(number)
        if run is None:
            return
        if kind == "outcome":
            run.conversation.outcome(value)
        elif kind == "lines":
            run.conversation.lines(value)
        elif kind == "interrupt":
            run.interrupt(value["reason"])
        elif kind == "drop":
            run.drop()


