"""The host's end of one conversation about one step: effects out, outcomes and lines in."""

import threading

#: Bytes of effects that the master has not answered; whoever asks for more waits.
WRITE_CREDIT = 1 << 20
#: What each effect counts beside the text that it holds.
_SIZE = 256


class Cancelled(Exception):
    """The build is stopped: the master begins nothing new."""


class EffectFailed(Exception):
    """What the step asked for can't be done; the text says why."""


class Dropped(BaseException):
    """Nobody wants this step here any more. No `except Exception` of the user's keeps it."""


_ERRORS = {"cancelled": Cancelled}


class Conversation:
    """One step's way to the master. `perform` and `write` may be called from any thread, the rest from the loop's."""

    def __init__(self, number, send, loop):
        self.number, self.loop, self._send = number, loop, send
        self._lock = threading.Lock()
        self._room = threading.Condition(threading.Lock())
        self._next = 1
        self._waiting = {}
        self._sizes = {}
        self._unanswered = 0
        #: Commands that want their lines, by their numbers.
        self.readers = {}
        #: Called with what an outcome changed.
        self.changed = lambda changes: None
        self.is_over = False

    def perform(self, effect, size=0):
        """Asks for an effect; gives its number and something to be awaited."""
        size += _SIZE
        self._wait_for_room()
        answer = self.loop.answer()
        # Numbers have the order of the pipe.
        with self._lock:
            if self.is_over:
                raise Dropped()
            number, self._next = self._next, self._next + 1
            self._waiting[number] = answer
            with self._room:
                self._sizes[number] = size
                self._unanswered += size
            try:
                self._send({"id": self.number, "perform": {"seq": number, "effect": effect}})
            except (TypeError, ValueError):
                # It is no JSON, and nothing was sent.
                self._next -= 1
                del self._waiting[number]
                self._answered(number)
                raise
        return number, answer

    def ask(self, effect, size=0):
        """The same, without the number."""
        return self.perform(effect, size)[1]

    def _wait_for_room(self):
        with self._room:
            while self._unanswered >= WRITE_CREDIT and not self.is_over:
                self._room.wait()

    def _answered(self, number):
        with self._room:
            self._unanswered -= self._sizes.pop(number, 0)
            self._room.notify_all()

    def outcome(self, message):
        """From the thread that reads the pipe."""
        self._answered(message["seq"])
        self.loop.call(self._take, message)

    def _take(self, message):
        with self._lock:
            answer = self._waiting.pop(message["seq"], None)
        if message.get("changed"):
            self.changed(message["changed"])
        if answer is None:
            return
        error = message.get("error")
        if error is None:
            self.loop.fulfil(answer, message.get("value"))
        else:
            self.loop.fulfil(answer, error=_ERRORS.get(error["kind"], EffectFailed)(error["text"]))

    def lines(self, message):
        """From the thread that reads the pipe."""
        self.loop.call(self._read, message)

    def _read(self, message):
        try:
            reader = self.readers.get(message["seq"])
            if reader is not None and not self.is_over:
                reader(message)
        finally:
            self._send({"id": self.number, "read": {"bytes": len(message["text"].encode("utf-8", "replace"))}})

    def end(self, value):
        """The last message."""
        with self._lock:
            if self.is_over:
                return
            self._send({"id": self.number, "end": value})
        self.stop()

    def refuse(self, text):
        """Instead of all others."""
        self._send({"id": self.number, "refused": text})
        self.stop()

    def gone(self):
        """After a `drop`: the step's code has ended."""
        self._send({"id": self.number, "gone": {}})

    def stop(self):
        """Nothing is sent from now on; who waits for room goes on."""
        self.is_over = True
        with self._room:
            self._room.notify_all()
