"""Two masters behind nginx, HAProxy and Apache, as deploy/ configures them; one drains while clients look and builds run."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import re
import shutil
import ssl
import subprocess
import threading
import unittest
from typing import Any
from urllib.parse import urljoin

import websockets

from . import ground
from .cells import Cell, Network
from .cluster import MUSTER, Cluster
from .ground import ROOT, Process, until

_URL = "https://ci.example.org/ci/"
_APACHE = "ssl proxy proxy_http proxy_wstunnel proxy_balancer proxy_hcheck slotmem_shm lbmethod_byrequests lbmethod_bybusyness headers"
#: Looks of each client after the drain began, none of which may fail.
_LOOKS = 10


class Client(threading.Thread):
    """Looks again and again, each time on a new connection, and on one that stays; keeps what failed."""

    def __init__(self, address: str):
        super().__init__()
        self.address, self.looks, self.failures, self.ending = address, 0, list[str](), threading.Event()

    def run(self) -> None:
        kept = _connect(self.address)
        while not self.ending.wait(0.02):
            try:
                for path in ("api/v2/builders", "builders", "api/v2/builds?limit=3"):
                    with contextlib.closing(_connect(self.address)) as fresh:
                        self._look(fresh, path)
                try:
                    self._look(kept, "api/v2/masters")
                except (http.client.RemoteDisconnected, ConnectionResetError):
                    # Whoever keeps a connection must be able to make a new one.
                    kept = _connect(self.address)
                    self._look(kept, "api/v2/masters")
                self.looks += 1
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))

    def _look(self, connection: http.client.HTTPSConnection, path: str) -> None:
        connection.request("GET", f"/ci/{path}", headers={"Host": "ci.example.org"})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            self.failures.append(f"{path}: {answer.status} {body[:200]!r}")


def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _connect(address: str) -> http.client.HTTPSConnection:
    return http.client.HTTPSConnection(address, timeout=20, context=_tls())


def _get(address: str, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], str]:
    connection = _connect(address)
    with contextlib.closing(connection):
        connection.request(method, path, headers={"Host": "ci.example.org", **headers})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.read().decode(errors="replace")


class Balancers(unittest.TestCase):
    def setUp(self) -> None:
        self.network = Network()
        self.addCleanup(self.network.close)

    def test_a_master_drains_behind_each_of_them_and_nobody_notices(self) -> None:
        with self.network.told():
            self._start()
            for name, address in self.balancers.items():
                with self.subTest(name):
                    self._pages_work_below_a_path(address)
                    asyncio.run(self._events_come(address))
            self._drain()

    def _start(self) -> None:
        self.workers = {"own-nginx": "nginx", "own-haproxy": "haproxy", "own-apache": "apache"}
        self.stock = {"stock-nginx": "nginx", "stock-haproxy": "haproxy"}
        cluster = Cluster(self.network, [*self.workers, *self.stock], _URL)
        self.cluster = cluster
        database = self.network.cell("database")
        masters = [self.network.cell(f"muster-{number}") for number in (1, 2)]
        balancers = [self.network.cell(name) for name in ("nginx", "haproxy", "apache")]
        outside = self.network.cell("outside")
        for cell in self.network.cells.values():
            cluster.prepare(cell)
        cluster.start_database(database)
        database.start([MUSTER, "router", "--listen", "0.0.0.0:8080"]).wait_for("the router listens on")
        cluster.router = "ws://database:8080/ws"
        cluster.upgrade(masters[0])
        self.masters = [cluster.start_master(cell, MUSTER_PROBE="9980") for cell in masters]
        for master in self.masters:
            master.wait_for("BuildMaster is running")
        self.addresses = [cell.address for cell in masters]
        starts = [_start_nginx, _start_haproxy, _start_apache]
        running = [start(cell) for start, cell in zip(starts, balancers)]
        self.balancers = {cell.name: cell.address for cell in balancers}
        for cell, process in zip(balancers, running):
            until(f"pages behind {cell.name}", lambda: process.is_alive() and _get(cell.address, "/ci/")[0] == 200)
        for worker, balancer in self.workers.items():
            cluster.start_worker(outside, worker, f"ws://{balancer}:9990")
        for worker, balancer in self.stock.items():
            cluster.start_stock_worker(outside, worker, f"{balancer}:9989")
        self.rest = ground.Rest(f"http://{self.addresses[1]}:8010")
        for worker in [*self.workers, *self.stock]:
            self.rest.worker(worker)

    def _pages_work_below_a_path(self, address: str) -> None:
        status, headers, _ = _get(address, "/ci")
        self.assertEqual(status, 301)
        self.assertTrue(headers["location"].endswith("/ci/"), headers)
        status, _, page = _get(address, "/ci/")
        self.assertIn("builders", page)
        seen = {"/ci/"}
        queue = [("/ci/", page)]
        while queue and len(seen) < 40:
            at, page = queue.pop()
            self.assertIn('data-root=".', page, f"{at} has no root")
            for link in re.findall(r'(?:href|src)="([^"#?]+)["#?]', page):
                target = urljoin(_URL.removesuffix("/ci/") + at, link)
                if not target.startswith("https://ci.example.org/"):
                    continue
                path = target.removeprefix("https://ci.example.org")
                self.assertTrue(path.startswith("/ci/"), f"{at} leads to {link}, out of the path")
                if path in seen:
                    continue
                seen.add(path)
                status, headers, text = _get(address, path)
                self.assertEqual(status, 200, path)
                if headers.get("content-type", "").startswith("text/html"):
                    queue.append((path, text))
        self.assertTrue({"/ci/builders", "/ci/workers", "/ci/static/style.css"} <= seen, seen)
        browser = {"Origin": "https://ci.example.org", "Sec-Fetch-Site": "same-origin"}
        status, headers, _ = _get(address, "/ci/theme", "POST", **browser)
        where = urljoin(_URL + "theme", headers.get("location", ""))
        self.assertEqual((status, where), (303, _URL))
        self.assertIn(f'"buildbotURL":"{_URL}"', _get(address, "/ci/config")[2].replace(" ", ""))

    async def _events_come(self, address: str) -> None:
        socket = await websockets.connect("wss://ci.example.org/ci/ws", host=address, ssl=_tls())
        await socket.send('{"cmd": "startConsuming", "path": "schedulers/*/*", "_id": 1}')
        self.assertIn('"code":200', (await asyncio.wait_for(socket.recv(), 20)).replace(" ", ""))
        await socket.close()
        reader, writer = await asyncio.open_connection(address, 443, ssl=_tls())
        writer.write(b"GET /ci/sse/listen/schedulers/*/* HTTP/1.1\r\nHost: ci.example.org\r\n\r\n")
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
        self.assertIn(b"text/event-stream", head)
        first = await asyncio.wait_for(reader.readuntil(b"event"), 20)
        self.assertTrue(first, "the first event is not held back")
        writer.close()

    def _drain(self) -> None:
        # Builds on stock workers can't move; a master that can wait for them is told how long.
        waits = "--drain-timeout" in subprocess.run([ground.muster(), "master", "--help"], capture_output=True, text=True).stdout
        names = [*self.workers, *self.stock] if waits else list(self.workers)
        requests = {name: self.rest.force(f"force-{name}") for name in names}
        for name, request in requests.items():
            until(f"the build on {name}", lambda: self._has_begun(request))
        clients = {name: Client(address) for name, address in self.balancers.items()}
        for client in clients.values():
            client.start()
            until("a first look", lambda: client.looks)
        self.masters[0].signal(ground.signal.SIGTERM)
        before = {name: client.looks for name, client in clients.items()}
        for name, client in clients.items():
            until(f"looks through {name}", lambda: client.looks > before[name] + _LOOKS or client.failures)
        (self.cluster.hold / "go").touch()
        for name, request in requests.items():
            with self.subTest(name):
                builds = self.rest.builds(request)
                self.assertEqual([build["results"] for build in builds], [0], "the build went on where it was")
        self.assertEqual(self.masters[0].wait(), 0)
        for name, client in clients.items():
            until(f"looks through {name}", lambda: client.looks > before[name] + 2 * _LOOKS or client.failures)
            client.ending.set()
            client.join()
            with self.subTest(name):
                self.assertEqual(client.failures, [])

    def _has_begun(self, request: int) -> Any:
        for build in self.rest.get(f"builds?buildrequestid={request}")["builds"]:
            for step in self.rest.get(f"builds/{build['buildid']}/steps")["steps"]:
                for log in self.rest.get(f"steps/{step['stepid']}/logs")["logs"]:
                    return "begun" in self.rest.get(f"logs/{log['logid']}/contents")["logchunks"][0]["content"]
        return None


def _certificate(cell: Cell) -> None:
    directory = cell.root / "etc/muster"
    directory.mkdir()
    key, certificate = directory / "tls.key", directory / "tls.crt"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    subject = ["-subj", "/CN=ci.example.org", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command, *subject], check=True, capture_output=True)
    (directory / "tls.pem").write_text(certificate.read_text() + key.read_text())


def _start_nginx(cell: Cell) -> Process:
    _certificate(cell)
    cell.write("/etc/nginx/nginx.conf", (ROOT / "deploy/nginx/nginx.conf").read_text())
    for directory in ("var/log/nginx", "var/lib/nginx"):
        (cell.root / directory).mkdir(parents=True)
    return cell.start(["nginx", "-g", "daemon off;"])


def _start_haproxy(cell: Cell) -> Process:
    _certificate(cell)
    cell.write("/etc/haproxy/haproxy.cfg", (ROOT / "deploy/haproxy/haproxy.cfg").read_text())
    return cell.start(["haproxy", "-W", "-db", "-f", "/etc/haproxy/haproxy.cfg"])


def _start_apache(cell: Cell) -> Process:
    _certificate(cell)
    cell.write("/etc/apache2/sites-available/muster.conf", (ROOT / "deploy/apache/muster.conf").read_text())
    for directory in ("var/log/apache2", "var/lock/apache2", "var/run/apache2", "run/lock"):
        (cell.root / directory).mkdir(parents=True, exist_ok=True)
    shutil.copytree("/var/lib/apache2", cell.root / "var/lib/apache2", symlinks=True)
    script = f"a2enmod -q {_APACHE}; a2dissite -q 000-default || true; a2ensite -q muster; . /etc/apache2/envvars; exec apache2 -DFOREGROUND"
    return cell.start(["sh", "-ec", script])
