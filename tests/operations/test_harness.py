"""What measures Muster and Buildbot alike, `tests/peer`, drives Muster: REST, PB, start and stop."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from . import ground

_ROOT = Path(__file__).resolve().parents[2]


class Harness(unittest.TestCase):
    def test_a_latency_and_a_dispatch_are_measured(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            environment = dict(os.environ, MUSTER_BIN=ground.muster(), PEER_TMP=directory)
            command = [sys.executable, "-m", "tests.peer", "muster", "sqlite", "latency:2", "dispatch:8:32:pb:1"]
            ran = subprocess.run(command, cwd=_ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)
        measured = {line["test"]: line for line in map(json.loads, ran.stdout.splitlines())}
        self.assertEqual(list(measured), ["setup", "latency", "dispatch"])
        self.assertEqual((measured["latency"]["n"], measured["dispatch"]["n"]), (2, 8), ran.stdout + ran.stderr)
        self.assertGreater(measured["dispatch"]["builds_per_s"], 0)
