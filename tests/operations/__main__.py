"""Runs the tests of operations, some classes at a time: most of their time they wait for programs to start."""

from __future__ import annotations

import subprocess
import sys
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from typing import Iterator

_AT_ONCE = 3
#: No class takes longer, also on a busy machine.
_PATIENCE = 900
#: The longest come first, so that nobody waits for one of them at the end.
_FIRST = ("test_moving.OnPostgresql", "test_balancers.Balancers", "test_moving.OnSqlite", "test_compose.Cluster", "test_chart.Chart")


def _run(name: str) -> tuple[str, int, str, float]:
    begin = time.monotonic()
    command = [sys.executable, "-W", "ignore::ResourceWarning", "-m", "unittest", "--buffer", f"tests.operations.{name}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE)
    return name, done.returncode, done.stdout + done.stderr, time.monotonic() - begin


def _cases(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from _cases(test)
        else:
            yield test


def _classes() -> list[str]:
    found = unittest.defaultTestLoader.discover("tests/operations", top_level_dir=".")
    names = {".".join(test.id().split(".")[2:-1]) for test in _cases(found)}
    missing = [name for name in _FIRST if name not in names]
    assert not missing, f"there are no tests named {missing}"
    return [*_FIRST, *sorted(names - set(_FIRST))]


def main() -> int:
    """How many classes failed."""
    failed = 0
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for name, status, said, seconds in pool.map(_run, _classes()):
            print(f"{name:<28} {'ok' if status == 0 else 'FAILED':<8} {seconds:6.1f} s", flush=True)
            if status:
                failed += 1
                print(said, file=sys.stderr)
    return failed


if __name__ == "__main__":
    sys.exit(main())
