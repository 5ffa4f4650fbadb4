#!/usr/bin/env python3
"""Drives Muster with a harness that was written for Buildbot: the same load, the same calls, another master.

    tests/bench/peer_muster.py HARNESS KIND TEST [TEST...]

HARNESS is the directory with `bench.py` and `peerlib.py`; KIND and TEST are what `bench.py` takes. MUSTER_BIN names the
binary, by default the release build of this checkout. All that differs from Buildbot is how a master is made and started.
"""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import time
from pathlib import Path

MUSTER = os.environ.get("MUSTER_BIN", str(Path(__file__).resolve().parents[2] / "target/release/muster"))


def muster_master(peerlib):
    """The harness' own class, with another `upgrade` and another `start`."""

    class MusterMaster(peerlib.Master):
        def upgrade(self) -> None:
            done = subprocess.run(
                [MUSTER, "create-master", "--force", "--quiet", "--db", self.db_url, self.dir],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise SystemExit("create-master: " + done.stdout + done.stderr)

        def start(self, wait: bool = True):
            began = time.time()
            log = os.path.join(self.dir, "stdout.log")
            self.proc = peerlib.Proc([MUSTER, "master", self.dir], self.dir, log)
            self.pid = self.proc.pid
            while wait:
                try:
                    peerlib.http(self.url + "/api/v2/masters", timeout=10)
                    break
                except OSError:
                    if not self.proc.alive():
                        raise SystemExit("the master died, see " + log) from None
                    if time.time() - began > 120:
                        raise SystemExit("the master does not answer, see " + log) from None
                    time.sleep(0.02)
            self.start_s = time.time() - began
            self.start_cpu = peerlib.cpu_of(self.pid)
            return self

    return MusterMaster


def main(arguments: list[str]) -> None:
    if len(arguments) < 3 or not Path(arguments[0], "bench.py").is_file():
        sys.exit(__doc__)
    harness = Path(arguments[0]).resolve()
    sys.path.insert(0, str(harness))
    import peerlib  # pylint: disable=import-error

    peerlib.Master = muster_master(peerlib)
    sys.argv = [str(harness / "bench.py"), *arguments[1:]]
    # As a program, so that what stands under its `__main__` runs; it finds the changed class in `peerlib`.
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
