"""What the chart's Job does before pods are replaced, when it succeeds and when it can't; and the chart's own master.cfg."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
import unittest
from pathlib import Path
from typing import Any

from . import ground, kube
from .cells import Cell, Network
from .cluster import MUSTER, Cluster

#: A database that does not answer is told within this time.
_SOON = 30.0
_USER = 10001


class Configuration(unittest.TestCase):
    def _check(self, values: dict[str, object], **env: str) -> "subprocess.CompletedProcess[str]":
        """Loads the rendered ConfigMap with the environment that the chart gives."""
        resources = kube.render(values)
        (config,) = [found for found in resources if found["metadata"]["name"] == "ci-muster-config"]
        (job,) = [found for found in resources if found["kind"] == "Job"]
        check = job["spec"]["template"]["spec"]["initContainers"][1]
        given = {one["name"]: one.get("value", "postgresql://muster:x@db/muster") for one in check["env"]}
        with tempfile.TemporaryDirectory() as directory:
            for name, text in config["data"].items():
                (Path(directory) / name).write_text(text)
            command = [ground.muster(), check["args"][0], directory]
            path = {"PATH": "/usr/bin:/bin"}
            return subprocess.run(command, env={**path, **given, **env}, capture_output=True, text=True)

    def test_the_example_of_the_chart_is_good(self) -> None:
        done = self._check({"service": {"workers": {"msgpackPort": 9988}}, "workers": {"replicas": 3}})
        self.assertEqual((done.returncode, done.stdout), (0, "Config file is good!\n"), done.stderr)

    def test_a_configuration_that_cannot_be_loaded_says_where_and_stops_the_rollout(self) -> None:
        text = "from buildbot.plugins import *\nc = BuildmasterConfig = {}\nc['workers'] = [worker.Wrker('a', 'b')]\n"
        done = self._check({"config": {"masterCfg": text}})
        self.assertEqual(done.returncode, 1)
        self.assertIn("Wrker", done.stderr)
        self.assertIn("3", done.stderr, "the line")


class Sources(unittest.TestCase):
    """Where master.cfg comes from: the script of the init container, as it is rendered."""

    cell: Cell

    @classmethod
    def setUpClass(cls) -> None:
        network = Network()
        cls.addClassCleanup(network.close)
        cls.cell = network.cell("pod")
        for directory in ("var/lib/muster", "srv/ci", "srv/image", "srv/config/..data"):
            (cls.cell.root / directory).mkdir(parents=True)
            os.chown(cls.cell.root / directory, _USER, _USER)

    def _written(self, config: dict[str, Any]) -> dict[str, str]:
        """What it writes into the master's directory."""
        (job,) = [found for found in kube.render({"config": config}) if found["kind"] == "Job"]
        container = job["spec"]["template"]["spec"]["initContainers"][0]
        # A cell has no /config.
        script = container["args"][0].replace("/config/*", "/srv/config/*")
        env = {one["name"]: one["value"] for one in container.get("env", [])}
        home = self.cell.root / "var/lib/muster"
        subprocess.run(f"rm -rf {home}/* {home}/.git {self.cell.root}/tmp/config", shell=True, check=True)
        self.cell.run([*container["command"], script], env, user=_USER, cwd="/var/lib/muster")
        return {path.name: path.read_text() for path in home.iterdir() if path.is_file()}

    def test_a_config_map_is_copied(self) -> None:
        # As Kubernetes mounts it: links into a directory that it replaces.
        self.cell.write("/srv/config/..data/master.cfg", "c = {}\n")
        (self.cell.root / "srv/config/master.cfg").symlink_to("..data/master.cfg")
        self.assertEqual(self._written({}), {"master.cfg": "c = {}\n"})

    def test_git_gives_a_branch_a_tag_or_a_commit(self) -> None:
        git = "git -c user.name=Somebody -c user.email=somebody@example.org"
        script = f"""
            cd /srv/ci
            git init --quiet --initial-branch=main
            mkdir masters
            echo 'c = 1' > masters/master.cfg
            git add .
            {git} commit --quiet -m first
            {git} tag v1
            git rev-parse HEAD
            echo 'c = 2' > masters/master.cfg
            {git} commit --quiet -am second
        """
        commit = self.cell.run(["sh", "-euc", script], user=_USER, cwd="/srv").strip()
        for revision, text in (("main", "c = 2\n"), ("v1", "c = 1\n"), (commit, "c = 1\n")):
            git_config = {"url": "file:///srv/ci", "revision": revision, "directory": "masters"}
            with self.subTest(revision):
                self.assertEqual(self._written({"source": "git", "git": git_config}), {"master.cfg": text})

    def test_an_image_has_it_in_a_directory(self) -> None:
        self.cell.write("/srv/image/master.cfg", "c = {}\n")
        self.cell.write("/srv/image/more.py", "x = 1\n")
        found = self._written({"source": "image", "image": {"directory": "/srv/image"}})
        self.assertEqual(found, {"master.cfg": "c = {}\n", "more.py": "x = 1\n"})


class Schema(unittest.TestCase):
    def setUp(self) -> None:
        self.network = Network()
        self.addCleanup(self.network.close)

    def test_it_is_expanded_while_masters_run_and_refused_without_harm(self) -> None:
        cell = self.network.cell("machine")
        # Nobody answers there, and so at once.
        cell.write("/etc/resolv.conf", "nameserver 127.0.0.1\n")
        cluster = Cluster(self.network, ["w"], "http://machine:8010/")
        cluster.prepare(cell)
        cluster.database = "postgresql://bb@machine:5432/bb"
        with self.network.told():
            self._expand(cell, cluster)

    def _expand(self, cell: Cell, cluster: Cluster) -> None:
        cluster.start_database(cell)
        self.assertIn("upgrade complete", cluster.upgrade(cell))
        master = cluster.start_master(cell, MUSTER_ROLES="web,scheduler,engine,gateway", MUSTER_PROBE="9980")
        master.wait_for("BuildMaster is running")
        command = [MUSTER, "upgrade-master", cluster.master_dir(cell, "job")]
        self.assertIn("upgrade complete", cell.run(command, cluster.env(), cwd="/tmp"))
        master.is_alive()
        ground.Rest(f"http://{cell.address}:9980").open("readyz")
        for url, words in [
            ("postgresql://bb@machine:1/bb", "machine:1"),
            ("postgresql://bb@nowhere.invalid/bb", "nowhere.invalid"),
            ("postgresql://nobody@machine/nothing", "nothing"),
        ]:
            with self.subTest(url):
                begin = time.monotonic()
                job = cell.start(command, {"DATABASE_URL": url}, cwd="/tmp")
                self.assertEqual(job.wait(), 1, job.said())
                self.assertIn(words, job.said())
                self.assertEqual(len(job.said().strip().splitlines()), 1, job.said())
                self.assertLess(time.monotonic() - begin, _SOON)
        master.is_alive()
