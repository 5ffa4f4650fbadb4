"""Who follows docs/moving-from-buildbot.md gets from Buildbot to Muster and back, with two stock workers."""

from __future__ import annotations

import os
import signal
import unittest
from pathlib import Path
from typing import Any

from . import ground, pages, programs
from .cells import Cell, Network
from .cluster import Cluster
from .ground import until

_CONFIG = """
from buildbot.plugins import changes, schedulers, steps, util, worker
c = BuildmasterConfig = {}
c["workers"] = [worker.Worker("linux-1", "secret"), worker.Worker("linux-2", "secret")]
c["protocols"] = {"pb": {"port": 9989}}
c["change_source"] = [changes.GitPoller("/srv/repository", branches=True, pollInterval=1, pollAtLaunch=True)]
factory = util.BuildFactory([
    steps.Git(repourl="/srv/repository", mode="incremental"),
    steps.ShellCommand(name="tests", command=["cat", "file"]),
])
c["builders"] = [util.BuilderConfig("project", workernames=["linux-1", "linux-2"], factory=factory)]
c["schedulers"] = [
    schedulers.AnyBranchScheduler(name="all", treeStableTimer=None, builderNames=["project"]),
    schedulers.ForceScheduler(name="force", builderNames=["project"]),
]
c["title"] = "Ours"
c["buildbotURL"] = "http://localhost:8010/"
c["www"] = {"port": 8010, "plugins": {}}
c["db"] = {"db_url": %(db)r}
c["buildbotNetUsageData"] = None
"""

_PAGE = "moving-from-buildbot.md"


