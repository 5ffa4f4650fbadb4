"""What the chart's Job does before pods are replaced, when it succeeds and when it can't; and the chart's own master.cfg."""

from __future__ import annotations

import subprocess
import tempfile
import time
import unittest
from pathlib import Path

from . import ground, kube
from .cells import Cell, Network
from .cluster import MUSTER, Cluster

#: A database that does not answer is told within this time.
_SOON = 30.0


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
