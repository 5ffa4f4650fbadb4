"""Programs from packages of PyPI that cells run."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import Iterator

from .ground import ROOT


def crossbar() -> str:
    """Crossbar: in `MUSTER_CROSSBAR_BIN`, or in the environment that the tests in Rust make, too."""
    given = os.environ.get("MUSTER_CROSSBAR_BIN")
    if given:
        return f"{given}/crossbar"
    with _locked(".venv-crossbar.lock"):
        venv = _target() / ".venv-crossbar-26.10.1"
        if not (venv / "bin/crossbar").exists():
            _install(venv, "crossbar==26.10.1")
    return str(venv / "bin/crossbar")


def buildbot() -> str:
    """Buildbot's master with its pages, in the environment that the tests in Rust make, too."""
    requirements = ROOT / "tests/requirements-drivers.txt"
    with _locked("buildbot-4.3.0.lock"):
        venv = _target() / "buildbot-4.3.0"
        complete, packages = venv / "complete", requirements.read_text()
        if not complete.exists() or complete.read_text() != packages:
            _install(venv, "-r", str(requirements))
            complete.write_text(packages)
    return str(venv / "bin/buildbot")


def _target() -> Path:
    target = ROOT / "target"
    target.mkdir(exist_ok=True)
    return target


@contextlib.contextmanager
def _locked(name: str) -> Iterator[None]:
    """The first test installs, the others wait for it."""
    with (_target() / name).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _install(venv: Path, *packages: str) -> None:
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    subprocess.run([venv / "bin/pip", "install", "--quiet", "--disable-pip-version-check", *packages], check=True)


def stock(program: str) -> str:
    """A program of Buildbot 4.3.0, as `checks/prepare` installs it."""
    path = Path(os.environ.get("MUSTER_STOCK_BIN", ROOT / ".venv/bin")) / program
    assert path.exists(), f"{path} is missing; `checks/prepare` installs it"
    return str(path)
