"""Processes, waiting, and programs that the tests here share."""

from __future__ import annotations

import glob
import http.client
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any, Callable, TypeVar

ROOT = Path(__file__).parents[2]
#: Nothing that is waited for takes longer; what hangs shall fail.
PATIENCE = 120.0
_POLL = 0.05
_SHOWN_LINES = 40

T = TypeVar("T")


def write_or_check(page: Path, text: str, module: str) -> None:
    """What the command line asks for: writes a page that is made from code, or says that it is not as it would be made."""
    if sys.argv[1:] == ["--write"]:
        page.write_text(text)
    elif sys.argv[1:] != ["--check"]:
        sys.exit(f"usage: python3 -m {module} --write or --check")
    elif page.read_text() != text:
        sys.exit(f"{page.relative_to(ROOT)} is out of date; run `python3 -m {module} --write`")


def muster() -> str:
    """The binary: `MUSTER_BIN`, or the one that `checks/test` built."""
    path = Path(os.environ.get("MUSTER_BIN", ROOT / "target" / "debug" / "muster"))
    assert path.exists(), f"{path} is missing; `checks/test operations` builds it, or name another in MUSTER_BIN"
    return str(path)


def postgres(program: str) -> str:
    """A program of the newest PostgreSQL of Debian."""
    found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{program}"))
    assert found, "PostgreSQL is missing; `checks/prepare` installs it"
    return found[-1]


def until(what: str, look: Callable[[], T | None], patience: float | None = None) -> T:
    """Looks until there is something true to see; an exception of the last look is part of the complaint."""
    patience = PATIENCE if patience is None else patience
    deadline = time.monotonic() + patience
    while True:
        missing: object = ""
        try:
            seen = look()
            if seen:
                return seen
        except (OSError, http.client.HTTPException, subprocess.CalledProcessError, KeyError, ValueError) as error:
            missing = f": {error}"
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience:.0f} s in vain for {what}{missing}")
        time.sleep(_POLL)


def last_lines(log: Path) -> str:
    """What a complaint shows of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-_SHOWN_LINES:])


class Process:
    """A process whose words go to a file; it ends with the test."""

    def __init__(self, command: list[str], log: Path, **more: Any):
        self.command, self.log = command, log
        with log.open("ab") as file:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, **more)

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_for(self, words: str) -> None:
        def look() -> bool:
            if words in self.said():
                return True
            assert self.process.poll() is None, f"{self.command} {self.status()} before it said {words!r}:\n{self.last()}"
            return False

        try:
            until(repr(words), look)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.last()}") from None

    def is_alive(self) -> bool:
        """Raises when it has ended."""
        assert self.process.poll() is None, f"{self.command[-1]} {self.status()}:\n{self.last()}"
        return True

    def status(self) -> str:
        """In words."""
        status = self.process.poll()
        return "runs" if status is None else f"ended with {status}"

    def last(self) -> str:
        return last_lines(self.log)

    def wait(self) -> int:
        return self.process.wait(PATIENCE)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self) -> int:
        """Asks it to end."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Rest:
    """A master's interface, or that of a balancer before several."""

    def __init__(self, url: str, context: Any = None):
        self.url, self.context = url.rstrip("/"), context

    def open(self, path: str, body: object = None) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/{path}", data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=PATIENCE, context=self.context) as answer:
            return bytes(answer.read())

    def get(self, path: str) -> Any:
        return json.loads(self.open(f"api/v2/{path}"))

    def force(self, scheduler: str) -> int:
        """Presses the button; answers the request's id."""
        call = {"jsonrpc": "2.0", "id": 1, "method": "force", "params": {}}
        result = json.loads(self.open(f"api/v2/forceschedulers/{scheduler}", call))["result"]
        return int(next(iter(result[1].values())))

    def builds(self, request: int) -> list[dict[str, Any]]:
        """Waits until the request is complete; its builds."""
        until(f"the end of request {request}", lambda: self.get(f"buildrequests/{request}")["buildrequests"][0]["complete"])
        builds = self.get(f"builds?buildrequestid={request}")["builds"]
        return sorted(builds, key=lambda build: int(build["buildid"]))

    def worker(self, name: str) -> None:
        """Waits until the worker is connected."""
        until(f"worker {name}", lambda: self.get(f"workers/{name}")["workers"][0]["connected_to"])
