-- Why requests wait, where a master knows more than the other rows show: a function of the configuration that refuses, has
-- failed or does not answer, a lock that is held. Rows of masters that don't act mean nothing.
CREATE TABLE muster_reasons (
    masterid INTEGER NOT NULL,
    -- 0: all of them.
    builderid INTEGER NOT NULL,
    reason VARCHAR(512) NOT NULL,
    PRIMARY KEY (masterid, builderid)
);
