"""Measures Muster and Buildbot alike, from outside: the same load, the same calls, another master.

    python3 -m tests.peer muster|buildbot KIND TEST...

KIND: sqlite, pg, or wamp (two masters, PostgreSQL, Crossbar).
TEST: dispatch[:N[:WORKERS[:PROTO[:RUNS]]]]   latency[:N[:PROTO]]   attach[:WORKERS[:PROTO[:A_SECOND]]]
      log[:BYTES[:PROTO[:LINE_LENGTH]]]       rest[:BUILDS[:SECONDS]]   startup[:RUNS]   restart[:WORKERS]
      fanout[:CLIENTS[:N]]   and with wamp only: cross[:N]   router[:kill|term]   killmaster
PROTO: pb or msgpack.

MUSTER_BIN names Muster's binary, by default the release build of this checkout. docs/performance.md says what is needed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import traceback

from . import measure, peers

MUSTER = os.environ.get("MUSTER_BIN", str(peers.ROOT / "target/release/muster"))


class MusterMaster(peers.Master):
    """All that differs is how a master is made and started."""

    def upgrade(self) -> None:
        command = [MUSTER, "create-master", "--force", "--quiet", "--db", self.db_url, self.dir]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit("create-master: " + done.stdout + done.stderr)

    def start(self, wait: bool = True):
        began = time.time()
        log = os.path.join(self.dir, "stdout.log")
        self.proc = peers.Proc([MUSTER, "master", self.dir], self.dir, log)
        self.pid = self.proc.pid
        while wait:
            try:
                peers.http(self.url + "/api/v2/masters", timeout=10)
                break
            except OSError:
                if not self.proc.alive():
                    raise SystemExit("the master died, see " + log) from None
                if time.time() - began > 120:
                    raise SystemExit("the master does not answer, see " + log) from None
                time.sleep(0.02)
        self.start_s = time.time() - began
        self.start_cpu = peers.cpu_of(self.pid)
        return self


_MASTERS = {"muster": MusterMaster, "buildbot": peers.Master}


def main(arguments: list[str]) -> None:
    if len(arguments) < 3 or arguments[0] not in _MASTERS or arguments[1] not in ("sqlite", "pg", "wamp"):
        sys.exit(__doc__)
    master, kind, *tests = arguments
    unknown = [name for name in tests if not hasattr(measure, "t_" + name.partition(":")[0])]
    if unknown:
        sys.exit(f"no test is named {', '.join(unknown)}\n{__doc__}")
    config = json.loads(os.environ.get("PEER_CFG", "{}"))
    setup = peers.Setup(kind, master=_MASTERS[master], workers=config.pop("workers", 50), **config)
    try:
        measure.out(
            kind,
            "setup",
            master=master,
            start_s=[round(m.start_s, 2) for m in setup.m],
            start_cpu_s=[round(m.start_cpu, 2) for m in setup.m],
            rss_mb=[round(peers.rss(m.pid) / 1e6, 1) for m in setup.m],
            xb_start_s=setup.xb and round(setup.xb.start_s, 2),
            workers=setup.m[0].j["workers"],
        )
        for test in tests:
            name, *values = test.split(":")
            try:
                getattr(measure, "t_" + name)(setup, *values)
            except Exception as error:  # One that fails is told, and the others are measured.
                traceback.print_exc()
                measure.out(kind, name, error=repr(error)[:300])
        if os.environ.get("PEER_KEEP"):
            print("kept running:", setup.dir, [m.url for m in setup.m])
            input()
    finally:
        setup.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
