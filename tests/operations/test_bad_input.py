"""Certificates that ran out, files with the wrong rights, configurations that don't load: a message, and no harm."""

from __future__ import annotations

import datetime
import ssl
import unittest
import urllib.error
import urllib.request
from pathlib import Path

from . import ground
from .cells import Network, run
from .ground import Process, until

_MUSTER = "/tmp/bin/muster"
_USER = 10001

_CONFIG = """
from buildbot.plugins import schedulers, steps, util, worker
c = BuildmasterConfig = {}
c["workers"] = [worker.Worker("own", "secret")]
factory = util.BuildFactory([steps.ShellCommand(command=["true"])])
c["builders"] = [util.BuilderConfig(name="b", workernames=["own"], factory=factory)]
c["schedulers"] = [schedulers.ForceScheduler(name="force", builderNames=["b"])]
c["protocols"] = {"session": {"port": "tcp:9990"}, "pb": {"port": %(pb)r}}
c["www"] = {"port": %(web)r}
c["buildbotURL"] = "https://machine:8010/"
%(more)s
"""
#: What `openssl ca` wants to know.
_AUTHORITY = """
[ca]
default_ca = this
[this]
database = %(directory)s/index
serial = %(directory)s/serial
new_certs_dir = %(directory)s
default_md = sha256
policy = any
x509_extensions = names
[any]
commonName = supplied
[names]
subjectAltName = DNS:machine, IP:%(address)s
"""
#: What a refusal may take: what is wrong, where, and that the master does not start.
_LINES = 3
_TLS = "ssl:%d:privateKey=tls.key:certKey=tls.crt"


