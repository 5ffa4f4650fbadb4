"""compose.yaml is what Compose accepts, and the cluster that it describes builds."""

from __future__ import annotations

import json
import unittest

import compose_spec

from . import compose, ground
from .cells import Network


def accept(text: str) -> None:
    """Raises what Compose's specification says against a file."""
    compose_spec.PyCompose.from_json(text).validate()


class File(unittest.TestCase):
    def test_it_keeps_to_the_specification(self) -> None:
        accept(json.dumps(compose.load()))

    def test_a_wrong_file_is_found(self) -> None:
        text = json.dumps(compose.load())
        for good, wrong in [
            ('"healthcheck"', '"healthchek"'),
            ('"service_healthy"', '"healthy"'),
            ('"512M"', '"512Q"'),
            ('["worker_password"]', '["password"]'),
        ]:
            with self.subTest(wrong), self.assertRaises(ValueError):
                accept(text.replace(good, wrong))

    def test_everything_is_bounded_and_whole(self) -> None:
        file = compose.load()
        for name, service in file["services"].items():
            with self.subTest(name):
                self.assertIn("memory", service["deploy"]["resources"]["limits"])
                self.assertIn("restart", service)
                for other, wanted in service.get("depends_on", {}).items():
                    checked = "healthcheck" in file["services"][other]
                    self.assertEqual(wanted["condition"], "service_healthy" if checked else "service_completed_successfully")
                for volume in service.get("volumes", []):
                    source = volume.split(":")[0]
                    found = (ground.ROOT / source).is_file() if source.startswith(".") else source in file["volumes"]
                    self.assertTrue(found, volume)


class Cluster(unittest.TestCase):
    def test_its_commands_make_a_cluster_that_builds(self) -> None:
        network = Network()
        self.addCleanup(network.close)
        project = compose.Project(network)
        with network.told():
            self._builds(project)

    def _builds(self, project: compose.Project) -> None:
        project.up()
        rest = ground.Rest(f"http://{project.cells['nginx'].address}:8080")
        for builder, worker in (("hello", "worker-1"), ("hello-stock", "stock-1")):
            rest.worker(worker)
            builds = rest.builds(rest.force(f"force-{builder}"))
            self.assertEqual([build["results"] for build in builds], [0], builds)
        names = {master["name"].split(":")[0] for master in rest.get("masters")["masters"] if master["active"]}
        self.assertEqual(names, {"scheduler", "engine-1", "engine-2", "web-1", "web-2", "gateway"})
