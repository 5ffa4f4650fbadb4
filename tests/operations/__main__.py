"""Runs the tests of operations, two modules at a time: most of their time they wait for programs to start."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_AT_ONCE = 2
#: No module takes longer, also on a busy machine.
_PATIENCE = 900


def _run(module: str) -> tuple[str, int, str, float]:
    begin = time.monotonic()
    command = [sys.executable, "-W", "ignore::ResourceWarning", "-m", "unittest", "--buffer", f"tests.operations.{module}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE)
    return module, done.returncode, done.stdout + done.stderr, time.monotonic() - begin


def main() -> int:
    """How many modules failed."""
    modules = sorted(path.stem for path in Path(__file__).parent.glob("test_*.py"))
    # The longest first, so that nobody waits for it at the end.
    modules.sort(key=lambda module: module != "test_moving")
    failed = 0
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for module, status, said, seconds in pool.map(_run, modules):
            print(f"{module:<18} {'ok' if status == 0 else 'FAILED':<8} {seconds:6.1f} s", flush=True)
            if status:
                failed += 1
                print(said, file=sys.stderr)
    return failed


if __name__ == "__main__":
    sys.exit(main())
