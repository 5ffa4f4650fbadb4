"""Masters, a database and workers in cells, under the names that the configurations in deploy/ use."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from . import ground, programs
from .cells import Cell, Network
from .ground import ROOT, Process

_USER = 10001
_PASSWORD = "secret"
#: The binary in a cell.
MUSTER = "/tmp/bin/muster"

#: A master.cfg whose builds wait for a file `go` in the master's own shared directory. %HOLD% is that path.
CONFIG = """
import os
from buildbot.plugins import schedulers, steps, util, worker
c = BuildmasterConfig = {}
c["db"] = {"db_url": os.environ["DATABASE_URL"]}
if os.environ.get("ROUTER_URL"):
    c["mq"] = {"type": "wamp", "router_url": os.environ["ROUTER_URL"]}
c["multiMaster"] = True
c["protocols"] = {"session": {"port": %(session)r}, "pb": {"port": %(pb)r}}
c["workers"] = [worker.Worker(name, "secret") for name in %(workers)r]
c["builders"] = []
c["schedulers"] = []
for name in %(workers)r:
    wait = "echo begun; for i in $(seq 1200); do [ -e %(hold)s/go ] && break; sleep 0.05; done; echo done"
    step = steps.ShellCommand(name="wait", command=["sh", "-c", wait])
    c["builders"].append(util.BuilderConfig(name=name, workernames=[name], factory=util.BuildFactory([step])))
    c["schedulers"].append(schedulers.ForceScheduler(name=f"force-{name}", builderNames=[name]))
c["buildbotURL"] = %(url)r
c["www"] = {"port": %(web)r}
"""


class Cluster:
    """A database, and masters on it."""

    def __init__(self, network: Network, workers: list[str], url: str, host: str | None = None):
        self.network = network
        self.hold = network.directory / "hold"
        self.hold.mkdir()
        ports = {"session": "9990", "pb": "9989", "web": "8010"}
        if host:
            ports = {name: f"tcp:{port}:interface={host}" for name, port in ports.items()}
        facts = {**ports, "workers": workers, "hold": "/srv/hold", "url": url}
        self.config = CONFIG % facts
        self.database = "postgresql://bb@database:5432/bb"
        self.router: str | None = None

    def prepare(self, cell: Cell) -> None:
        """Gives a cell what its programs need."""
        for path in (ROOT, Path(programs.stock("buildbot-worker")).parent.parent):
            cell.bind(path, str(path))
        # Where every user may look, wherever it was built.
        cell.bind(Path(ground.muster()), MUSTER)
        cell.bind(self.hold, "/srv/hold")

    def start_database(self, cell: Cell, listen: str = "*") -> Process:
        """PostgreSQL that trusts everybody who reaches it."""
        user = pwd.getpwnam("postgres").pw_uid
        script = (
            f"{ground.postgres('initdb')} -A trust -E UTF8 --locale=C --no-sync -U bb -D /tmp/db\n"
            "echo 'host all all all trust' >> /tmp/db/pg_hba.conf\n"
            f"echo 'CREATE DATABASE bb' | {ground.postgres('postgres')} --single -D /tmp/db postgres\n"
        )
        cell.run(["sh", "-euc", script], user=user, cwd="/tmp")
        options = ["-c", f"listen_addresses={listen}", "-c", "unix_socket_directories=/tmp", "-c", "fsync=off"]
        process = cell.start([ground.postgres("postgres"), "-D", "/tmp/db", *options], user=user, cwd="/tmp")
        process.wait_for("ready to accept connections")
        return process

    def env(self) -> dict[str, str]:
        return {"DATABASE_URL": self.database, **({"ROUTER_URL": self.router} if self.router else {})}

    def master_dir(self, cell: Cell, place: str = "master") -> str:
        """Makes a master's directory; its path in the cell."""
        path = cell.root / "srv" / place
        if not path.exists():
            path.mkdir()
            (path / "master.cfg").write_text(self.config)
            for each in (path, path / "master.cfg"):
                os.chown(each, _USER, _USER)
        return f"/srv/{place}"

    def upgrade(self, cell: Cell) -> str:
        """Makes the tables."""
        return cell.run([MUSTER, "upgrade-master", self.master_dir(cell)], self.env(), user=_USER, cwd="/tmp")

    def start_master(self, cell: Cell, place: str = "master", **env: str) -> Process:
        """A master, which may not be running yet."""
        command = [MUSTER, "master", self.master_dir(cell, place)]
        return cell.start(command, {**self.env(), "MUSTER_DRAIN_TIMEOUT": "60", "MUSTER_NAME": f"{cell.name}-{place}", **env}, user=_USER, cwd="/tmp")

    def start_worker(self, cell: Cell, name: str, master: str) -> Process:
        """A worker of ours."""
        command = [MUSTER, "worker", f"/tmp/{name}", "--master", master, "--name", name]
        return cell.start(command, {"MUSTER_WORKER_PASSWORD": _PASSWORD}, user=_USER, cwd="/tmp")

    def start_stock_worker(self, cell: Cell, name: str, master: str, *options: str) -> Process:
        """A worker of Buildbot's. Its interpreter may lie where only root may look."""
        program = programs.stock("buildbot-worker")
        cell.run([program, "create-worker", *options, f"/tmp/{name}", master, name, _PASSWORD])
        return cell.start([program, "start", "--nodaemon", f"/tmp/{name}"], cwd="/tmp")
