-- What people ask when something waits or stands, and the other tables don't tell.

-- What a scheduler can't do; its owner says it.
CREATE TABLE IF NOT EXISTS muster_scheduler_troubles (
    schedulerid INTEGER NOT NULL PRIMARY KEY,
    masterid INTEGER NOT NULL,
    since BIGINT NOT NULL,
    trouble VARCHAR(512) NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- How many builds a master's configuration lets a worker run at a time; none where it says nothing.
CREATE TABLE IF NOT EXISTS muster_worker_limits (
    masterid INTEGER NOT NULL,
    workerid INTEGER NOT NULL,
    max_builds INTEGER NOT NULL,
    PRIMARY KEY (masterid, workerid)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
