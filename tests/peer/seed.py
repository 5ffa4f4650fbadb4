"""Many builds in a database, without building them."""

from __future__ import annotations

import os


def builder_id(m, name):
    return next(b["builderid"] for b in m.api("builders?field=builderid&field=name")["builders"] if b["name"] == name)


def seed(s, n):
    """copy the newest finished build of `bench` n times, straight in the database"""
    m = s.m[0]
    last = m.api("builds?complete=true&order=-buildid&limit=1&builderid=%d" % builder_id(m, "bench"))["builds"][0]
    bid, brid = last["buildid"], last["buildrequestid"]
    bsid = m.api("buildrequests/%d" % brid)["buildrequests"][0]["buildsetid"]
    steps = [x["stepid"] for x in m.api("builds/%d/steps" % bid)["steps"]]
    logs = [(l["logid"], st) for st in steps for l in m.api("steps/%d/logs" % st)["logs"]]
    if s.pg:
        import psycopg2

        db = psycopg2.connect(host="127.0.0.1", port=s.pg.port, user="bb", dbname="buildbot")
    else:
        import sqlite3

        db = sqlite3.connect(os.path.join(m.dir, "state.sqlite"), timeout=60)
    cur = db.cursor()

    def cols(t):
        cur.execute("select * from %s limit 0" % t)
        return [d[0] for d in cur.description]

    def copy(t, where, **sub):
        cs = cols(t)
        ex = ", ".join(sub.get(c, "x." + c) for c in cs)
        g = (
            "generate_series(1,%d) as g(i)" % n
            if s.pg
            else "(with recursive r(i) as (select 1 union all select i+1 from r where i<%d)" " select i from r) g" % n
        )
        cur.execute("insert into %s (%s) select %s from %s x, %s where %s" % (t, ", ".join(cs), ex, t, g, where))
        if s.pg and "id" in cs:
            cur.execute("select setval(pg_get_serial_sequence('%s','id'), (select max(id) from %s))" % (t, t))

    base = {}
    for t in ("buildsets", "buildrequests", "builds", "steps", "logs"):
        cur.execute("select max(id) from " + t)
        base[t] = cur.fetchone()[0]
    k = len(steps)
    copy("buildsets", "x.id=%d" % bsid, id="%d+g.i" % base["buildsets"])
    copy(
        "buildset_sourcestamps",
        "x.buildsetid=%d" % bsid,
        buildsetid="%d+g.i" % base["buildsets"],
        id="(select max(id) from buildset_sourcestamps)+g.i",
    )
    copy("buildrequests", "x.id=%d" % brid, id="%d+g.i" % base["buildrequests"], buildsetid="%d+g.i" % base["buildsets"])
    copy(
        "builds",
        "x.id=%d" % bid,
        id="%d+g.i" % base["builds"],
        number="%d+g.i" % base["builds"],
        buildrequestid="%d+g.i" % base["buildrequests"],
    )
    copy("build_properties", "x.buildid=%d" % bid, buildid="%d+g.i" % base["builds"])
    for j, st in enumerate(steps):
        copy("steps", "x.id=%d" % st, id="%d+(g.i-1)*%d+%d" % (base["steps"] + 1, k, j), buildid="%d+g.i" % base["builds"])
    for j, (lg, st) in enumerate(logs):
        q = len(logs)
        copy(
            "logs",
            "x.id=%d" % lg,
            id="%d+(g.i-1)*%d+%d" % (base["logs"] + 1, q, j),
            stepid="%d+(g.i-1)*%d+%d" % (base["steps"] + 1, k, steps.index(st)),
        )
        copy("logchunks", "x.logid=%d" % lg, logid="%d+(g.i-1)*%d+%d" % (base["logs"] + 1, q, j))
    db.commit()
    if s.pg:
        db.autocommit = True
        cur.execute("analyze")
    db.close()
