"""Starts and stops PostgreSQL, Crossbar, masters and simulated workers, and samples what they use.

Everything listens on loopback, on free ports.
"""

from __future__ import annotations

import glob
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = os.path.dirname(os.path.abspath(__file__))
#: The environment with Buildbot, and a Python with Twisted, msgpack, aiohttp and psycopg2: that of the tests has the first two.
BB = os.environ.get("PEER_BB", str(ROOT / ".venv"))
PY = os.environ.get("PEER_PY", BB + "/bin/python")
#: The environment with Crossbar; only `wamp` needs it.
XB = os.environ.get("PEER_XB", BB)
#: Where everything is made. The user below must be able to enter it.
TOP = os.environ.get("PEER_TMP", str(ROOT / "target/tmp/peer"))
PGBIN = os.environ.get("PEER_PGBIN", (sorted(glob.glob("/usr/lib/postgresql/*/bin")) or [""])[-1])
#: PostgreSQL refuses to run as root.
PGUSER = os.environ.get("PEER_PGUSER", "postgres")
SIM = os.path.join(HERE, "simworker.py")
TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def free_port():
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    p = s.getsockname()[1]
    s.close()
    return p


def cpu_of(pid):
    """user+system CPU seconds of a process and of its reaped children."""
    f = open("/proc/%d/stat" % pid).read().rsplit(")", 1)[1].split()
    return sum(int(x) for x in f[11:15]) / TICK


def tree(pid):
    out, todo = [], [pid]
    kids = {}
    for d in os.listdir("/proc"):
        if d.isdigit():
            try:
                pp = int(open("/proc/%s/stat" % d).read().rsplit(")", 1)[1].split()[1])
                kids.setdefault(pp, []).append(int(d))
            except OSError:
                pass
    while todo:
        p = todo.pop()
        out.append(p)
        todo += kids.get(p, [])
    return out


def cpu_tree(pid):
    t = 0.0
    for p in tree(pid):
        try:
            t += cpu_of(p)
        except OSError:
            pass
    return t


def runq_wait(pid):
    """seconds that the main thread was runnable but had no CPU (a noise gauge)"""
    return int(open("/proc/%d/schedstat" % pid).read().split()[1]) / 1e9


def rss(pid):
    return int(open("/proc/%d/statm" % pid).read().split()[1]) * PAGE


def rss_peak(pid):
    for line in open("/proc/%d/status" % pid):
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024


def http(url, data=None, timeout=120):
    req = urllib.request.Request(
        url,
        data=None if data is None else json.dumps(data).encode(),
        headers={"Content-Type": "application/json", "Accept": "application/json"},
    )
    with urllib.request.urlopen(req, timeout=timeout) as r:
        return json.loads(r.read())


class Proc:
    def __init__(self, argv, cwd, log, env=None, user=None):
        self.log = log
        if user:
            argv = ["setpriv", "--reuid", user, "--regid", user, "--init-groups"] + argv
        self.p = subprocess.Popen(
            argv,
            cwd=cwd,
            stdout=open(log, "ab"),
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=env,
            start_new_session=True,
        )
        self.pid = self.p.pid

    def alive(self):
        return self.p.poll() is None

    def stop(self, sig=signal.SIGTERM, wait=30):
        if self.alive():
            self.p.send_signal(sig)
            try:
                self.p.wait(wait)
            except subprocess.TimeoutExpired:
                self.p.kill()
                self.p.wait()
        return self.p.returncode


