-- Muster's own tables. A Python master may ignore them; nothing of Buildbot's is altered.
-- Rows of leases and runs stand alone, without foreign keys, so that heartbeats and claims never wait for each other.

-- Who may act: a master raises `counter` as long as it lives (DESIGN section 8).
CREATE TABLE IF NOT EXISTS muster_masters (
    masterid INTEGER NOT NULL PRIMARY KEY,
    incarnation VARCHAR(36) NOT NULL,
    counter BIGINT NOT NULL,
    roles VARCHAR(64) NOT NULL,
    version VARCHAR(32) NOT NULL,
    state VARCHAR(16) NOT NULL,
    started_at BIGINT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- One evaluated master.cfg, immutable; the digest finds an equal one again.
CREATE TABLE IF NOT EXISTS muster_snapshots (
    id INTEGER NOT NULL PRIMARY KEY AUTO_INCREMENT,
    digest VARCHAR(64) NOT NULL,
    content LONGTEXT NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE KEY muster_snapshots_digest (digest)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- A build while it is being executed. `owner` and `epoch` are the fence of every write about it.
CREATE TABLE IF NOT EXISTS muster_runs (
    buildid INTEGER NOT NULL PRIMARY KEY,
    owner INTEGER NOT NULL,
    epoch BIGINT NOT NULL,
    workerid INTEGER NOT NULL,
    snapshotid INTEGER NOT NULL,
    plan LONGTEXT NOT NULL,
    started_at BIGINT NOT NULL,
    KEY muster_runs_owner (owner)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- What the running step has done and learnt. Rows go when their step is finished.
CREATE TABLE IF NOT EXISTS muster_journal (
    buildid INTEGER NOT NULL,
    step INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    kind VARCHAR(32) NOT NULL,
    args_hash VARCHAR(64) NOT NULL,
    outcome LONGTEXT NOT NULL,
    PRIMARY KEY (buildid, step, ordinal)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- The conversation with one worker: the highest dial of its present life wins.
CREATE TABLE IF NOT EXISTS muster_sessions (
    workerid INTEGER NOT NULL PRIMARY KEY,
    boot_id VARCHAR(36) NOT NULL,
    dial_no BIGINT NOT NULL,
    holder INTEGER NOT NULL,
    epoch BIGINT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- Locks of builds (step = -1) and steps, held or waited for, in the order of `id`.
CREATE TABLE IF NOT EXISTS muster_lock_claims (
    id INTEGER NOT NULL PRIMARY KEY AUTO_INCREMENT,
    lock_name VARCHAR(256) NOT NULL,
    exclusive SMALLINT NOT NULL,
    units BIGINT NOT NULL,
    buildid INTEGER NOT NULL,
    step INTEGER NOT NULL,
    held SMALLINT NOT NULL,
    UNIQUE KEY muster_lock_claims_owner (buildid, step, lock_name),
    KEY muster_lock_claims_name (lock_name, id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- Changes are classified once: a row is inserted in the transaction that makes the buildset (or keeps the change).
CREATE TABLE IF NOT EXISTS muster_change_seen (
    schedulerid INTEGER NOT NULL,
    changeid INTEGER NOT NULL,
    PRIMARY KEY (schedulerid, changeid)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- Changes at or below the mark are classified; the rows above it decide for the rest.
CREATE TABLE IF NOT EXISTS muster_change_marks (
    schedulerid INTEGER NOT NULL PRIMARY KEY,
    low_water INTEGER NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- Orders of people and programs (stop, cancel, pause …): any master accepts one, the owner carries it out.
CREATE TABLE IF NOT EXISTS muster_control (
    id INTEGER NOT NULL PRIMARY KEY AUTO_INCREMENT,
    target VARCHAR(16) NOT NULL,
    targetid INTEGER NOT NULL,
    action VARCHAR(16) NOT NULL,
    reason LONGTEXT NOT NULL,
    created_at BIGINT NOT NULL,
    KEY muster_control_target (target, targetid)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- One row for each connection of a pool. Every writing transaction counts `seq` up with its commit, so that a master whose
-- connection breaks while it waits for the answer can look whether the transaction was committed.
CREATE TABLE IF NOT EXISTS muster_commits (
    id VARCHAR(36) NOT NULL PRIMARY KEY,
    seq INTEGER NOT NULL,
    opened_at BIGINT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
