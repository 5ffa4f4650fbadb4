-- Moving to and from Buildbot: what each side did while it ran, which Buildbot's own tables don't tell.

-- The changes that masters of Muster stored. The others are a Buildbot's, whose schedulers have looked at them.
CREATE TABLE muster_changes (
    changeid INTEGER NOT NULL PRIMARY KEY
);
INSERT INTO muster_changes (changeid)
    SELECT changeid FROM changes WHERE changeid > (SELECT MIN(low_water) FROM muster_change_marks);

-- What Muster wrote last into `masters.last_active`: another value there is a Buildbot's that goes by the same name.
CREATE TABLE muster_heartbeats (
    masterid INTEGER NOT NULL PRIMARY KEY,
    last_active BIGINT NOT NULL,
    -- 1 once a Buildbot has run under this name.
    was_buildbot SMALLINT NOT NULL
);

-- One row where Buildbot made the tables: it reads what is stored here one day.
CREATE TABLE muster_adopted (
    id INTEGER NOT NULL PRIMARY KEY
);
