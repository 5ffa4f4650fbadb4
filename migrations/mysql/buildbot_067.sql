-- The tables of Buildbot 4.3.0 (revision 067): column types, keys, indexes and delete rules as a Buildbot master finds them.
-- Facts: docs/compat/database.md. Each statement is complete in itself and may run twice, because DDL commits by itself here.
-- A new database takes every character (utf8mb4); one that Buildbot made keeps its three-byte utf8 until it is converted.

-- Tables refer to each other in a circle.
SET foreign_key_checks = 0;

CREATE TABLE IF NOT EXISTS alembic_version (
    version_num VARCHAR(32) NOT NULL,
    PRIMARY KEY (version_num)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS changesources (
    id INTEGER NOT NULL AUTO_INCREMENT,
    name TEXT NOT NULL,
    name_hash VARCHAR(40) NOT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY changesource_name_hash (name_hash)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS masters (
    id INTEGER NOT NULL AUTO_INCREMENT,
    name TEXT NOT NULL,
    name_hash VARCHAR(40) NOT NULL,
    active INTEGER NOT NULL,
    last_active INTEGER NOT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY master_name_hashes (name_hash)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS objects (
    id INTEGER NOT NULL AUTO_INCREMENT,
    name VARCHAR(128) NOT NULL,
    class_name VARCHAR(128) NOT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY object_identity (name, class_name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS patches (
    id INTEGER NOT NULL AUTO_INCREMENT,
    patchlevel INTEGER NOT NULL,
    patch_base64 TEXT NOT NULL,
    patch_author TEXT NOT NULL,
    patch_comment TEXT NOT NULL,
    subdir TEXT,
    PRIMARY KEY (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS projects (
    id INTEGER NOT NULL AUTO_INCREMENT,
    name TEXT NOT NULL,
    name_hash VARCHAR(40) NOT NULL,
    slug VARCHAR(50) NOT NULL,
    description TEXT,
    description_format TEXT,
    description_html TEXT,
    PRIMARY KEY (id),
    UNIQUE KEY projects_name_hash (name_hash)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS schedulers (
    id INTEGER NOT NULL AUTO_INCREMENT,
    name TEXT NOT NULL,
    name_hash VARCHAR(40) NOT NULL,
    enabled SMALLINT DEFAULT 1,
    PRIMARY KEY (id),
    UNIQUE KEY scheduler_name_hash (name_hash)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS tags (
    id INTEGER NOT NULL AUTO_INCREMENT,
    name TEXT NOT NULL,
    name_hash VARCHAR(40) NOT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY tag_name_hash (name_hash)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS users (
    uid INTEGER NOT NULL AUTO_INCREMENT,
    identifier VARCHAR(255) NOT NULL,
    bb_username VARCHAR(128),
    bb_password VARCHAR(128),
    PRIMARY KEY (uid),
    UNIQUE KEY users_bb_user (bb_username),
    UNIQUE KEY users_identifier (identifier)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS workers (
    id INTEGER NOT NULL AUTO_INCREMENT,
    name VARCHAR(50) NOT NULL,
    info TEXT NOT NULL,
    paused SMALLINT NOT NULL DEFAULT 0,
    pause_reason TEXT,
    graceful SMALLINT NOT NULL DEFAULT 0,
    PRIMARY KEY (id),
    UNIQUE KEY workers_name (name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS builders (
    id INTEGER NOT NULL AUTO_INCREMENT,
    name TEXT NOT NULL,
    description TEXT,
    description_format TEXT,
    description_html TEXT,
    projectid INTEGER,
    name_hash VARCHAR(40) NOT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY builder_name_hash (name_hash),
    KEY builders_projectid (projectid),
    CONSTRAINT fk_builders_projectid FOREIGN KEY (projectid) REFERENCES projects (id) ON DELETE SET NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS changesource_masters (
    changesourceid INTEGER NOT NULL,
    masterid INTEGER NOT NULL,
    PRIMARY KEY (changesourceid),
    KEY masterid (masterid),
    CONSTRAINT changesource_masters_ibfk_1 FOREIGN KEY (changesourceid) REFERENCES changesources (id) ON DELETE CASCADE,
    CONSTRAINT changesource_masters_ibfk_2 FOREIGN KEY (masterid) REFERENCES masters (id) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS codebases (
    id INTEGER NOT NULL AUTO_INCREMENT,
    projectid INTEGER NOT NULL,
    name TEXT NOT NULL,
    name_hash VARCHAR(40) NOT NULL,
    slug VARCHAR(50) NOT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY codebases_projects_name_hash (projectid, name_hash),
    CONSTRAINT codebases_ibfk_1 FOREIGN KEY (projectid) REFERENCES projects (id) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS connected_workers (
    id INTEGER NOT NULL AUTO_INCREMENT,
    masterid INTEGER NOT NULL,
    workerid INTEGER NOT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY connected_workers_identity (masterid, workerid),
    KEY connected_workers_masterid (masterid),
    KEY connected_workers_workers (workerid),
    CONSTRAINT connected_workers_ibfk_1 FOREIGN KEY (masterid) REFERENCES masters (id) ON DELETE CASCADE,
    CONSTRAINT connected_workers_ibfk_2 FOREIGN KEY (workerid) REFERENCES workers (id) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS object_state (
    objectid INTEGER NOT NULL,
    name VARCHAR(255) NOT NULL,
    value_json TEXT NOT NULL,
    UNIQUE KEY name_per_object (objectid, name),
    CONSTRAINT object_state_ibfk_1 FOREIGN KEY (objectid) REFERENCES objects (id) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS scheduler_masters (
    schedulerid INTEGER NOT NULL,
    masterid INTEGER NOT NULL,
    PRIMARY KEY (schedulerid),
    KEY masterid (masterid),
    CONSTRAINT scheduler_masters_ibfk_2 FOREIGN KEY (masterid) REFERENCES masters (id) ON DELETE CASCADE,
    CONSTRAINT scheduler_masters_ibfk_1 FOREIGN KEY (schedulerid) REFERENCES schedulers (id) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS sourcestamps (
    id INTEGER NOT NULL AUTO_INCREMENT,
    ss_hash VARCHAR(40) NOT NULL,
    branch VARCHAR(256),
    revision VARCHAR(256),
    patchid INTEGER,
    repository VARCHAR(512) NOT NULL DEFAULT '',
    codebase VARCHAR(256) NOT NULL DEFAULT '',
    project VARCHAR(512) NOT NULL DEFAULT '',
    created_at INTEGER NOT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY sourcestamps_ss_hash_key (ss_hash),
    KEY patchid (patchid),
    CONSTRAINT sourcestamps_ibfk_1 FOREIGN KEY (patchid) REFERENCES patches (id) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS users_info (
    uid INTEGER NOT NULL,
    attr_type VARCHAR(128) NOT NULL,
    attr_data VARCHAR(128) NOT NULL,
    UNIQUE KEY users_info_attrs (attr_type, attr_data),
    KEY users_info_uid (uid),
    UNIQUE KEY users_info_uid_attr_type (uid, attr_type),
    CONSTRAINT users_info_ibfk_1 FOREIGN KEY (uid) REFERENCES users (uid) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS builder_masters (
    id INTEGER NOT NULL AUTO_INCREMENT,
    builderid INTEGER NOT NULL,
    masterid INTEGER NOT NULL,
    PRIMARY KEY (id),
    KEY builder_masters_builderid (builderid),
    UNIQUE KEY builder_masters_identity (builderid, masterid),
    KEY builder_masters_masterid (masterid),
    CONSTRAINT builder_masters_ibfk_1 FOREIGN KEY (builderid) REFERENCES builders (id) ON DELETE CASCADE,
    CONSTRAINT builder_masters_ibfk_2 FOREIGN KEY (masterid) REFERENCES masters (id) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS builders_tags (
    id INTEGER NOT NULL AUTO_INCREMENT,
    builderid INTEGER NOT NULL,
    tagid INTEGER NOT NULL,
    PRIMARY KEY (id),
    KEY builders_tags_builderid (builderid),
    UNIQUE KEY builders_tags_unique (builderid, tagid),
    KEY tagid (tagid),
    CONSTRAINT builders_tags_ibfk_1 FOREIGN KEY (builderid) REFERENCES builders (id) ON DELETE CASCADE,
    CONSTRAINT builders_tags_ibfk_2 FOREIGN KEY (tagid) REFERENCES tags (id) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS changes (
    changeid INTEGER NOT NULL AUTO_INCREMENT,
    author VARCHAR(255) NOT NULL,
    committer VARCHAR(255),
    comments TEXT NOT NULL,
    branch VARCHAR(255),
    revision VARCHAR(255),
    revlink VARCHAR(256),
    when_timestamp INTEGER NOT NULL,
    category VARCHAR(255),
    repository VARCHAR(512) NOT NULL DEFAULT '',
    codebase VARCHAR(256) NOT NULL DEFAULT '',
    project VARCHAR(512) NOT NULL DEFAULT '',
    sourcestampid INTEGER NOT NULL,
    parent_changeids INTEGER,
    PRIMARY KEY (changeid),
    KEY changes_author (author),
    KEY changes_branch (branch),
    KEY changes_category (category),
    KEY changes_revision (revision),
    KEY changes_sourcestampid (sourcestampid),
    KEY changes_when_timestamp (when_timestamp),
    KEY parent_changeids (parent_changeids),
    CONSTRAINT changes_ibfk_2 FOREIGN KEY (parent_changeids) REFERENCES changes (changeid) ON DELETE SET NULL,
    CONSTRAINT changes_ibfk_1 FOREIGN KEY (sourcestampid) REFERENCES sourcestamps (id) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS codebase_commits (
    id INTEGER NOT NULL AUTO_INCREMENT,
    codebaseid INTEGER NOT NULL,
    author VARCHAR(255) NOT NULL,
    committer VARCHAR(255),
    comments TEXT NOT NULL,
    when_timestamp INTEGER NOT NULL,
    revision VARCHAR(70) NOT NULL,
    parent_commitid INTEGER,
    PRIMARY KEY (id),
    UNIQUE KEY codebase_commits_unique (codebaseid, revision),
    KEY parent_commitid (parent_commitid),
    CONSTRAINT codebase_commits_ibfk_1 FOREIGN KEY (codebaseid) REFERENCES codebases (id) ON DELETE CASCADE,
    CONSTRAINT codebase_commits_ibfk_2 FOREIGN KEY (parent_commitid) REFERENCES codebase_commits (id) ON DELETE SET NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS test_code_paths (
    id INTEGER NOT NULL AUTO_INCREMENT,
    builderid INTEGER NOT NULL,
    path TEXT NOT NULL,
    PRIMARY KEY (id),
    KEY test_code_paths_path (builderid, path(255)),
    CONSTRAINT test_code_paths_ibfk_1 FOREIGN KEY (builderid) REFERENCES builders (id) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS test_names (
    id INTEGER NOT NULL AUTO_INCREMENT,
    builderid INTEGER NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (id),
    KEY test_names_name (builderid, name(255)),
    CONSTRAINT test_names_ibfk_1 FOREIGN KEY (builderid) REFERENCES builders (id) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS change_files (
    changeid INTEGER NOT NULL,
    filename VARCHAR(1024) NOT NULL,
    KEY change_files_changeid (changeid),
    CONSTRAINT change_files_ibfk_1 FOREIGN KEY (changeid) REFERENCES changes (changeid) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS change_properties (
    changeid INTEGER NOT NULL,
    property_name VARCHAR(256) NOT NULL,
    property_value TEXT NOT NULL,
    KEY change_properties_changeid (changeid),
    CONSTRAINT change_properties_ibfk_1 FOREIGN KEY (changeid) REFERENCES changes (changeid) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS change_users (
    changeid INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    KEY change_users_changeid (changeid),
    KEY uid (uid),
    CONSTRAINT change_users_ibfk_1 FOREIGN KEY (changeid) REFERENCES changes (changeid) ON DELETE CASCADE,
    CONSTRAINT change_users_ibfk_2 FOREIGN KEY (uid) REFERENCES users (uid) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS codebase_branches (
    id INTEGER NOT NULL AUTO_INCREMENT,
    codebaseid INTEGER NOT NULL,
    name VARCHAR(255) NOT NULL,
    name_hash VARCHAR(40) NOT NULL,
    commitid INTEGER,
    last_timestamp INTEGER NOT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY codebase_branches_unique (codebaseid, name_hash),
    KEY commitid (commitid),
    CONSTRAINT codebase_branches_ibfk_1 FOREIGN KEY (codebaseid) REFERENCES codebases (id) ON DELETE CASCADE,
    CONSTRAINT codebase_branches_ibfk_2 FOREIGN KEY (commitid) REFERENCES codebase_commits (id) ON DELETE SET NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS configured_workers (
    id INTEGER NOT NULL AUTO_INCREMENT,
    buildermasterid INTEGER NOT NULL,
    workerid INTEGER NOT NULL,
    PRIMARY KEY (id),
    KEY configured_workers_buildmasterid (buildermasterid),
    UNIQUE KEY configured_workers_identity (buildermasterid, workerid),
    KEY configured_workers_workers (workerid),
    CONSTRAINT configured_workers_ibfk_1 FOREIGN KEY (buildermasterid) REFERENCES builder_masters (id) ON DELETE CASCADE,
    CONSTRAINT configured_workers_ibfk_2 FOREIGN KEY (workerid) REFERENCES workers (id) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS scheduler_changes (
    schedulerid INTEGER NOT NULL,
    changeid INTEGER NOT NULL,
    important INTEGER,
    KEY scheduler_changes_changeid (changeid),
    KEY scheduler_changes_schedulerid (schedulerid),
    UNIQUE KEY scheduler_changes_unique (schedulerid, changeid),
    CONSTRAINT scheduler_changes_ibfk_2 FOREIGN KEY (changeid) REFERENCES changes (changeid) ON DELETE CASCADE,
    CONSTRAINT scheduler_changes_ibfk_1 FOREIGN KEY (schedulerid) REFERENCES schedulers (id) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS build_data (
    id INTEGER NOT NULL AUTO_INCREMENT,
    buildid INTEGER NOT NULL,
    name VARCHAR(256) NOT NULL,
    value LONGBLOB NOT NULL,
    length INTEGER NOT NULL,
    source VARCHAR(256) NOT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY build_data_buildid_name (buildid, name),
    CONSTRAINT build_data_ibfk_1 FOREIGN KEY (buildid) REFERENCES builds (id) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS build_properties (
    buildid INTEGER NOT NULL,
    name VARCHAR(256) NOT NULL,
    value TEXT NOT NULL,
    source VARCHAR(256) NOT NULL,
    KEY build_properties_buildid (buildid),
    CONSTRAINT build_properties_ibfk_1 FOREIGN KEY (buildid) REFERENCES builds (id) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS buildrequest_claims (
    brid INTEGER NOT NULL,
    masterid INTEGER NOT NULL,
    claimed_at INTEGER NOT NULL,
    UNIQUE KEY buildrequest_claims_brids (brid),
    KEY ix_buildrequest_claims_masterid (masterid),
    CONSTRAINT buildrequest_claims_ibfk_1 FOREIGN KEY (brid) REFERENCES buildrequests (id) ON DELETE CASCADE,
    CONSTRAINT buildrequest_claims_ibfk_2 FOREIGN KEY (masterid) REFERENCES masters (id) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS buildrequests (
    id INTEGER NOT NULL AUTO_INCREMENT,
    buildsetid INTEGER NOT NULL,
    builderid INTEGER NOT NULL,
    priority INTEGER NOT NULL DEFAULT 0,
    complete INTEGER DEFAULT 0,
    results SMALLINT,
    submitted_at INTEGER NOT NULL,
    complete_at INTEGER,
    waited_for SMALLINT DEFAULT 0,
    PRIMARY KEY (id),
    KEY buildrequests_builderid (builderid),
    KEY buildrequests_buildsetid (buildsetid),
    KEY buildrequests_complete (complete),
    CONSTRAINT buildrequests_ibfk_2 FOREIGN KEY (builderid) REFERENCES builders (id) ON DELETE CASCADE,
    CONSTRAINT buildrequests_ibfk_1 FOREIGN KEY (buildsetid) REFERENCES buildsets (id) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS builds (
    id INTEGER NOT NULL AUTO_INCREMENT,
    number INTEGER NOT NULL,
    builderid INTEGER NOT NULL,
    buildrequestid INTEGER NOT NULL,
    workerid INTEGER,
    masterid INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    complete_at INTEGER,
    locks_duration_s INTEGER NOT NULL,
    state_string TEXT NOT NULL,
    results INTEGER,
    PRIMARY KEY (id),
    KEY builds_buildrequestid (buildrequestid),
    KEY builds_masterid (masterid),
    UNIQUE KEY builds_number (builderid, number),
    KEY builds_workerid (workerid),
    CONSTRAINT builds_ibfk_1 FOREIGN KEY (builderid) REFERENCES builders (id) ON DELETE CASCADE,
    CONSTRAINT buildrequestid FOREIGN KEY (buildrequestid) REFERENCES buildrequests (id) ON DELETE CASCADE,
    CONSTRAINT builds_ibfk_3 FOREIGN KEY (masterid) REFERENCES masters (id) ON DELETE CASCADE,
    CONSTRAINT builds_ibfk_2 FOREIGN KEY (workerid) REFERENCES workers (id) ON DELETE SET NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS buildsets (
    id INTEGER NOT NULL AUTO_INCREMENT,
    external_idstring VARCHAR(256),
    reason VARCHAR(256),
    submitted_at INTEGER NOT NULL,
    complete SMALLINT NOT NULL DEFAULT 0,
    complete_at INTEGER,
    results SMALLINT,
    parent_buildid INTEGER,
    parent_relationship TEXT,
    rebuilt_buildid INTEGER,
    PRIMARY KEY (id),
    KEY buildsets_complete (complete),
    KEY buildsets_submitted_at (submitted_at),
    KEY parent_buildid (parent_buildid),
    KEY rebuilt_buildid (rebuilt_buildid),
    CONSTRAINT parent_buildid FOREIGN KEY (parent_buildid) REFERENCES builds (id) ON DELETE SET NULL,
    CONSTRAINT rebuilt_buildid FOREIGN KEY (rebuilt_buildid) REFERENCES builds (id) ON DELETE SET NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS steps (
    id INTEGER NOT NULL AUTO_INCREMENT,
    number INTEGER NOT NULL,
    name VARCHAR(50) NOT NULL,
    buildid INTEGER NOT NULL,
    started_at INTEGER,
    locks_acquired_at INTEGER,
    complete_at INTEGER,
    state_string TEXT NOT NULL,
    results INTEGER,
    urls_json TEXT NOT NULL,
    hidden SMALLINT NOT NULL DEFAULT 0,
    PRIMARY KEY (id),
    UNIQUE KEY steps_name (buildid, name),
    UNIQUE KEY steps_number (buildid, number),
    KEY steps_started_at (started_at),
    CONSTRAINT steps_ibfk_1 FOREIGN KEY (buildid) REFERENCES builds (id) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS buildset_properties (
    buildsetid INTEGER NOT NULL,
    property_name VARCHAR(256) NOT NULL,
    property_value TEXT NOT NULL,
    KEY buildset_properties_buildsetid (buildsetid),
    CONSTRAINT buildset_properties_ibfk_1 FOREIGN KEY (buildsetid) REFERENCES buildsets (id) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS buildset_sourcestamps (
    id INTEGER NOT NULL AUTO_INCREMENT,
    buildsetid INTEGER NOT NULL,
    sourcestampid INTEGER NOT NULL,
    PRIMARY KEY (id),
    KEY buildset_sourcestamps_buildsetid (buildsetid),
    UNIQUE KEY buildset_sourcestamps_unique (buildsetid, sourcestampid),
    KEY sourcestampid (sourcestampid),
    CONSTRAINT buildset_sourcestamps_ibfk_1 FOREIGN KEY (buildsetid) REFERENCES buildsets (id) ON DELETE CASCADE,
    CONSTRAINT buildset_sourcestamps_ibfk_2 FOREIGN KEY (sourcestampid) REFERENCES sourcestamps (id) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS logs (
    id INTEGER NOT NULL AUTO_INCREMENT,
    name TEXT NOT NULL,
    slug VARCHAR(50) NOT NULL,
    stepid INTEGER NOT NULL,
    complete SMALLINT NOT NULL,
    num_lines INTEGER NOT NULL,
    type VARCHAR(1) NOT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY logs_slug (stepid, slug),
    CONSTRAINT logs_ibfk_1 FOREIGN KEY (stepid) REFERENCES steps (id) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS test_result_sets (
    id INTEGER NOT NULL AUTO_INCREMENT,
    builderid INTEGER NOT NULL,
    buildid INTEGER NOT NULL,
    stepid INTEGER NOT NULL,
    description TEXT,
    category TEXT NOT NULL,
    value_unit TEXT NOT NULL,
    tests_passed INTEGER,
    tests_failed INTEGER,
    complete SMALLINT NOT NULL,
    PRIMARY KEY (id),
    KEY builderid (builderid),
    KEY buildid (buildid),
    KEY stepid (stepid),
    CONSTRAINT test_result_sets_ibfk_1 FOREIGN KEY (builderid) REFERENCES builders (id) ON DELETE CASCADE,
    CONSTRAINT test_result_sets_ibfk_2 FOREIGN KEY (buildid) REFERENCES builds (id) ON DELETE CASCADE,
    CONSTRAINT test_result_sets_ibfk_3 FOREIGN KEY (stepid) REFERENCES steps (id) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS logchunks (
    logid INTEGER NOT NULL,
    first_line INTEGER NOT NULL,
    last_line INTEGER NOT NULL,
    content MEDIUMBLOB,
    compressed SMALLINT NOT NULL,
    KEY logchunks_firstline (logid, first_line),
    KEY logchunks_lastline (logid, last_line),
    CONSTRAINT logchunks_ibfk_1 FOREIGN KEY (logid) REFERENCES logs (id) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS test_results (
    id INTEGER NOT NULL AUTO_INCREMENT,
    builderid INTEGER NOT NULL,
    test_result_setid INTEGER NOT NULL,
    test_nameid INTEGER,
    test_code_pathid INTEGER,
    line INTEGER,
    duration_ns INTEGER,
    value TEXT NOT NULL,
    PRIMARY KEY (id),
    KEY builderid (builderid),
    KEY test_code_pathid (test_code_pathid),
    KEY test_nameid (test_nameid),
    KEY test_result_setid (test_result_setid),
    CONSTRAINT test_results_ibfk_1 FOREIGN KEY (builderid) REFERENCES builders (id) ON DELETE CASCADE,
    CONSTRAINT test_results_ibfk_4 FOREIGN KEY (test_code_pathid) REFERENCES test_code_paths (id) ON DELETE CASCADE,
    CONSTRAINT test_results_ibfk_3 FOREIGN KEY (test_nameid) REFERENCES test_names (id) ON DELETE CASCADE,
    CONSTRAINT test_results_ibfk_2 FOREIGN KEY (test_result_setid) REFERENCES test_result_sets (id) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

SET foreign_key_checks = 1;

INSERT IGNORE INTO alembic_version (version_num) VALUES ('067');
