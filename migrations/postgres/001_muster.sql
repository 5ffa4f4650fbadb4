-- Muster's own tables. A Python master may ignore them; nothing of Buildbot's is altered.
-- Rows of leases and runs stand alone, without foreign keys, so that heartbeats and claims never wait for each other.

-- Who may act: a master raises `counter` as long as it lives (DESIGN section 8).
CREATE TABLE muster_masters (
    masterid INTEGER NOT NULL PRIMARY KEY,
    incarnation VARCHAR(36) NOT NULL,
    counter BIGINT NOT NULL,
    roles VARCHAR(64) NOT NULL,
    version VARCHAR(32) NOT NULL,
    state VARCHAR(16) NOT NULL,
    started_at BIGINT NOT NULL
);

-- One evaluated master.cfg, immutable; the digest finds an equal one again.
CREATE TABLE muster_snapshots (
    id SERIAL PRIMARY KEY,
    digest VARCHAR(64) NOT NULL,
    content TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX muster_snapshots_digest ON muster_snapshots (digest);

-- A build while it is being executed. `owner` and `epoch` are the fence of every write about it.
CREATE TABLE muster_runs (
    buildid INTEGER NOT NULL PRIMARY KEY,
    owner INTEGER NOT NULL,
    epoch BIGINT NOT NULL,
    workerid INTEGER NOT NULL,
    snapshotid INTEGER NOT NULL,
    plan TEXT NOT NULL,
    started_at BIGINT NOT NULL
);
CREATE INDEX muster_runs_owner ON muster_runs (owner);

-- What the running step has done and learnt. Rows go when their step is finished.
CREATE TABLE muster_journal (
    buildid INTEGER NOT NULL,
    step INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    kind VARCHAR(32) NOT NULL,
    args_hash VARCHAR(64) NOT NULL,
    outcome TEXT NOT NULL,
    PRIMARY KEY (buildid, step, ordinal)
);

-- The conversation with one worker: the highest dial of its present life wins.
CREATE TABLE muster_sessions (
    workerid INTEGER NOT NULL PRIMARY KEY,
    boot_id VARCHAR(36) NOT NULL,
    dial_no BIGINT NOT NULL,
    holder INTEGER NOT NULL,
    epoch BIGINT NOT NULL
);

-- Locks of builds (step = -1) and steps, held or waited for, in the order of `id`.
CREATE TABLE muster_lock_claims (
    id SERIAL PRIMARY KEY,
    lock_name VARCHAR(256) NOT NULL,
    exclusive SMALLINT NOT NULL,
    units BIGINT NOT NULL,
    buildid INTEGER NOT NULL,
    step INTEGER NOT NULL,
    held SMALLINT NOT NULL
);
CREATE UNIQUE INDEX muster_lock_claims_owner ON muster_lock_claims (buildid, step, lock_name);
CREATE INDEX muster_lock_claims_name ON muster_lock_claims (lock_name, id);

-- Changes are classified once: a row is inserted in the transaction that makes the buildset (or keeps the change).
CREATE TABLE muster_change_seen (
    schedulerid INTEGER NOT NULL,
    changeid INTEGER NOT NULL,
    PRIMARY KEY (schedulerid, changeid)
);

-- Changes at or below the mark are classified; the rows above it decide for the rest.
CREATE TABLE muster_change_marks (
    schedulerid INTEGER NOT NULL PRIMARY KEY,
    low_water INTEGER NOT NULL
);

-- Orders of people and programs (stop, cancel, pause …): any master accepts one, the owner carries it out.
CREATE TABLE muster_control (
    id SERIAL PRIMARY KEY,
    target VARCHAR(16) NOT NULL,
    targetid INTEGER NOT NULL,
    action VARCHAR(16) NOT NULL,
    reason TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX muster_control_target ON muster_control (target, targetid);

-- One row for each connection of a pool. Every writing transaction leaves a token of its own in it with its commit, so
-- that a master whose connection breaks while it waits for the answer can look whether the transaction was committed.
-- Whoever looks puts 'fenced' in the token's place unless it is there; from then on nothing can be committed over that
-- connection any more.
CREATE TABLE muster_commits (
    connection VARCHAR(32) NOT NULL PRIMARY KEY,
    token VARCHAR(32) NOT NULL,
    committed_at BIGINT NOT NULL
);
CREATE INDEX muster_commits_token ON muster_commits (token);
