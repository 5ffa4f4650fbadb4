"""What Compose would do with compose.yaml, in cells: its commands, volumes, secrets, health checks and their order.

The programs are those of this machine, not of the images; everything else is as the file says.
"""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path
from typing import Any

import yaml

from . import ground, programs
from .cells import Cell, Network
from .ground import ROOT, Process, until

FILE = ROOT / "compose.yaml"
_USER = 10001
#: A directory of the server's own in its volume.
_DATA = "/var/lib/postgresql/data/db"


def load() -> dict[str, Any]:
    """The file, with its anchors carried out."""
    data: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return {name: part for name, part in data.items() if not name.startswith("x-")}


class Project:
    """The services of the file."""

    def __init__(self, network: Network):
        self.network = network
        self.file = load()
        self.services: dict[str, dict[str, Any]] = self.file["services"]
        self.cells: dict[str, Cell] = {name: network.cell(name) for name in self.services}
        self.running: dict[str, Process] = {}
        for name in self.services:
            self._prepare(name)

    def _prepare(self, name: str) -> None:
        service, cell = self.services[name], self.cells[name]
        cell.bind(ROOT, str(ROOT))
        for program in (programs.crossbar(), programs.stock("buildbot-worker")):
            directory = Path(program).parent.parent
            cell.bind(directory, str(directory))
        cell.bind(Path(ground.muster()), "/tmp/bin/muster")
        cell.bind(ROOT / "deploy/health.py", "/tmp/health.py")
        for volume in service.get("volumes", []):
            source, place = volume.removesuffix(":ro").split(":")
            cell.bind(ROOT / source if source.startswith(".") else self._volume(source, name), place)
        if not service.get("volumes") or name == "migrate":
            (cell.root / "var/lib/muster").mkdir(parents=True, exist_ok=True)
            os.chown(cell.root / "var/lib/muster", _USER, _USER)
        for secret in service.get("secrets", []):
            cell.bind(self._secret(secret), f"/run/secrets/{secret}")

    def _volume(self, name: str, service: str) -> Path:
        path = self.network.directory / "volumes" / name
        if not path.exists():
            path.mkdir(parents=True)
            owner = pwd.getpwnam("postgres").pw_uid if service == "postgres" else _USER
            os.chown(path, owner, owner)
        return path

    def _secret(self, name: str) -> Path:
        assert name in self.file["secrets"]
        path = self.network.directory / name
        if not path.exists():
            path.write_text(os.urandom(16).hex() + "\n")
        return path

    def up(self) -> None:
        """Starts everything, each service when what it depends on is as the file wants it."""
        waiting = dict(self.services)
        while waiting:
            ready = [name for name in waiting if self._may_start(name)]
            assert ready or self.running
            for name in ready:
                self.start(name)
                del waiting[name]
            if waiting and not ready:
                until("a service that is ready", lambda: any(self._may_start(name) for name in waiting))
        for name, service in self.services.items():
            if "healthcheck" in service:
                until(f"a healthy {name}", lambda: self.healthy(name))

    def _may_start(self, name: str) -> bool:
        return all(self._is(other, wanted["condition"]) for other, wanted in self.services[name].get("depends_on", {}).items())

    def _is(self, name: str, condition: str) -> bool:
        process = self.running.get(name)
        if process is None:
            return False
        status = process.process.poll()
        if condition == "service_completed_successfully":
            assert status in (None, 0), f"{name} failed:\n{process.last()}"
            return status == 0
        assert status is None, f"{name} ended with {status}:\n{process.last()}"
        return condition == "service_started" or self.healthy(name)

    def start(self, name: str) -> None:
        """Starts one service."""
        service, cell = self.services[name], self.cells[name]
        image = service["image"].split(":")[0]
        command = [word.replace("$$", "$") for word in service.get("command", ["master", "/var/lib/muster"])]
        command = service.get("entrypoint", ["muster"] if image == "muster" else []) + command
        env = {name: str(value) for name, value in service.get("environment", {}).items()}
        if image == "muster":
            # What the Dockerfile sets.
            env = {"MUSTER_PROBE": "9980", **env}
        user: int | None = _USER
        if image == "postgres":
            user = pwd.getpwnam("postgres").pw_uid
            self._make_database(cell, env, user)
            env["PGDATA"] = _DATA
        if image in ("crossbario/crossbar", "stock-worker"):
            # Their interpreter may lie where only root may look.
            user = None
        words = [self._program(command[0]), *command[1:]]
        cwd = service.get("working_dir", "/var/lib/muster" if image == "muster" and name != "worker-1" else "/tmp")
        self.running[name] = cell.start(words, {**env, "PATH": self._path()}, user=user, cwd=cwd)

    def _program(self, name: str) -> str:
        return {"crossbar": programs.crossbar(), "postgres": ground.postgres("postgres")}.get(name, name)

    def _path(self) -> str:
        own = ["/tmp/bin", os.path.dirname(programs.stock("buildbot-worker"))]
        return ":".join([*own, "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"])

    def _make_database(self, cell: Cell, env: dict[str, str], user: int) -> None:
        """As the entry point of the image does, of which `command` says only how the server runs."""
        script = (
            f"{ground.postgres('initdb')} -A scram-sha-256 -E UTF8 --locale=C --no-sync -U {env['POSTGRES_USER']}"
            f" --pwfile={env['POSTGRES_PASSWORD_FILE']} -D {_DATA} > /tmp/initdb.log\n"
            f"echo \"listen_addresses = '*'\nunix_socket_directories = '/tmp'\" >> {_DATA}/postgresql.conf\n"
            f"echo 'host all all all scram-sha-256' >> {_DATA}/pg_hba.conf\n"
            f"echo 'CREATE DATABASE {env['POSTGRES_DB']}' | {ground.postgres('postgres')} --single -D {_DATA} postgres > /tmp/create.log\n"
        )
        cell.run(["sh", "-euc", script], user=user, cwd="/tmp")

    def healthy(self, name: str) -> bool:
        """Whether the service's own check says so."""
        kind, *command = self.services[name]["healthcheck"]["test"]
        assert kind == "CMD"
        words = self.cells[name].command([_here(word) for word in command], {"MUSTER_PROBE": "9980"}, user=_USER, cwd="/tmp")
        return subprocess.run(words, capture_output=True).returncode == 0


def _here(word: str) -> str:
    """Where a cell, whose /usr is this machine's, has what an image has."""
    return "/tmp/health.py" if word == "/usr/local/lib/muster/health.py" else word
