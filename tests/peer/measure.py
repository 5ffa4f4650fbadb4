"""The measurements: each prints one line of JSON, and appends it to `results.jsonl`. `__main__` says what they are called.

How to read them: CPU is of whole processes in the measured window, divided by the units of work; trust it more than time.
`runq_wait_s` is how long the masters' main threads waited for a CPU, `load1` the load average: both tell how much other work
disturbed the figures. A dispatch: workers are paused, requests forced, workers unpaused, and the clock runs until all are
complete. A latency: from the POST of the force to the start of the command on the worker, one at a time on an idle master.
"""

from __future__ import annotations

import concurrent.futures as cf
import json
import os
import re
import signal
import subprocess
import time
from http.client import HTTPConnection

from .peers import HERE, PY, TOP, Proc, cpu_of, diff, rss, runq_wait
from .seed import seed


def pct(v, q):
    v = sorted(v)
    return round(v[min(len(v) - 1, int(q * len(v)))], 2)


class Meter:
    def __init__(self, s):
        self.s, self.t0, self.c0 = s, time.time(), s.cpu()
        self.w0 = [runq_wait(m.pid) for m in s.m]

    def stop(self):
        return {
            "wall_s": round(time.time() - self.t0, 2),
            "cpu": diff(self.c0, self.s.cpu()),
            "runq_wait_s": round(sum(runq_wait(m.pid) for m in self.s.m) - sum(self.w0), 2),
            "load1": os.getloadavg()[0],
        }


def out(kind, test, **kw):
    r = dict(kind=kind, test=test, at=int(time.time()), **kw)
    print(json.dumps(r), flush=True)
    with open(os.path.join(TOP, "results.jsonl"), "a") as f:
        f.write(json.dumps(r) + "\n")


def newest_logs(m):
    b = m.api("builds?limit=1&order=-buildid")["builds"][0]["buildid"]
    return [l for st in m.api("builds/%d/steps" % b)["steps"] for l in m.api("steps/%d/logs" % st["stepid"])["logs"]]


def wait_idle(m, timeout=600):
    t0 = time.time()
    while m.api("buildrequests?complete=false&limit=1")["buildrequests"]:
        if time.time() - t0 > timeout:
            raise TimeoutError("requests still open")
        time.sleep(0.15)
    return time.time()


def set_paused(s, how, n):
    ids = {w["name"]: w["workerid"] for w in s.m[0].api("workers?field=workerid&field=name")["workers"]}
    with cf.ThreadPoolExecutor(8) as ex:
        list(ex.map(lambda i: s.m[0].rpc("workers/%d" % ids["w%d" % i], how), range(n)))


def force_many(s, b, n, conc=4):
    def one(i):
        return s.m[i % len(s.m)].force(b)

    t0 = time.time()
    with cf.ThreadPoolExecutor(conc) as ex:
        list(ex.map(one, range(n)))
    return time.time() - t0


def sim_for(s, w, proto):
    for x in s.sims:
        if x.proc.alive():
            if x.n == (w, proto):
                return x
            x.stop()
            time.sleep(1)
    x = s.sim(w, proto=proto)
    x.n = (w, proto)
    x.wait("up", w, 300)
    time.sleep(1)
    return x


def t_dispatch(s, n=300, w=32, proto="pb", runs=3):
    n, w, runs = int(n), int(w), int(runs)
    sim = sim_for(s, w, proto)
    for r in range(runs):
        d0 = sim.status()["done"]
        set_paused(s, "pause", w)
        time.sleep(1)
        me = Meter(s)
        ft = force_many(s, "bench", n)
        enq = me.stop()
        time.sleep(0.5)
        me = Meter(s)
        set_paused(s, "unpause", w)
        sim.wait("done", d0 + n, 200)
        wait_idle(s.m[0])
        x = me.stop()
        cpu = sum(x["cpu"][k] for k in ("masters", "pg", "xb") if k in x["cpu"])
        out(
            s.kind,
            "dispatch",
            n=n,
            workers=w,
            proto=proto,
            run=r,
            forces_per_s=round(n / ft, 1),
            enq_cpu_ms={k: round(1000 * v / n, 2) for k, v in enq["cpu"].items()},
            builds_per_s=round(n / x["wall_s"], 2),
            cpu_ms_per_build={k: round(1000 * v / n, 2) for k, v in x["cpu"].items()},
            all_cpu_ms_per_build=round(1000 * cpu / n, 1),
            **x,
        )


