-- Stock workers: whose connection each one's is, what may still run on it, and which configurations are in force.

-- One connection for each name in the cluster. The words for a connection are the incarnations of gateways' masters.
CREATE TABLE muster_stock_connections (
    workerid INTEGER NOT NULL PRIMARY KEY,
    -- The gateway that has the worker.
    holder VARCHAR(36),
    -- A gateway where the worker has come a second time, and waits for the holder's word.
    challenger VARCHAR(36),
    -- The challenger that was told to give up.
    refused VARCHAR(36),
    -- The holder that did not answer, and has lost the worker.
    displaced VARCHAR(36),
    -- Commands of a msgpack worker that may run on without a connection: JSON.
    commands TEXT NOT NULL
);
CREATE INDEX muster_stock_connections_challenger ON muster_stock_connections (challenger);
CREATE INDEX muster_stock_connections_displaced ON muster_stock_connections (displaced);

-- The snapshot that each master has in force. A stock worker is told the builders of all of them.
CREATE TABLE muster_in_force (
    masterid INTEGER NOT NULL PRIMARY KEY,
    snapshotid INTEGER NOT NULL
);

-- Workers that are configured and not connected. Whoever raises `told` tells about it: 0 nobody was told, 1 the event is
-- out and mails are to be sent, 2 all is done.
CREATE TABLE muster_absent_workers (
    workerid INTEGER NOT NULL PRIMARY KEY,
    since BIGINT NOT NULL,
    told SMALLINT NOT NULL,
    told_at BIGINT NOT NULL
);