class BadInput(unittest.TestCase):
    def setUp(self) -> None:
        self.network = Network()
        self.addCleanup(self.network.close)
        self.cell = self.network.cell("machine")
        self.cell.bind(Path(ground.muster()), _MUSTER)
        self.directory = self.cell.root / "srv/master"
        self.cell.root.joinpath("srv").chmod(0o777)
        self.cell.run([_MUSTER, "create-master", "-q", "/srv/master"], user=_USER, cwd="/tmp")
        self._configure()

    def _configure(self, pb: str = "tcp:9989", web: str = "tcp:8010", more: str = "") -> None:
        self.cell.write("/srv/master/master.cfg", _CONFIG % {"pb": pb, "web": web, "more": more})

    def _certificate(self, days: int) -> None:
        """One that is good since a week, for so many days from now on; they may be less than none."""
        directory = self.directory
        (directory / "ca.cnf").write_text(_AUTHORITY % {"directory": directory, "address": self.cell.address})
        (directory / "index").write_text("")
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=machine"]
        run("openssl", "req", *curve, "-keyout", f"{directory}/tls.key", "-out", f"{directory}/request")
        now = datetime.datetime.now(datetime.timezone.utc)
        start, end = (f"{now + datetime.timedelta(days=far):%Y%m%d%H%M%SZ}" for far in (-7, days))
        sign = ["openssl", "ca", "-batch", "-notext", "-selfsign", "-rand_serial", "-config", f"{directory}/ca.cnf"]
        files = ["-keyfile", f"{directory}/tls.key", "-in", f"{directory}/request", "-out", f"{directory}/tls.crt"]
        run(*sign, *files, "-startdate", start, "-enddate", end)
        (directory / "tls.key").chmod(0o644)

    def _start(self, *options: str) -> Process:
        return self.cell.start([_MUSTER, "master", *options, "/srv/master"], user=_USER, cwd="/tmp")

    def _refused(self, *words: str, command: tuple[str, ...] = ("master", "/srv/master")) -> None:
        """It ends at once with 1, and says something that has the words."""
        process = self.cell.start([_MUSTER, *command], user=_USER, cwd="/tmp")
        self.assertEqual(process.wait(), 1, process.said())
        told = [line for line in process.said().splitlines() if " INFO " not in line and " WARN " not in line]
        self.assertLessEqual(len(told), _LINES, process.said())
        for word in words:
            self.assertIn(word, "\n".join(told))

    def _status(self, verify: bool) -> int:
        context = ssl.create_default_context(cafile=str(self.directory / "tls.crt"))
        if not verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return int(urllib.request.urlopen(f"https://{self.cell.address}:8010/", context=context, timeout=20).status)

    def test_a_certificate_that_ran_out_is_told_and_everything_else_goes_on(self) -> None:
        with self.network.told():
            self._configure(pb=_TLS % 9989, web=_TLS % 8010)
            self._certificate(days=-3)
            master = self._start()
            master.wait_for("BuildMaster is running")
            warnings = [line for line in master.said().splitlines() if "tls.crt ran out 3 days ago" in line]
            self.assertEqual([port for port in (":8010", ":9989") if port in " ".join(warnings)], [":8010", ":9989"])
            self.assertEqual(self._status(verify=False), 200)
            with self.assertRaisesRegex(urllib.error.URLError, "certificate has expired"):
                self._status(verify=True)
            worker = [_MUSTER, "worker", "/tmp/own", "--master", "ws://machine:9990", "--name", "own"]
            self.cell.start(worker, {"MUSTER_WORKER_PASSWORD": "secret"}, user=_USER, cwd="/tmp")
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            rest = ground.Rest(f"https://{self.cell.address}:8010", context)
            self.assertEqual([build["results"] for build in rest.builds(rest.force("force"))], [0])
            self.assertEqual(master.stop(), 0)
            self._certificate(days=3)
            master = self._start()
            master.wait_for("BuildMaster is running")
            self.assertNotIn("ran out", master.said())
            self.assertEqual(self._status(verify=True), 200)

    def test_a_router_whose_certificate_ran_out_is_told_and_waited_for(self) -> None:
        with self.network.told():
            self._certificate(days=-3)
            tls = ["--tls-certificate", "/srv/master/tls.crt", "--tls-key", "/srv/master/tls.key"]
            command = [_MUSTER, "router", "--listen", "0.0.0.0:8443", *tls]
            router = self.cell.start(command, user=_USER, cwd="/tmp")
            router.wait_for("the router listens on")
            url = 'c["mq"] = {"type": "wamp", "router_url": "wss://machine:8443/ws", "tls_ca": "/srv/master/tls.crt"}'
            self._configure(more=url)
            master = self._start("--probe", "9980")
            master.wait_for("BuildMaster is running")
            until("a word about the certificate", lambda: "certificate expired" in master.said())
            self.assertEqual(ground.Rest(f"http://{self.cell.address}:9980").open("readyz"), b"ok\n")
            router.stop()
            self._certificate(days=3)
            self.cell.start(command, user=_USER, cwd="/tmp").wait_for("the router listens on")
            metrics = ground.Rest(f"http://{self.cell.address}:9980")
            until("the router", lambda: b"\nmuster_bus_connected 1" in metrics.open("metrics"))

    def test_a_key_that_nobody_may_read_is_named(self) -> None:
        with self.network.told():
            self._configure(web=_TLS % 8010)
            self._certificate(days=3)
            (self.directory / "tls.key").chmod(0o600)
            self._refused("tls.key", "Permission denied", "c['www']['port']")

    def test_files_that_nobody_may_read_are_named(self) -> None:
        with self.network.told():
            (self.directory / "master.cfg").chmod(0o000)
            self._refused("/srv/master/master.cfg", "ermission")
            self.cell.write("/srv/password", "secret")
            (self.cell.root / "srv/password").chmod(0o600)
            worker = ("worker", "/tmp/own", "--master", "ws://machine:9990", "--name", "own")
            self._refused("/srv/password", "ermission", command=(*worker, "--password-file", "/srv/password"))

    def test_a_release_that_cannot_load_the_configuration_leaves_the_others_alone(self) -> None:
        with self.network.told():
            old = self._start("--probe", "9980")
            old.wait_for("BuildMaster is running")
            self.cell.run([_MUSTER, "create-master", "-q", "/srv/new"], user=_USER, cwd="/tmp")
            self.cell.write("/srv/new/master.cfg", "from buildbot.plugins import *\nc = BuildmasterConfig = {}\nc['x'] = util.Nope()\n")
            new = self.cell.start([_MUSTER, "master", "--probe", "9981", "/srv/new"], user=_USER, cwd="/tmp")
            self.assertEqual(new.wait(), 1, new.said())
            self.assertIn("Nope", new.said())
            with self.assertRaises(urllib.error.URLError):
                ground.Rest(f"http://{self.cell.address}:9981").open("readyz")
            old.is_alive()
            self.assertEqual(ground.Rest(f"http://{self.cell.address}:9980").open("readyz"), b"ok\n")
