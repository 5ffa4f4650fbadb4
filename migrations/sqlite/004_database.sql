-- Ended logs whose chunks are to be grouped. `taken_at` is 0, or when a master began with it.
CREATE TABLE muster_regroup (
    logid INTEGER NOT NULL PRIMARY KEY,
    taken_at BIGINT NOT NULL
);