def t_latency(s, n=100, proto="pb"):
    n = int(n)
    sim = sim_for(s, 32, proto)
    sent, posted = {}, {}
    me = Meter(s)
    h = HTTPConnection("127.0.0.1", s.m[0].j["www"])
    for i in range(n):
        body = json.dumps({"jsonrpc": "2.0", "method": "force", "id": 1, "params": {"token": "L%d_%d" % (s.latencies, i)}})
        t0 = time.time()
        h.request("POST", "/api/v2/forceschedulers/force-lat", body, {"Content-Type": "application/json"})
        h.getresponse().read()
        posted["L%d_%d" % (s.latencies, i)] = time.time() - t0
        sent["L%d_%d" % (s.latencies, i)] = t0
        wait_idle(s.m[0])
        time.sleep(0.05)
    s.latencies += 1
    x = me.stop()
    lat = [1000 * (e["t"] - sent[e["tok"]]) for e in sim.events("start") if e.get("tok") in sent]
    po = [1000 * v for v in posted.values()]
    out(
        s.kind,
        "latency",
        n=len(lat),
        proto=proto,
        p50_ms=pct(lat, 0.5),
        p90_ms=pct(lat, 0.9),
        p99_ms=pct(lat, 0.99),
        min_ms=round(min(lat), 2),
        max_ms=round(max(lat), 2),
        post_p50_ms=pct(po, 0.5),
        post_p99_ms=pct(po, 0.99),
        **x,
    )


def t_attach(s, w=500, proto="pb", rate=0):
    w, rate = int(w), float(rate)
    for x in s.sims:
        x.stop()
    time.sleep(3)
    r0 = sum(rss(m.pid) for m in s.m)
    me = Meter(s)
    sim = s.sim(w, proto=proto, args=["--rate", str(rate)])
    sim.n = (w, proto)
    try:
        st = sim.wait("up", w, 100)
    except TimeoutError:
        st = sim.status()
    up = st["up"]
    wall = st["last_up"] - sim.t0
    time.sleep(3)
    x = me.stop()
    r1 = sum(rss(m.pid) for m in s.m)
    out(
        s.kind,
        "attach",
        workers=w,
        proto=proto,
        rate=rate,
        attached=up,
        attach_s=round(wall, 2),
        first_up_s=round(st["first_up"] - sim.t0, 2),
        per_worker_kb=round((r1 - r0) / up / 1024, 1),
        rss_before_mb=round(r0 / 1e6, 1),
        rss_after_mb=round(r1 / 1e6, 1),
        refused=st["refused"],
        downs=st["downs"],
        cpu_ms_per_worker=round(1000 * x["cpu"]["masters"] / up, 2),
        **x,
    )


def t_log(s, nbytes=100_000_000, proto="pb", linelen=100):
    nbytes, linelen = int(nbytes), int(linelen)
    sim = sim_for(s, 32, proto)
    r0 = sum(rss(m.pid) for m in s.m)
    me = Meter(s)
    s.m[0].force("log", bytes=str(nbytes), linelen=str(linelen))
    peak = r0
    while s.m[0].api("buildrequests?complete=false&limit=1")["buildrequests"]:
        peak = max(peak, sum(rss(m.pid) for m in s.m))
        time.sleep(0.25)
    x = me.stop()
    e = [e for e in sim.events("logdone")][-1]
    lg = newest_logs(s.m[0])
    out(
        s.kind,
        "log",
        bytes=nbytes,
        linelen=linelen,
        proto=proto,
        mb_per_s=round(nbytes / 1e6 / x["wall_s"], 2),
        sender_secs=round(e["secs"], 2),
        master_cpu_s_per_100mb=round(x["cpu"]["masters"] * 1e8 / nbytes, 2),
        rss_before_mb=round(r0 / 1e6, 1),
        rss_peak_mb=round(peak / 1e6, 1),
        num_lines=max(l["num_lines"] for l in lg),
        **x,
    )


def wrk(url, secs, conns):
    r = subprocess.run(["wrk", "-t1", "-c%d" % conns, "-d%ds" % secs, "--latency", url], capture_output=True, text=True).stdout

    def ms(v):
        m = re.match(r"([\d.]+)(us|ms|s)", v)
        return round(float(m[1]) * {"us": 0.001, "ms": 1, "s": 1000}[m[2]], 2)

    f = lambda p: ms(re.search(r"(?m)^\s+" + p + r"\s+(\S+)", r)[1])
    return {
        "rps": float(re.search(r"Requests/sec:\s+([\d.]+)", r)[1]),
        "p50_ms": f("50%"),
        "p99_ms": f("99%"),
        "n": int(re.search(r"(\d+) requests in", r)[1]),
        "bad": (re.search(r"Non-2xx.*: (\d+)", r) or [0, 0])[1],
        "transfer": re.search(r"Transfer/sec:\s+(\S+)", r)[1],
    }


