"""Programs from packages of PyPI that cells run."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

from .ground import ROOT

def crossbar() -> str:
    """Crossbar: in `MUSTER_CROSSBAR_BIN`, or in the environment that the tests in Rust make, too."""
    given = os.environ.get("MUSTER_CROSSBAR_BIN")
    return f"{given}/crossbar" if given else _installed(".venv-crossbar-26.10.1", ["crossbar==26.10.1"], "crossbar")


def buildbot() -> str:
    """Buildbot's master with its pages: in `MUSTER_BUILDBOT_BIN`, or in an environment that is made once."""
    given = os.environ.get("MUSTER_BUILDBOT_BIN")
    packages = ["buildbot==4.3.0", "buildbot-www==4.3.0", "psycopg[binary]"]
    return f"{given}/buildbot" if given else _installed(".venv-buildbot-4.3.0", packages, "buildbot")


def _installed(name: str, packages: list[str], program: str) -> str:
    target = ROOT / "target"
    target.mkdir(exist_ok=True)
    venv = target / name
    with (target / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (venv / "bin" / program).exists():
            subprocess.run([sys.executable, "-m", "venv", venv], check=True)
            subprocess.run([venv / "bin/pip", "install", "--quiet", *packages], check=True)
    return str(venv / "bin" / program)


def stock(program: str) -> str:
    """A program of Buildbot 4.3.0, as `checks/prepare` installs it."""
    path = Path(os.environ.get("MUSTER_STOCK_BIN", ROOT / ".venv/bin")) / program
    assert path.exists(), f"{path} is missing; `checks/prepare` installs it"
    return str(path)
