-- The last life of each stock worker: its commands end with the connection, and with the process of the gateway that holds it.
CREATE TABLE muster_stock_lives (
    workerid INTEGER NOT NULL PRIMARY KEY,
    boot_id VARCHAR(36) NOT NULL,
    -- The incarnation of the gateway's master.
    gateway VARCHAR(36) NOT NULL
);