def t_rest(s, builds=5000, secs=6):
    builds, secs = int(builds), int(secs)
    m = s.m[0]
    have = m.api("builds?limit=1&order=-buildid")["builds"]
    if not have or have[0]["buildid"] < builds:
        if not have:
            sim_for(s, 32, "pb")
            force_many(s, "bench", 4)
            wait_idle(m)
        seed(s, builds)
    sim_for(s, 32, "pb")
    m.force("log", bytes="1000000", linelen="100")
    wait_idle(m)
    lid = max(newest_logs(m), key=lambda l: l["num_lines"])["logid"]
    last = m.api("builds?limit=1&order=-buildid")["builds"][0]["buildid"]
    for path in ("builders", "builds?limit=50&order=-buildid", "builds/%d" % last, "logs/%d/raw" % lid):
        for conns in ((1,) if "raw" in path else (8,) if path[-1].isdigit() and "=" not in path else (1, 8)):
            me = Meter(s)
            r = wrk(m.url + "/api/v2/" + path, secs, conns)
            x = me.stop()
            out(
                s.kind,
                "rest",
                path=re.sub(r"\d{2,}(?=[/]|$)", "N", path),
                conns=conns,
                builds=last,
                cpu_ms_per_req=round(1000 * x["cpu"]["masters"] / max(1, r["n"]), 2),
                pg_ms_per_req=round(1000 * x["cpu"].get("pg", 0) / max(1, r["n"]), 2),
                **r,
                **x,
            )


def t_startup(s, runs=3):
    m = s.m[-1]
    for r in range(int(runs)):
        m.stop(signal.SIGTERM, 60)
        m.start()
        out(
            s.kind,
            "startup",
            run=r,
            to_http_s=round(m.start_s, 2),
            cpu_s=round(m.start_cpu, 2),
            workers_configured=m.j.get("workers", 32),
            rss_mb=round(rss(m.pid) / 1e6, 1),
            runq_wait_s=round(runq_wait(m.pid), 2),
            load1=os.getloadavg()[0],
        )


def t_restart(s, w=50):
    """SIGTERM an idle master, start it again; how long are its workers without a master"""
    w = int(w)
    for x in s.sims:
        x.stop()
    sim = s.sim(w, args=["--retry", "0.3"])
    sim.n = (w, "pb")
    sim.wait("up", w, 300)
    time.sleep(1)
    m = s.m[0]
    t0 = time.time()
    m.stop(signal.SIGTERM, 60)
    t1 = time.time()
    m.start()
    t2 = time.time()
    st = sim.wait("up", w, 300)
    ev = sim.events()
    down, gaps = {}, []
    for e in ev:
        if e["ev"] == "down":
            down[e["w"]] = e["t"]
        elif e["ev"] == "up" and e["w"] in down:
            gaps.append(e["t"] - down.pop(e["w"]))
    out(
        s.kind,
        "restart",
        workers=w,
        stop_s=round(t1 - t0, 2),
        start_s=round(t2 - t1, 2),
        moved=len(gaps),
        gap_p50_s=pct(gaps, 0.5),
        gap_max_s=round(max(gaps), 2),
        all_back_s=round(st["last_up"] - t0, 2),
        load1=os.getloadavg()[0],
    )


def t_fanout(s, clients=100, n=100):
    clients, n = int(clients), int(n)
    sim = sim_for(s, 32, "pb")
    for c in (0, clients):
        fo = None
        if c:
            fo = Proc(
                [PY, os.path.join(HERE, "wsfan.py"), s.m[0].url, str(c), os.path.join(s.dir, "fan.json")],
                s.dir,
                os.path.join(s.dir, "fan.log"),
            )
            while not os.path.exists(os.path.join(s.dir, "fan.json")):
                time.sleep(0.2)
        d0 = sim.status()["done"]
        set_paused(s, "pause", 32)
        time.sleep(1)
        force_many(s, "bench", n)
        time.sleep(1)
        f0 = json.load(open(os.path.join(s.dir, "fan.json"))) if c else {"events": 0, "bytes": 0}
        me = Meter(s)
        set_paused(s, "unpause", 32)
        sim.wait("done", d0 + n, 200)
        wait_idle(s.m[0])
        x = me.stop()
        time.sleep(2)
        f1 = json.load(open(os.path.join(s.dir, "fan.json"))) if c else f0
        cc = cpu_of(fo.pid) if fo else 0
        if fo:
            fo.stop()
            os.unlink(os.path.join(s.dir, "fan.json"))
        ev = f1["events"] - f0["events"]
        out(
            s.kind,
            "fanout",
            clients=c,
            n=n,
            events=ev,
            events_per_build=round(ev / n / max(1, c), 1),
            events_per_s=round(ev / x["wall_s"], 1),
            mb=round((f1["bytes"] - f0["bytes"]) / 1e6, 2),
            builds_per_s=round(n / x["wall_s"], 2),
            cpu_ms_per_build=round(1000 * x["cpu"]["masters"] / n, 1),
            fan_cpu_s=round(cc, 2),
            **x,
        )


