#!/usr/bin/env python3
"""Simulated Buildbot worker fleet: many workers in one process.

Speaks the two wire protocols of the Buildbot 4.x worker:
  * pb       - Twisted Perspective Broker over TCP
  * msgpack  - msgpack maps inside binary WebSocket frames, HTTP Basic auth
No process is ever spawned: each command is answered from memory, so that the
cost measured is the master's.

Command conventions (first word(s) of the `command` of a shell step):
  true | anything else    one header update, rc=0, complete
  sim sleep SECS          the same after SECS seconds
  sim fail RC             the same with that rc
  sim log BYTES LINELEN   stdout of BYTES bytes in lines of LINELEN characters,
                          sent in ~64 KiB updates, at most --window of them
                          not yet acknowledged; then rc=0
  ... tok=XYZ anywhere    the token is written with the event (correlation)

Events go to --events as JSON lines: {"t": epoch, "ev": ..., "w": worker, ...}
  ev: up | down | start | done | logdone | refused
A status line goes to --status (a file rewritten twice a second):
  {"up": n, "max_up":, "first_up":, "last_up":, "started":, "done":, ...}

Several masters: --master may be repeated; worker i connects to master
i % len(masters), and when a connection fails or is lost, tries the next one.
Needs: twisted, msgpack.
"""

import argparse
import base64
import json
import os
import random
import struct
import sys
import time

import msgpack
from twisted.cred import credentials
from twisted.internet import defer, protocol, reactor, task
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.spread import pb

A = None  # arguments
EV = None  # events file
ST = {
    "up": 0,
    "max_up": 0,
    "first_up": None,
    "last_up": None,
    "started": 0,
    "done": 0,
    "cmds": 0,
    "first_start": None,
    "last_done": None,
    "downs": 0,
    "last_down": None,
    "refused": 0,
    "bytes": 0,
    "inflight": 0,
    "max_inflight": 0,
}

COMMANDS = {
    n: "3.3"
    for n in (
        "shell",
        "uploadFile",
        "upload_file",
        "uploadDirectory",
        "upload_directory",
        "downloadFile",
        "download_file",
        "mkdir",
        "rmdir",
        "cpdir",
        "stat",
        "glob",
        "listdir",
        "rmfile",
    )
}


def event(ev, w, **kw):
    t = time.time()
    if ev == "up":
        ST["up"] += 1
        ST["max_up"] = max(ST["max_up"], ST["up"])
        ST["first_up"] = ST["first_up"] or t
        ST["last_up"] = t
    elif ev == "down":
        ST["up"] -= 1
        ST["downs"] += 1
        ST["last_down"] = t
    elif ev == "start":
        ST["started"] += 1
        ST["inflight"] += 1
        ST["max_inflight"] = max(ST["max_inflight"], ST["inflight"])
        ST["first_start"] = ST["first_start"] or t
    elif ev == "done":
        ST["done"] += 1
        ST["inflight"] -= 1
        ST["last_done"] = t
    elif ev == "refused":
        ST["refused"] += 1
    if EV:
        kw.update(t=t, ev=ev, w=w)
        EV.write(json.dumps(kw) + "\n")


def write_status():
    if EV:
        EV.flush()
    if A.status:
        s = dict(ST, t=time.time(), cpu=time.process_time())
        tmp = A.status + ".tmp"
        with open(tmp, "w") as f:
            json.dump(s, f)
        os.replace(tmp, A.status)


def worker_info(name):
    return {
        "admin": "sim",
        "host": "simulated worker",
        "environ": {"PATH": "/bin", "HOME": "/"},
        "system": "posix",
        "basedir": "/sim/" + name,
        "numcpus": 2,
        "version": "4.3.0",
        "worker_commands": dict(COMMANDS),
        "delete_leftover_dirs": False,
    }


