//! The schema that we make is the one that Buildbot makes.

use std::collections::BTreeSet;

use muster_store::Db;
use muster_store_tests::{MariaDb, Postgres, Server, buildbot::Buildbot};

/// Fails with the lines that only one side has.
#[track_caller]
pub fn assert_same(ours: &str, theirs: &str) {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let (ours, theirs) = (lines(ours), lines(theirs));
    assert!(!theirs.is_empty());
    let (more, less): (Vec<_>, Vec<_>) =
        (ours.difference(&theirs).collect(), theirs.difference(&ours).collect());
    assert!(more.is_empty() && less.is_empty(), "only ours: {more:#?}\nonly theirs: {less:#?}");
}

/// Columns, keys, indexes and delete rules of Buildbot's tables on PostgreSQL, a line each.
pub fn of_postgres(server: &Postgres, database: &str) -> String {
    server.sql(
        database,
        "SELECT 'column', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, \
           pg_get_expr(d.adbin, d.adrelid) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid \
           LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
           WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND c.relname !~ '^muster_' \
         UNION ALL SELECT 'index', tablename, indexname, indexdef, NULL, NULL FROM pg_indexes \
           WHERE schemaname = 'public' AND tablename !~ '^muster_' \
         UNION ALL SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid), NULL, NULL \
           FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text !~ '^muster_' \
         UNION ALL SELECT 'sequence', relname, NULL, NULL, NULL, NULL FROM pg_class \
           WHERE relnamespace = 'public'::regnamespace AND relkind = 'S' AND relname !~ '^muster_' \
         UNION ALL SELECT 'version', version_num, NULL, NULL, NULL, NULL FROM alembic_version",
    )
}

/// The same on MariaDB.
pub fn of_mariadb(server: &MariaDb, database: &str) -> String {
    let columns = "SELECT 'column', table_name, column_name, column_type, is_nullable, column_default, extra \
                   FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name NOT LIKE 'muster%'";
    let indexes = "SELECT 'index', table_name, index_name, non_unique, seq_in_index, column_name, sub_part \
                   FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name NOT LIKE 'muster%'";
    let keys = "SELECT 'key', k.table_name, k.constraint_name, k.column_name, k.referenced_table_name, \
                k.referenced_column_name, r.delete_rule FROM information_schema.key_column_usage k \
                JOIN information_schema.referential_constraints r ON r.constraint_schema = k.constraint_schema \
                AND r.constraint_name = k.constraint_name AND r.table_name = k.table_name WHERE k.table_schema = DATABASE()";
    let engines = "SELECT 'engine', table_name, engine FROM information_schema.tables \
                   WHERE table_schema = DATABASE() AND table_name NOT LIKE 'muster%'";
    let version = "SELECT 'version', version_num FROM alembic_version";
    [columns, indexes, keys, engines, version].map(|query| server.sql(database, query)).join("\n")
}

#[tokio::test]
async fn on_postgres_it_is_buildbots() {
    let server = Postgres::start();
    server.sql("postgres", "CREATE DATABASE theirs");
    Buildbot::new(&server.url("theirs")).upgrade();
    let url = server.db_url("buildbot");
    Db::upgrade(&url).await.unwrap();
    assert_same(&of_postgres(&server, "buildbot"), &of_postgres(&server, "theirs"));
    Db::upgrade(&url).await.unwrap();
    Db::open(&url).await.unwrap();
}

#[tokio::test]
async fn on_mariadb_it_is_buildbots() {
    let server = MariaDb::start();
    server.sql("", "CREATE DATABASE theirs");
    let theirs = server.url("theirs").replace("mysql://", "mysql+pymysql://") + "?storage_engine=InnoDB";
    Buildbot::new(&theirs).upgrade();
    let url = server.db_url("buildbot");
    Db::upgrade(&url).await.unwrap();
    assert_same(&of_mariadb(&server, "buildbot"), &of_mariadb(&server, "theirs"));
    Db::upgrade(&url).await.unwrap();
    Db::open(&url).await.unwrap();
}

/// The same on SQLite.
pub fn of_sqlite(path: &std::path::Path) -> String {
    let connection = rusqlite::Connection::open(path).unwrap();
    let query = "SELECT 'column', m.name, c.name, c.type, c.\"notnull\", c.dflt_value, c.pk, NULL \
                   FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table' AND m.name NOT LIKE 'muster%' \
                 UNION ALL SELECT 'index', m.name, CASE i.origin WHEN 'c' THEN i.name END, i.\"unique\", x.seqno, x.name, \
                   i.origin, NULL FROM sqlite_master m, pragma_index_list(m.name) i, pragma_index_info(i.name) x \
                   WHERE m.type = 'table' AND m.name NOT LIKE 'muster%' \
                 UNION ALL SELECT 'key', m.name, k.\"from\", k.\"table\", k.\"to\", k.on_delete, k.seq, NULL \
                   FROM sqlite_master m, pragma_foreign_key_list(m.name) k WHERE m.type = 'table' \
                   AND m.name NOT LIKE 'muster%' \
                 UNION ALL SELECT 'version', version_num, NULL, NULL, NULL, NULL, NULL, NULL FROM alembic_version";
    let mut statement = connection.prepare(query).unwrap();
    let rows = statement.query_map([], |row| {
        let cells =
            (0..8).map(|index| row.get::<_, rusqlite::types::Value>(index).map(|cell| format!("{cell:?}")));
        Ok(cells.collect::<rusqlite::Result<Vec<_>>>()?.join(" "))
    });
    rows.unwrap().collect::<rusqlite::Result<Vec<_>>>().unwrap().join("\n")
}

#[tokio::test]
async fn on_sqlite_it_is_buildbots() {
    let theirs = Buildbot::new("sqlite:///state.sqlite");
    theirs.upgrade();
    let ours = tempfile::tempdir().unwrap();
    let path = ours.path().join("state.sqlite");
    Db::upgrade(&muster_store::DbUrl::Sqlite(path.clone())).await.unwrap();
    assert_same(&of_sqlite(&path), &of_sqlite(&theirs.path().join("state.sqlite")));
}
