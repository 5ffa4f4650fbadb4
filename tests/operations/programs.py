"""Programs from packages of PyPI that cells run."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

from .ground import ROOT

_CROSSBAR = "crossbar==26.10.1"


def crossbar() -> str:
    """Crossbar: in `MUSTER_CROSSBAR_BIN`, or in the environment that the tests in Rust make, too."""
    given = os.environ.get("MUSTER_CROSSBAR_BIN")
    if given:
        return f"{given}/crossbar"
    target = ROOT / "target"
    target.mkdir(exist_ok=True)
    venv = target / ".venv-crossbar-26.10.1"
    with (target / ".venv-crossbar.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (venv / "bin/crossbar").exists():
            subprocess.run([sys.executable, "-m", "venv", venv], check=True)
            subprocess.run([venv / "bin/pip", "install", "--quiet", _CROSSBAR], check=True)
    return str(venv / "bin/crossbar")


def stock(program: str) -> str:
    """A program of Buildbot 4.3.0, as `checks/prepare` installs it."""
    path = Path(os.environ.get("MUSTER_STOCK_BIN", ROOT / ".venv/bin")) / program
    assert path.exists(), f"{path} is missing; `checks/prepare` installs it"
    return str(path)