def u(x):
    if isinstance(x, bytes):
        return x.decode("utf-8", "replace")
    if isinstance(x, dict):
        return {u(k): u(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [u(v) for v in x]
    return x


def words(args):
    c = args.get("command", "")
    return c.split() if isinstance(c, str) else [str(x) for x in c]


_chunks = {}


def log_chunk(linelen, size):
    """(text, newline positions) of about `size` bytes in lines of linelen characters."""
    k = (linelen, size)
    if k not in _chunks:
        n = max(1, size // linelen)
        body = "".join(("%08d " % i).ljust(linelen - 1, "x")[: linelen - 1] + "\n" for i in range(n))
        _chunks[k] = (body, [(i + 1) * linelen - 1 for i in range(n)])
    return _chunks[k]


class CommandRunner:
    """Answers one command; send_update/send_complete come from the protocol."""

    @defer.inlineCallbacks
    def run_command(self, worker, name, args, send_update, send_complete):
        ST["cmds"] += 1
        try:
            if name != "shell":
                ups = [("rc", 0)]
                if name in ("listdir", "glob"):
                    ups.insert(0, ("files", []))
                elif name == "stat":
                    ups.insert(0, ("stat", [0o40755] + [0] * 9))
                yield send_update(ups)
                yield send_complete()
                return
            w = words(args)
            tok = next((x[4:] for x in w if x.startswith("tok=")), None)
            event("start", worker, tok=tok)
            rc = 0
            now = time.time()
            hdr = " ".join(w) + "\n in dir /sim\n"
            yield send_update([("header", (hdr, [i for i, c in enumerate(hdr) if c == "\n"], [now, now]))])
            if w[:2] == ["sim", "sleep"]:
                yield task.deferLater(reactor, float(w[2]), lambda: None)
            elif w[:2] == ["sim", "fail"]:
                rc = int(w[2])
            elif w[:2] == ["sim", "log"]:
                yield self.send_log(worker, int(w[2]), int(w[3]), send_update)
            elif A.delay:
                yield task.deferLater(reactor, random.expovariate(1 / A.delay), lambda: None)
            yield send_update([("rc", rc)])
            yield send_complete()
            event("done", worker, tok=tok)
        except Exception as e:  # connection lost in mid-command
            if name == "shell":
                ST["inflight"] -= 1
            if A.verbose:
                print("command failed", worker, name, repr(e), file=sys.stderr)

    @defer.inlineCallbacks
    def send_log(self, worker, total, linelen, send_update):
        text, nl = log_chunk(linelen, A.chunk)
        sem = defer.DeferredSemaphore(A.window)
        sent, last = 0, []
        t0 = time.time()
        while sent < total:
            yield sem.acquire()
            now = time.time()
            if total - sent >= len(text):
                data = (text, nl, [now] * len(nl))
            else:
                n = max(1, (total - sent) // linelen)
                data = (text[: n * linelen], nl[:n], [now] * n)
            sent += len(data[0])
            d = defer.maybeDeferred(send_update, [("stdout", data)])
            d.addBoth(lambda r: (sem.release(), r)[1])
            d.addErrback(lambda f: None)
            last.append(d)
            if len(last) > 64:
                last = [x for x in last if not x.called]
        yield defer.DeferredList(last)
        ST["bytes"] += sent
        event("logdone", worker, bytes=sent, secs=time.time() - t0)


# ------------------------------------------------------------------ PB
class PbBuilder(pb.Referenceable, CommandRunner):
    def __init__(self, bot, name):
        self.bot, self.name = bot, name

    def remote_setMaster(self, remote):
        self.master = remote

    def remote_print(self, message):
        pass

    def remote_startBuild(self):
        pass

    def remote_interruptCommand(self, command_id, why):
        pass

    def remote_startCommand(self, ref, command_id, command, args):
        def upd(ups):
            ds = []
            for k, v in ups:
                if k in ("stdout", "stderr", "header"):
                    v = v[0]
                ds.append(ref.callRemote("update", [[{k: v}, 0]]))
            return ds[0] if len(ds) == 1 else defer.gatherResults(ds, consumeErrors=True)

        # not in this turn, so that the answer to startCommand goes first
        reactor.callLater(
            0, self.run_command, self.bot.name, u(command), u(args), upd, lambda: ref.callRemote("complete", None)
        )


class PbBot(pb.Referenceable):
    def __init__(self, name):
        self.name, self.builders = name, {}

    def remote_print(self, message):
        pass

    def remote_getWorkerInfo(self):
        return worker_info(self.name)

    def remote_getCommands(self):
        return dict(COMMANDS)

    def remote_getVersion(self):
        return "4.3.0"

    def remote_setBuilderList(self, wanted):
        wanted = u(wanted)
        names = [n for n, _ in wanted]
        self.builders = {n: self.builders.get(n) or PbBuilder(self, n) for n in names}
        # the master marks the worker usable right after this answer
        reactor.callLater(0, self.on_ready)
        return dict(self.builders)

    def remote_shutdown(self):
        self.broker.transport.loseConnection()


class PbWorker:
    def __init__(self, i, name):
        self.i, self.name, self.tries, self.is_up = i, name, 0, False

    def connect(self):
        host, port = A.masters[(self.i + self.tries) % len(A.masters)]
        f = pb.PBClientFactory()
        bot = PbBot(self.name)
        bot.on_ready = self.ready
        d = TCP4ClientEndpoint(reactor, host, port, timeout=A.timeout).connect(f)

        def connected(broker):
            bot.broker = broker
            if A.login_timeout:
                reactor.callLater(A.login_timeout, late, broker)
            broker.transport.setTcpNoDelay(True)
            broker.notifyOnDisconnect(self.lost)
            return f.login(credentials.UsernamePassword(self.name.encode(), A.password.encode()), bot)

        def late(broker):  # never logged in: the master's queue of connections was full
            if bot.broker is broker and not self.is_up and not broker.disconnected:
                event("refused", self.name, why="login timeout")
                broker.transport.abortConnection()

        def ok(persp):
            self.persp = persp  # keep: the avatar lives as long as this reference

        def bad(fail):
            event("refused", self.name, why=str(fail.value)[:200])
            if f._broker is not None:
                f._broker.transport.loseConnection()  # lost() retries
            else:
                self.retry()

        d.addCallback(connected)
        d.addCallbacks(ok, bad)

    def ready(self):
        if not self.is_up:
            self.is_up = True
            event("up", self.name, master=(self.i + self.tries) % len(A.masters))

    def lost(self):
        if self.is_up:
            self.is_up = False
            event("down", self.name)
        self.retry()

    def retry(self):
        self.tries += 1
        reactor.callLater(A.retry * (0.5 + random.random()), self.connect)


# ------------------------------------------------------------- msgpack
class WsClient(protocol.Protocol, CommandRunner):
    """A small WebSocket client: binary messages, mask of zeros (a legal mask)."""

    def __init__(self, worker):
        self.w, self.buf, self.open = worker, b"", False
        self.seq, self.waiters, self.frag = 0, {}, b""

    def connectionMade(self):
        self.transport.setTcpNoDelay(True)
        auth = base64.b64encode(("%s:%s" % (self.w.name, A.password)).encode()).decode()
        key = base64.b64encode(os.urandom(16)).decode()
        self.transport.write(
            (
                "GET / HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n%s"
                "Authorization: Basic %s\r\n\r\n"
                % (
                    self.w.peer[0],
                    self.w.peer[1],
                    key,
                    "Sec-WebSocket-Protocol: %s\r\n" % A.subprotocol if A.subprotocol else "",
                    auth,
                )
            ).encode()
        )

    def dataReceived(self, data):
        self.buf += data
        if not self.open:
            i = self.buf.find(b"\r\n\r\n")
            if i < 0:
                return
            head, self.buf = self.buf[:i], self.buf[i + 4 :]
            if b" 101 " not in head.split(b"\r\n")[0]:
                event("refused", self.w.name, why=head[:100].decode("latin1"))
                self.transport.loseConnection()
                return
            self.open = True
        b, p = self.buf, 0
        while len(b) - p >= 2:
            n, q = b[p + 1] & 127, p + 2
            if n == 126:
                if len(b) < q + 2:
                    break
                n, q = struct.unpack_from(">H", b, q)[0], q + 2
            elif n == 127:
                if len(b) < q + 8:
                    break
                n, q = struct.unpack_from(">Q", b, q)[0], q + 8
            if len(b) < q + n:
                break
            op, fin, payload = b[p] & 15, b[p] >> 7, b[q : q + n]
            p = q + n
            if op == 8:
                self.transport.loseConnection()
            elif op == 9:
                self.frame(10, payload)
            elif op in (0, 1, 2):
                self.frag += payload
                if fin:
                    msg, self.frag = self.frag, b""
                    self.message(msgpack.unpackb(msg, raw=False))
        self.buf = b[p:]

    def frame(self, op, payload):
        n = len(payload)
        if n < 126:
            h = struct.pack(">BB", 128 | op, 128 | n)
        elif n < 65536:
            h = struct.pack(">BBH", 128 | op, 128 | 126, n)
        else:
            h = struct.pack(">BBQ", 128 | op, 128 | 127, n)
        self.transport.write(h + b"\0\0\0\0" + payload)

    def send(self, m):
        self.frame(2, msgpack.packb(m, use_bin_type=True))

    def call(self, m):
        m["seq_number"] = self.seq
        d = self.waiters[self.seq] = defer.Deferred()
        self.seq += 1
        self.send(m)
        return d

    def message(self, m):
        op = m.get("op")
        if op == "response":
            d = self.waiters.pop(m["seq_number"], None)
            if d is None:
                return
            if m.get("is_exception"):
                d.errback(Exception(m.get("result")))
            else:
                d.callback(m.get("result"))
            return
        result = None
        if op == "get_worker_info":
            result = worker_info(self.w.name)
        self.send({"op": "response", "seq_number": m["seq_number"], "result": result})
        if op == "start_command":
            cid = m["command_id"]
            if m["command_name"] == "mkdir" and not self.w.is_up:
                reactor.callLater(0, self.w.ready)  # last act of the attach dialogue
            self.run_command(
                self.w.name,
                m["command_name"],
                m["args"],
                lambda ups: self.call({"op": "update", "args": ups, "command_id": cid}),
                lambda: self.call({"op": "complete", "args": None, "command_id": cid}),
            )
        elif op == "shutdown":
            self.transport.loseConnection()

    def connectionLost(self, reason):
        for d in list(self.waiters.values()):
            d.errback(Exception("connection lost"))
        self.waiters.clear()
        self.w.lost()


class MsgpackWorker(PbWorker):
    def connect(self):
        self.peer = A.masters[(self.i + self.tries) % len(A.masters)]
        f = protocol.Factory()
        f.noisy = False
        f.buildProtocol = lambda addr: WsClient(self)
        d = TCP4ClientEndpoint(reactor, *self.peer, timeout=A.timeout).connect(f)
        d.addErrback(lambda fl: (event("refused", self.name, why=str(fl.value)[:200]), self.retry()))


def main():
    global A, EV
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--proto", choices=("pb", "msgpack"), default="pb")
    p.add_argument("--master", action="append", required=True, help="host:port, may be repeated")
    p.add_argument("--count", type=int, default=1)
    p.add_argument("--first", type=int, default=0, help="number of the first worker")
    p.add_argument("--prefix", default="w", help="worker names are PREFIX + number")
    p.add_argument("--password", default="pw")
    p.add_argument("--subprotocol", default="", help="Sec-WebSocket-Protocol to offer (none by default)")
    p.add_argument("--rate", type=float, default=0, help="connections opened per second, 0: at once")
    p.add_argument("--delay", type=float, default=0, help="mean command time (exponential), seconds")
    p.add_argument("--retry", type=float, default=1.0, help="mean wait before reconnecting")
    p.add_argument("--timeout", type=float, default=60)
    p.add_argument(
        "--login-timeout",
        type=float,
        default=0,
        help="pb: give up a connection that is not logged in after so many seconds (0: never)",
    )
    p.add_argument("--chunk", type=int, default=60000)
    p.add_argument("--window", type=int, default=16)
    p.add_argument("--events")
    p.add_argument("--status")
    p.add_argument("--verbose", action="store_true")
    A = p.parse_args()
    A.masters = [(m.rsplit(":", 1)[0], int(m.rsplit(":", 1)[1])) for m in A.master]
    if A.events:
        EV = open(A.events, "a", buffering=1 << 16)
    cls = PbWorker if A.proto == "pb" else MsgpackWorker
    for k in range(A.count):
        w = cls(k, "%s%d" % (A.prefix, A.first + k))
        reactor.callLater(k / A.rate if A.rate else 0, w.connect)
    task.LoopingCall(write_status).start(0.25)
    reactor.addSystemEventTrigger("before", "shutdown", write_status)
    reactor.run()


main()
