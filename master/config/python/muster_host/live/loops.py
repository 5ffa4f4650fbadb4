"""Where steps run: a thread with a loop for each of them, or one reactor for all where Twisted is in use.

PROTOCOL.md says why. Both kinds offer the same: `call` from any thread, and the rest from the loop's own.
"""

import asyncio
import sys
import threading
import traceback

#: How often the watchdog asks whether the reactor still turns, and for how long it may not before its stack is printed.
_WATCHED_EVERY = 5.0
_STUCK_AFTER = 30.0


def for_step(name):
    """The loop for a new step."""
    return _reactor_thread() if "twisted.internet.defer" in sys.modules else StepThread(name)


class StepThread:
    """A thread with an asyncio loop, for one step."""

    def __init__(self, name):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=f"step {name}", daemon=True)
        self._thread.start()

    def _run(self):
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        try:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()

    def call(self, function, *args):
        """Calls it in the loop's thread, soon."""
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            # The loop is closed: the step is over, and nobody waits.
            pass

    def answer(self):
        """Something to be awaited that is fulfilled later."""
        return self._loop.create_future()

    @staticmethod
    def fulfil(answer, value=None, error=None):
        if answer.done():
            return
        if error is None:
            answer.set_result(value)
        else:
            answer.set_exception(error)
            # Whoever doesn't wait for it is not told twice.
            answer.exception()

    def mapped(self, answer, value):
        """The same answer with another value."""
        made = self._loop.create_future()

        def answered(done):
            if done.cancelled():
                made.cancel()
            else:
                self.fulfil(made, value, done.exception())

        answer.add_done_callback(answered)
        return made

    def start(self, coroutine):
        """Runs it beside what runs; gives something to await."""
        return self._loop.create_task(coroutine)

    def later(self, seconds, function, *args):
        return self._loop.call_later(seconds, function, *args)

    def close(self):
        """The step is over. What it left behind is cancelled."""
        self.call(self._stop)

    def _stop(self):
        left = [task for task in asyncio.all_tasks(self._loop) if task is not asyncio.current_task(self._loop)]
        for task in left:
            task.cancel()
        # They get a turn to clean up.
        self._loop.call_soon(self._loop.stop)


class ReactorThread:
    """The thread of Twisted's reactor, for all steps."""

    def __init__(self):
        from twisted.internet import defer, reactor

        self._defer, self._reactor = defer, reactor
        self._turned = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reactor", daemon=True)
        self._thread.start()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def _run(self):
        if not self._reactor.running:
            self._reactor.run(installSignalHandlers=False)

    def _watch(self):
        silent, told = 0.0, False
        while True:
            self._turned.clear()
            self._reactor.callFromThread(self._turned.set)
            if self._turned.wait(_WATCHED_EVERY):
                told, silent = False, 0.0
                threading.Event().wait(_WATCHED_EVERY)
                continue
            silent += _WATCHED_EVERY
            if silent >= _STUCK_AFTER and not told:
                told = True
                frame = sys._current_frames().get(self._thread.ident)
                stack = "".join(traceback.format_stack(frame)) if frame is not None else ""
                print(
                    f"the reactor of all custom steps has not turned for {silent:.0f} s; it is here:\n{stack}",
                    file=sys.stderr,
                )

    def call(self, function, *args):
        self._reactor.callFromThread(function, *args)

    def answer(self):
        return self._defer.Deferred()

    @staticmethod
    def fulfil(answer, value=None, error=None):
        if answer.called:
            return
        if error is None:
            answer.callback(value)
        else:
            answer.errback(error)

    @staticmethod
    def mapped(answer, value):
        return answer.addCallback(lambda _: value)

    def start(self, coroutine):
        return self._defer.ensureDeferred(coroutine)

    def later(self, seconds, function, *args):
        return self._reactor.callLater(seconds, function, *args)

    def close(self):
        """Others go on here."""


_shared = None
_making = threading.Lock()


def _reactor_thread():
    global _shared
    with _making:
        if _shared is None:
            _shared = ReactorThread()
        return _shared
