-- The cluster: where engines accept workers, who owns what there is only one of, and how often the past was restored.

-- Where workers and gateways reach the engine of a master: URLs, separated by spaces. No row: it has no engine.
CREATE TABLE muster_addresses (
    masterid INTEGER NOT NULL PRIMARY KEY,
    sessions VARCHAR(2048) NOT NULL
);

-- Schedulers and change sources: Buildbot's rows say who owns one, this says in which epoch. Every transaction of an
-- owner locks its row first.
CREATE TABLE muster_singletons (
    kind VARCHAR(16) NOT NULL,
    thing INTEGER NOT NULL,
    owner INTEGER NOT NULL,
    epoch BIGINT NOT NULL,
    PRIMARY KEY (kind, thing)
);

-- One row. The generation is raised when a backup was restored: epochs of the time before mean nothing after it.
CREATE TABLE muster_cluster (
    id INTEGER NOT NULL PRIMARY KEY,
    generation BIGINT NOT NULL
);
INSERT INTO muster_cluster (id, generation) VALUES (1, 1);
