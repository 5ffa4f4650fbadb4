"""A cluster on ::1 alone: there is no address of IPv4 at all where it runs."""

from __future__ import annotations

import unittest

from . import ground
from .cells import Cell, Network, run
from .cluster import MUSTER, Cluster

_NAME = "ci.example.org"


class OnlyIpv6(unittest.TestCase):
    def setUp(self) -> None:
        self.network = Network()
        self.addCleanup(self.network.close)

    def test_database_router_masters_gateway_and_workers_meet_on_the_loopback(self) -> None:
        cell = self.network.cell("only6")
        for command in ("link set eth0 down", "address flush dev lo", "address add ::1/128 dev lo"):
            run("ip", "-n", cell.namespace, *command.split())
        cell.write("/etc/hosts", f"::1 localhost {_NAME}\n")
        with self.network.told():
            self._builds(cell)

    def _builds(self, cell: Cell) -> None:
        workers = ["own", "own-by-name", "stock"]
        cluster = Cluster(self.network, workers, "http://[::1]:8010/", host=r"\:\:1")
        cluster.database, cluster.router = "postgresql://bb@[::1]:5432/bb", "ws://[::1]:8080/ws"
        cluster.prepare(cell)
        cluster.start_database(cell, listen="::1")
        cell.start([MUSTER, "router", "--listen", "[::1]:8080"]).wait_for("the router listens on")
        cluster.upgrade(cell)
        cluster.start_master(cell, MUSTER_PROBE=r"tcp:9980:interface=\:\:1").wait_for("BuildMaster is running")
        cluster.start_worker(cell, "own", "ws://[::1]:9990")
        cluster.start_worker(cell, "own-by-name", f"ws://{_NAME}:9990")
        # A stock worker looks for a name's address of IPv4 only, so it is given the address.
        cluster.start_stock_worker(cell, "stock", "localhost:9989", r"--connection-string=tcp:host=\:\:1:port=9989")
        (cluster.hold / "go").touch()
        client = ["python3", "-m", "tests.operations.build_on", "http://[::1]:8010", *workers]
        said = cell.run(client, cwd=str(ground.ROOT))
        self.assertEqual(said.splitlines(), [f"{worker} [0]" for worker in workers])
        addresses = run("ip", "netns", "exec", cell.namespace, "ss", "-Hltn")
        self.assertTrue(addresses)
        self.assertTrue(all("[::1]:" in line for line in addresses.splitlines()), addresses)
