"""The units are what systemd understands, name commands that exist, and give away little."""

from __future__ import annotations

import re
import shutil
import subprocess
import unittest

from . import ground
from .ground import ROOT

UNITS = sorted((ROOT / "deploy/systemd").glob("*.service"))
#: The exposure that `systemd-analyze security` may find; it calls what is below 2 safe, and below 4 OK. A worker runs
#: what repositories say, which needs more than a master does.
_EXPOSURE = {"muster.service": 2.0, "muster-router.service": 2.0, "muster-worker@.service": 3.0}


@unittest.skipUnless(shutil.which("systemd-analyze"), "systemd-analyze is not installed")
class Units(unittest.TestCase):
    def test_systemd_understands_them(self) -> None:
        for unit in UNITS:
            said = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True).stderr
            # The binary needs not be where an operator puts it.
            problems = [line for line in said.splitlines() if "/usr/local/bin/muster is not executable" not in line]
            with self.subTest(unit.name):
                self.assertEqual([line for line in problems if unit.name.replace("@", "@i") in line or unit.name in line], [])

    def test_they_give_away_little(self) -> None:
        self.assertEqual({unit.name for unit in UNITS}, set(_EXPOSURE))
        for unit in UNITS:
            command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)]
            said = subprocess.run(command, capture_output=True, text=True).stdout
            found = re.search(r"Overall exposure level for \S+: ([\d.]+)", said)
            with self.subTest(unit.name):
                self.assertTrue(found, said)
                self.assertLessEqual(float(found[1]) if found else 10, _EXPOSURE[unit.name], said)

    def test_their_commands_are_those_of_muster(self) -> None:
        for unit in UNITS:
            for line in re.findall(r"^Exec\w+=/usr/local/bin/muster (.*)$", unit.read_text(), re.MULTILINE):
                command, *options = line.split()
                said = subprocess.run([ground.muster(), command, "--help"], capture_output=True, text=True, check=True).stdout
                for option in (word for word in options if word.startswith("--")):
                    with self.subTest(unit.name, line=line):
                        self.assertIn(option, said)