class Moving(unittest.TestCase):
    """How the page is followed; with which database, those below say."""

    def setUp(self) -> None:
        self.network = Network()
        self.addCleanup(self.network.close)

    def _move(self, cell: Cell, url: str, dump_url: str) -> None:
        self.todo = pages.blocks(_PAGE, "sh")
        self.env = {"PATH": _path(cell), "DATABASE_URL": dump_url, "HOME": "/tmp", "PYTHONPATH": "/srv/lacks"}
        # Buildbot waits 10 s for its start, which is too short for a busy machine.
        self.env["START_TIMEOUT"] = str(int(ground.PATIENCE))
        self.cell, self.rest = cell, ground.Rest(f"http://{cell.address}:8010")
        self._buildbot(url)
        by_buildbot = [self._builds_a_change(), self._builds_by_force()]
        log = self._log(by_buildbot[0])

        self.assertIn("Config file is good!", self._follow("check"))
        # This machine has no package for zstd, and need not have one.
        self._follow("stop")
        if dump_url:
            self._follow("dump")
            self.assertTrue((cell.root / "srv/buildbot/before-muster.dump").stat().st_size)
        self._follow("take-over")
        self.assertIn("linux-1", self._follow("look"))
        self.assertTrue((cell.root / "srv/buildbot/master/muster.pid").exists())
        self.assertEqual(self._log(by_buildbot[0]), log, "the history is there")
        by_muster = [self._builds_a_change(), self._builds_by_force()]
        self.assertGreater(min(by_muster), max(by_buildbot))
        log = self._log(by_muster[0])
        if dump_url:
            by_muster += self._becomes_a_cluster()

        self._follow("back")
        self.assertTrue((cell.root / "srv/buildbot/master/twistd.pid").exists())
        self.assertEqual(self._log(by_muster[0]), log, "Buildbot reads what Muster wrote")
        self.assertGreater(min(self._builds_a_change(), self._builds_by_force()), max(by_muster))
        numbers = [build["number"] for build in self.rest.get("builds")["builds"]]
        self.assertEqual(sorted(numbers), list(range(1, len(numbers) + 1)), "one row of numbers")
        unused = {"dump", "gateway", "further", "stop-gateway"} if not dump_url else set()
        self.assertEqual(set(self.todo), unused, "every command of the page was run")

    def _follow(self, name: str) -> str:
        """Runs a block of the page; what it says."""
        return self._run(self.todo.pop(name))

    def _becomes_a_cluster(self) -> list[int]:
        """A router, a gateway by itself and a second machine; numbers of the builds that they make."""
        self.network.cells["router"].start(["/tmp/bin/muster", "router", "--listen", "[::]:8080"]).wait_for("the router listens on")
        self._add_to_config("cluster")
        self._follow("gateway")
        further = self.network.cells["machine-2"]
        config = (self.cell.root / "srv/buildbot/master/master.cfg").read_text()
        further.write("/srv/buildbot/master/master.cfg", config)
        # What it leaves running in the background must not hold its output open.
        further.run(["sh", "-euc", f"({self.todo.pop('further')}) > /tmp/said 2>&1"], self.env, cwd="/srv")
        names = {master["name"] for master in self.rest.get("masters")["masters"] if master["active"]}
        self.assertEqual(len(names), 3, names)
        made = [self._builds_a_change(), self._builds_by_force()]
        # Whoever dies, the pages and the workers of the other machine go on.
        pid = (self.cell.root / "srv/buildbot/master/muster.pid").read_text()
        os.kill(int(pid), signal.SIGKILL)
        own, self.rest = self.rest, ground.Rest(f"http://{further.address}:8010")
        made.append(self._builds_by_force())
        self.rest = own
        further.run(["muster", "stop", "/srv/buildbot/master"], self.env, cwd="/srv")
        self._follow("stop-gateway")
        return made

    def _add_to_config(self, name: str) -> None:
        with (self.cell.root / "srv/buildbot/master/master.cfg").open("a") as file:
            file.write(pages.blocks(_PAGE, "python")[name])

    def _buildbot(self, url: str) -> None:
        self.cell.write("/srv/lacks/zstandard.py", "raise ImportError('not on this machine')\n")
        script = f"""
            mkdir -p /srv/buildbot /srv/repository
            cd /srv/repository
            git init --quiet --initial-branch=main
            echo first > file
            git add file
            git {_WHO} commit --quiet -m first
            cd /srv/buildbot
            buildbot create-master --quiet master
            cp /srv/master.cfg master/
            buildbot upgrade-master --quiet master
            for number in 1 2; do
                buildbot-worker create-worker --quiet --maxdelay=2 worker-$number localhost:9989 linux-$number secret
            done
        """
        self.cell.write("/srv/master.cfg", _CONFIG % {"db": url})
        self._run(script)
        for number in (1, 2):
            self.cell.start(["buildbot-worker", "start", "--nodaemon", f"worker-{number}"], self.env, cwd="/srv/buildbot")
        self._run("buildbot start /srv/buildbot/master")

    def _run(self, script: str) -> str:
        # What it leaves running in the background must not hold its output open.
        self.cell.run(["sh", "-euc", f"({script}) > /tmp/said 2>&1 || {{ cat /tmp/said; exit 1; }}"], self.env, cwd="/srv")
        return (self.cell.root / "tmp/said").read_text()

    def _builds_a_change(self) -> int:
        """Commits, and waits for the build that comes of it; its number."""
        for worker in ("linux-1", "linux-2"):
            self.rest.worker(worker)
        # A poller that has not looked yet would not see it as new.
        until("the poller's first look", self._has_polled)
        before = self._last()
        self._run(f"cd /srv/repository; date +%N >> file; git {_WHO} commit --quiet -am more")
        return int(until("a build of the change", lambda: self._finished_after(before)))

    def _has_polled(self) -> bool:
        work = self.cell.root / "srv/buildbot/master/gitpoller-work"
        return any((work / "refs").rglob("*")) or any(work.rglob("packed-refs")) or any(work.rglob("refs/buildbot/*"))

    def _last(self) -> int:
        return max([build["number"] for build in self.rest.get("builds")["builds"]], default=0)

    def _finished_after(self, number: int) -> int | None:
        for build in self.rest.get("builds")["builds"]:
            if build["number"] > number and build["complete"]:
                self.assertEqual(build["results"], 0, build)
                return int(build["number"])
        return None

    def _builds_by_force(self) -> int:
        builds = self.rest.builds(self.rest.force("force"))
        self.assertEqual([build["results"] for build in builds], [0])
        return int(builds[0]["number"])

    def _log(self, number: int) -> Any:
        (build,) = self.rest.get(f"builds?number={number}")["builds"]
        steps = self.rest.get(f"builds/{build['buildid']}/steps")["steps"]
        (step,) = [step for step in steps if step["name"] == "tests"]
        (log,) = self.rest.get(f"steps/{step['stepid']}/logs")["logs"]
        text = self.rest.get(f"logs/{log['logid']}/contents")["logchunks"][0]["content"]
        return [line for line in text.splitlines() if line.startswith("o")]


class OnSqlite(Moving):
    def test_it_goes_to_muster_and_back(self) -> None:
        with self.network.told():
            self._move(self.network.cell("machine"), "sqlite:///state.sqlite", "")


class OnPostgresql(Moving):
    def test_it_goes_to_muster_and_back(self) -> None:
        with self.network.told():
            database = self.network.cell("database")
            Cluster(self.network, [], "").start_database(database)
            url = "bb@database:5432/bb"
            self.network.cell("router", aliases=("router.example.org",))
            self.network.cell("machine-2")
            for cell in self.network.cells.values():
                _path(cell)
            self._move(self.network.cell("machine"), f"postgresql+psycopg://{url}", f"postgresql://{url}")


_WHO = "-c user.name=Somebody -c user.email=somebody@example.org"


def _path(cell: Cell) -> str:
    """Where the cell finds `muster`, `buildbot` and the rest."""
    directories = []
    for program in (programs.buildbot(), programs.stock("buildbot-worker"), ground.postgres("pg_dump")):
        directory = Path(program).parent
        cell.bind(directory.parent, str(directory.parent))
        directories.append(str(directory))
    cell.bind(Path(ground.muster()), "/tmp/bin/muster")
    return ":".join(["/tmp/bin", *directories, "/usr/local/bin:/usr/bin:/bin"])