class Postgres:
    def __init__(self, d, extra=()):
        self.dir, self.port = os.path.join(d, "pg"), free_port()
        os.makedirs(self.dir)
        shutil.chown(self.dir, PGUSER, PGUSER)
        q = ["setpriv", "--reuid", PGUSER, "--regid", PGUSER, "--init-groups"]
        subprocess.run(
            q + [PGBIN + "/initdb", "-D", self.dir + "/data", "-A", "trust", "-U", "bb", "-E", "UTF8", "--locale", "C"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        self.proc = Proc(
            [
                PGBIN + "/postgres",
                "-D",
                self.dir + "/data",
                "-p",
                str(self.port),
                "-c",
                "listen_addresses=127.0.0.1",
                "-k",
                self.dir,
                "-c",
                "max_connections=200",
                *extra,
            ],
            self.dir,
            os.path.join(d, "pg.log"),
            user=PGUSER,
        )
        for _ in range(200):
            if subprocess.run([PGBIN + "/pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]).returncode == 0:
                break
            time.sleep(0.05)
        self.pid = self.proc.pid
        self.sql("create database buildbot", db="postgres")
        self.url = "postgresql+psycopg2://bb@127.0.0.1:%d/buildbot" % self.port

    def sql(self, q, db="buildbot"):
        return subprocess.run(
            ["psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "bb", "-d", db, "-At", "-c", q],
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    def stop(self):
        self.proc.stop(signal.SIGINT)


class Crossbar:
    def __init__(self, d):
        self.dir, self.port = os.path.join(d, "xb"), free_port()
        os.makedirs(self.dir)
        cfg = json.load(open(os.path.join(HERE, "crossbar.json")))
        cfg["workers"][0]["transports"][0]["endpoint"]["port"] = self.port
        json.dump(cfg, open(os.path.join(self.dir, "config.json"), "w"), indent=1)
        env = dict(os.environ, HOME=self.dir, PYTHONDONTWRITEBYTECODE="1")
        t0 = time.time()
        self.proc = Proc([XB + "/bin/crossbar", "start", "--cbdir", self.dir], self.dir, os.path.join(d, "xb.log"), env=env)
        for _ in range(1200):
            try:
                socket.create_connection(("127.0.0.1", self.port), 0.2).close()
                break
            except OSError:
                if not self.proc.alive():
                    raise SystemExit("crossbar died, see " + self.proc.log)
                time.sleep(0.1)
        else:
            raise SystemExit("crossbar does not listen, see " + self.proc.log)
        self.start_s = time.time() - t0
        self.pid, self.url = self.proc.pid, "ws://127.0.0.1:%d/ws" % self.port

    def stop(self):
        self.proc.stop()


class Master:
    def __init__(self, d, name, db_url, wamp=None, msgpack=True, **cfg):
        self.dir, self.name = os.path.join(d, name), name
        os.makedirs(self.dir, exist_ok=True)
        self.j = dict(cfg, db_url=db_url, wamp=wamp, pb=free_port(), www=free_port(), msgpack=free_port() if msgpack else None)
        self.save()
        self.db_url = db_url
        shutil.copy(os.path.join(HERE, "master.cfg"), self.dir)
        with open(os.path.join(self.dir, "buildbot.tac"), "w") as f:
            f.write(
                "import os, sys\n"
                "from twisted.application import service\n"
                "from twisted.python.log import ILogObserver, FileLogObserver\n"
                "from twisted.python.logfile import LogFile\n"
                "from buildbot.master import BuildMaster\n"
                "basedir = %r\n"
                "application = service.Application('buildmaster')\n"
                "application.setComponent(ILogObserver, FileLogObserver("
                "LogFile.fromFullPath(os.path.join(basedir, 'twistd.log'),"
                " rotateLength=10000000, maxRotatedFiles=2)).emit)\n"
                "m = BuildMaster(basedir, 'master.cfg', None)\n"
                "m.setServiceParent(application)\n" % self.dir
            )
        self.url = "http://127.0.0.1:%d" % self.j["www"]
        self.proc = None

    def save(self):
        json.dump(self.j, open(os.path.join(self.dir, "peer.json"), "w"))

    def upgrade(self):
        r = subprocess.run([BB + "/bin/buildbot", "upgrade-master", self.dir], capture_output=True, text=True)
        if r.returncode:
            raise SystemExit("upgrade-master: " + r.stdout + r.stderr)

    def start(self, wait=True):
        for f in ("twistd.pid",):
            if os.path.exists(os.path.join(self.dir, f)):
                os.unlink(os.path.join(self.dir, f))
        t0 = time.time()
        self.proc = Proc(
            [BB + "/bin/twistd", "--nodaemon", "--pidfile", "", "--no_save", "-y", "buildbot.tac"],
            self.dir,
            os.path.join(self.dir, "stdout.log"),
            env=dict(os.environ, PYTHONDONTWRITEBYTECODE="1"),
        )
        self.pid = self.proc.pid
        if wait:
            while True:
                try:
                    http(self.url + "/api/v2/masters", timeout=10)
                    break
                except Exception:
                    if not self.proc.alive():
                        raise SystemExit("master died, see " + self.dir + "/twistd.log")
                    if time.time() - t0 > 120:
                        raise SystemExit("master does not answer, see " + self.dir)
                    time.sleep(0.02)
            self.start_s = time.time() - t0
            self.start_cpu = cpu_of(self.pid)
        return self

    def stop(self, sig=signal.SIGTERM, wait=60):
        if self.proc:
            return self.proc.stop(sig, wait)

    def api(self, path, timeout=120):
        return http(self.url + "/api/v2/" + path, timeout=timeout)

    def rpc(self, path, method, **params):
        return http(self.url + "/api/v2/" + path, {"jsonrpc": "2.0", "method": method, "params": params, "id": 1})

    def force(self, b, **props):
        return self.rpc("forceschedulers/force-" + b, "force", **props)


class Sim:
    def __init__(self, d, name, masters, count, proto="pb", first=0, args=()):
        os.makedirs(d, exist_ok=True)
        self.ev, self.st = os.path.join(d, name + ".ev"), os.path.join(d, name + ".st")
        for f in (self.ev, self.st):
            if os.path.exists(f):
                os.unlink(f)
        key = "pb" if proto == "pb" else "msgpack"
        argv = [
            PY,
            SIM,
            "--proto",
            proto,
            "--count",
            str(count),
            "--first",
            str(first),
            "--events",
            self.ev,
            "--status",
            self.st,
            *args,
        ]
        for m in masters:
            argv += ["--master", "127.0.0.1:%d" % (m.j[key] if isinstance(m, Master) else m)]
        self.t0 = time.time()
        self.proc = Proc(argv, d, os.path.join(d, name + ".log"))
        self.pid = self.proc.pid

    def status(self):
        try:
            return json.load(open(self.st))
        except (OSError, ValueError):
            return {"up": 0, "done": 0, "t": 0}

    def wait(self, key, n, timeout=300):
        t0 = time.time()
        while self.status().get(key, 0) < n:
            if time.time() - t0 > timeout:
                raise TimeoutError("%s: %s" % (key, self.status()))
            if not self.proc.alive():
                raise SystemExit("simworker died: " + self.proc.log)
            time.sleep(0.1)
        return self.status()

    def events(self, ev=None):
        time.sleep(0.4)
        out = [json.loads(line) for line in open(self.ev)]
        return [e for e in out if ev is None or e["ev"] == ev]

    def stop(self):
        self.proc.stop()


class Setup:
    """All that one measurement needs; kind: sqlite, pg, or wamp (two masters, PostgreSQL, Crossbar)."""

    def __init__(self, kind, master=Master, **cfg):
        self.kind, self.master = kind, master
        self.latencies = 0
        self.dir = os.path.join(TOP, "%s-%d-%d" % (kind, os.getpid(), int(time.time() * 10) % 100000))
        os.makedirs(self.dir)
        os.chmod(TOP, 0o755)
        os.chmod(self.dir, 0o755)
        self.pg = self.xb = None
        self.sims, self.m = [], []
        try:
            self._start(kind, cfg)
        except BaseException:
            self.stop()
            raise

    def _start(self, kind, cfg):
        n = 1
        if kind == "sqlite":
            url = "sqlite:///state.sqlite"
        else:
            self.pg = Postgres(self.dir)
            url = self.pg.url
        if kind == "wamp":
            self.xb = Crossbar(self.dir)
            n = cfg.pop("masters", 2)
        self.m = [self.master(self.dir, "m%d" % i, url, wamp=self.xb.url if self.xb else None, **cfg) for i in range(n)]
        self.m[0].upgrade()
        for m in self.m:
            m.start()

    def sim(self, count, **kw):
        s = Sim(self.dir, "sim%d" % len(self.sims), kw.pop("masters", self.m), count, **kw)
        self.sims.append(s)
        return s

    def cpu(self):
        c = {"masters": sum(cpu_of(m.pid) for m in self.m)}
        if self.pg:
            c["pg"] = cpu_tree(self.pg.pid)
        if self.xb:
            c["xb"] = cpu_tree(self.xb.pid)
        c["sim"] = sum(cpu_of(s.pid) for s in self.sims if s.proc.alive())
        return c

    def stop(self, keep=True):
        for m in self.m:
            m.proc and m.proc.stop(signal.SIGKILL)
        for s in self.sims:
            s.stop()
        if self.xb:
            self.xb.stop()
        if self.pg:
            self.pg.stop()
        if not keep:
            shutil.rmtree(self.dir)


def diff(a, b):
    return {k: round(b[k] - a.get(k, 0), 2) for k in b}
