-- Ended logs whose chunks are to be grouped. `taken_at` is 0, or when a master began with it.
CREATE TABLE muster_regroup (
    logid INTEGER NOT NULL PRIMARY KEY,
    taken_at BIGINT NOT NULL
);

-- Every transaction that writes changes its token. Without this index that is one write instead of three; tokens are
-- looked for only after an answer to COMMIT was lost, in a table of a few hundred rows.
DROP INDEX IF EXISTS muster_commits_token;
