-- The cluster: where engines accept workers, who owns what there is only one of, and how often the past was restored.

-- Where workers and gateways reach the engine of a master: URLs, separated by spaces. No row: it has no engine.
CREATE TABLE IF NOT EXISTS muster_addresses (
    masterid INTEGER NOT NULL PRIMARY KEY,
    sessions VARCHAR(2048) NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- Schedulers and change sources: Buildbot's rows say who owns one, this says in which epoch. Every transaction of an
-- owner locks its row first.
CREATE TABLE IF NOT EXISTS muster_singletons (
    kind VARCHAR(16) NOT NULL,
    thing INTEGER NOT NULL,
    owner INTEGER NOT NULL,
    epoch BIGINT NOT NULL,
    PRIMARY KEY (kind, thing)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- One row. The generation is raised when a backup was restored: epochs of the time before mean nothing after it.
CREATE TABLE IF NOT EXISTS muster_cluster (
    id INTEGER NOT NULL PRIMARY KEY,
    generation BIGINT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
INSERT IGNORE INTO muster_cluster (id, generation) VALUES (1, 1);