def t_cross(s, n=50):
    """two masters: force on m0 while every worker is on m1 only"""
    for x in s.sims:
        x.stop()
    time.sleep(2)
    sim = s.sim(32, masters=[s.m[1]])
    sim.n = None
    sim.wait("up", 32)
    time.sleep(1)
    sent = {}
    for i in range(int(n)):
        t0 = time.time()
        s.m[0].force("lat", token="C%d" % i)
        sent["C%d" % i] = t0
        wait_idle(s.m[0])
        time.sleep(0.05)
    lat = [1000 * (e["t"] - sent[e["tok"]]) for e in sim.events("start") if e.get("tok") in sent]
    by = {}
    for b in s.m[0].api("builds?limit=%d&order=-buildid" % int(n))["builds"]:
        by[b["masterid"]] = by.get(b["masterid"], 0) + 1
    out(s.kind, "cross", n=len(lat), p50_ms=pct(lat, 0.5), p99_ms=pct(lat, 0.99), builds_by_master=by, load1=os.getloadavg()[0])
    sim.stop()
    time.sleep(1)


def t_router(s, how="kill"):
    """wamp only: the router goes away under two masters with connected workers and a running build"""
    sim = sim_for(s, 32, "pb")
    for i in range(4):
        s.m[i % 2].force("sleep", secs="15")
    time.sleep(3)
    t0 = time.time()
    s.xb.proc.stop(signal.SIGKILL if how == "kill" else signal.SIGTERM)
    life, http_ok = {}, {}
    while time.time() - t0 < 25 and len(life) < len(s.m):
        for i, m in enumerate(s.m):
            if i not in life and not m.proc.alive():
                life[i] = round(time.time() - t0, 2)
        time.sleep(0.1)
    for i, m in enumerate(s.m):
        try:
            m.api("builders", timeout=5)
            http_ok[i] = True
        except Exception as e:
            http_ok[i] = repr(e)[:80]
    rows = None
    if s.pg:
        rows = s.pg.sql("select state_string, results, complete_at is not null, count(*) from builds" " group by 1,2,3")
    out(
        s.kind,
        "router",
        how=how,
        exited_after_s=life,
        http=http_ok,
        sim=sim.status(),
        masters=s.pg and s.pg.sql("select id, active from masters"),
        builds=rows,
    )


def t_killmaster(s):
    """wamp only: kill -9 one of two masters that runs builds; what becomes of its requests"""
    sim = sim_for(s, 32, "pb")
    for i in range(8):
        s.m[i % 2].force("sleep", secs="10")
    time.sleep(4)
    before = s.pg.sql(
        "select masterid, count(*) from buildrequest_claims c join buildrequests r on"
        " r.id=c.brid where r.complete=0 group by 1 order by 1"
    )
    s.m[1].proc.p.kill()
    t0 = time.time()
    back = None
    while time.time() - t0 < 30:
        if sim.status()["up"] == 32:
            back = back or round(time.time() - t0, 2)
        time.sleep(0.25)
    q = (
        "select coalesce(c.masterid,0), r.complete, r.results, count(*) from buildrequests r left join"
        " buildrequest_claims c on r.id=c.brid group by 1,2,3 order by 1,2,3"
    )
    mid = s.pg.sql(q)
    ma = s.pg.sql("select id, active, last_active from masters order by 1")
    s.m[1].start()
    time.sleep(25)
    out(
        s.kind,
        "killmaster",
        claims_before=before,
        workers_back_s=back,
        after_30s=mid,
        masters_30s=ma,
        after_restart_25s=s.pg.sql(q),
        masters_end=s.pg.sql("select id, active from masters order by 1"),
        sim=sim.status(),
    )
