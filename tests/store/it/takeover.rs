//! A database of a real Buildbot is taken over, and given back.

use std::path::Path;

use muster_core::{BuildId, LogId, LogKind, Properties, Results};
use muster_store::{
    Db, DbUrl, Result, builds, buildsets,
    buildsets::BuildsetRow,
    changes::{self, ChangeRow},
    chunks::{self, Compression},
    query, runs, sourcestamps,
    sourcestamps::NewSourceStamp,
    steps, workers,
};
use muster_store_tests::{
    MariaDb, Postgres, Server,
    buildbot::Buildbot,
    data::{self, NOW, claim, tx},
};
use muster_tests::rest::Rest;

use crate::schema::{assert_same, of_mariadb, of_postgres, of_sqlite};

const METHODS: [&str; 6] = ["raw", "gz", "bz2", "lz4", "zstd", "br"];

fn log_text() -> String {
    (0..3000).map(|line| format!("{line}: a line of a log, with é and 中\n")).collect()
}

/// Everything that a build leaves behind, with a log in each compression. Answers the build.
async fn write_history(db: &Db) -> BuildId {
    let master = data::masters(db, 1).await[0];
    let (builders, worker) = data::builders(db, master, 1).await;
    let builder = builders[0];
    let stamp = NewSourceStamp {
        branch: Some("main".to_owned()),
        revision: Some("abc".to_owned()),
        repository: "r".to_owned(),
        ..NewSourceStamp::default()
    };
    let row = ChangeRow {
        author: "Ann".to_owned(),
        comments: "a change of Muster".to_owned(),
        when: NOW.0,
        files: vec!["a.c".to_owned()],
        src: Some("git".to_owned()),
        ..ChangeRow::default()
    };
    let build = tx(db, |tx| {
        let (stamp, row) = (stamp.clone(), row.clone());
        async move {
            let source = sourcestamps::find_or_create(&tx, &stamp, NOW).await?.id;
            changes::insert(&tx, &row, &stamp, source).await?;
            let mut properties = Properties::new();
            properties.set("list", serde_json::json!([1, "é"]), "Muster");
            let reason = BuildsetRow { reason: "of Muster".to_owned(), ..BuildsetRow::default() };
            let buildset = buildsets::insert(&tx, &reason, &properties, &[source], NOW).await?;
            let request = buildsets::insert_requests(&tx, buildset, &[builder], 3, false, NOW).await?[0];
            assert!(buildsets::claim(&tx, request, claim(master)).await?);
            let (build, _) = data::build(&tx, builder, request, worker, master).await?;
            builds::insert_properties(&tx, &[(build, properties.clone())]).await?;
            data::run(&tx, build, master, worker, 1).await?;
            let mut step = data::step(&tx, build, "compile").await?;
            for method in METHODS {
                let mut log = data::log(&tx, step.id, method, LogKind::Text).await?;
                let made = chunks::make(&log_text(), Compression::for_writing(method).unwrap());
                data::append(&tx, log.id, &made).await?;
                log = steps::log_by_id(&tx, log.id).await?.unwrap();
                log.complete = true;
                steps::update_logs(&tx, &[&log]).await?;
            }
            (step.results, step.complete_at) = (Some(Results::Warnings), Some(NOW));
            steps::update(&tx, &step).await?;
            let mut row = builds::by_id(&tx, build).await?.unwrap();
            row.state_string = "done".to_owned();
            (row.results, row.complete_at) = (Some(Results::Warnings), Some(NOW));
            builds::update(&tx, &row).await?;
            runs::delete_all(&tx, &[build]).await?;
            buildsets::complete_request(&tx, request, Results::Warnings, NOW).await?;
            buildsets::complete_if_done(&tx, buildset, NOW).await?;
            Ok(build)
        }
    })
    .await;
    tx(db, |tx| async move { workers::disconnected(&tx, master, worker).await }).await;
    build
}

/// A real Buildbot tells of the build what was written.
fn assert_told(rest: Rest, build: BuildId) {
    let seen = rest.one(&format!("builds/{build}?property=*"));
    assert_eq!((seen["state_string"].as_str(), seen["results"].as_i64()), (Some("done"), Some(1)));
    assert_eq!(seen["properties"]["list"], serde_json::json!([[1, "é"], "Muster"]));
    let step = &rest.list(&format!("builds/{build}/steps"))[0];
    assert_eq!(step["name"], "compile");
    let logs = rest.list(&format!("steps/{}/logs", step["stepid"]));
    assert_eq!(logs.len(), METHODS.len());
    for log in logs {
        let content = rest.one(&format!("logs/{}/contents", log["logid"]));
        assert_eq!(content["content"].as_str(), Some(log_text().as_str()), "{}", log["name"]);
    }
    let request = rest.one(&format!("buildrequests/{}", seen["buildrequestid"]));
    assert_eq!((request["complete"].as_bool(), request["priority"].as_i64()), (Some(true), Some(3)));
    let buildset = rest.one(&format!("buildsets/{}", request["buildsetid"]));
    assert_eq!(buildset["reason"], "of Muster");
    assert_eq!(buildset["sourcestamps"][0]["revision"], "abc");
    let changes = rest.list("changes");
    assert!(changes.iter().any(|change| change["comments"] == "a change of Muster"), "{changes:?}");
}

/// Buildbot makes the database, Muster takes it over and works in it, Buildbot goes on with it.
async fn there_and_back(buildbot: &Buildbot, url: &DbUrl, schema: impl Fn() -> String) {
    buildbot.upgrade();
    let before = schema();
    let refused = Db::open(url).await.err().expect("it isn't Muster's yet").to_string();
    assert!(refused.contains("muster upgrade-master"), "{refused}");
    let db = Db::upgrade(url).await.unwrap();
    let build = write_history(&db).await;
    assert_same(&schema(), &before);
    drop(db);
    let (process, rest) = buildbot.start();
    tokio::task::spawn_blocking(move || assert_told(rest, build)).await.unwrap();
    assert!(process.stop().success());
    let db = Db::open(url).await.unwrap();
    let master: Result<_> =
        db.read("masters", |tx| async move { query::masters::list(&tx, &query::Select::all()).await }).await;
    assert_eq!(master.unwrap().len(), 2, "Buildbot has made its own row beside ours");
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite() {
    let buildbot = Buildbot::new("sqlite:///state.sqlite");
    let path = buildbot.path().join("state.sqlite");
    there_and_back(&buildbot, &DbUrl::Sqlite(path.clone()), || of_sqlite(&path)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres() {
    let server = Postgres::start();
    let buildbot = Buildbot::new(&server.url("buildbot"));
    there_and_back(&buildbot, &server.db_url("buildbot"), || of_postgres(&server, "buildbot")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb() {
    let server = MariaDb::start();
    let url = server.url("buildbot").replace("mysql://", "mysql+pymysql://") + "?storage_engine=InnoDB";
    let buildbot = Buildbot::new(&url);
    there_and_back(&buildbot, &server.db_url("buildbot"), || of_mariadb(&server, "buildbot")).await;
}

/// What a real Buildbot wrote, builds and all, is served at once, and nothing of it is changed.
#[tokio::test(flavor = "multi_thread")]
async fn a_history_of_buildbot_is_served_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.sqlite");
    std::fs::copy(muster_golden::database(), &path).unwrap();
    let dump = |path: &Path| {
        let connection = rusqlite::Connection::open(path).unwrap();
        let tables =
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'muster%' ORDER BY name";
        let mut names = connection.prepare(tables).unwrap();
        let names = names.query_map([], |row| row.get::<_, String>(0)).unwrap().map(|name| name.unwrap());
        let mut text = String::new();
        for name in names {
            let mut rows = connection.prepare(&format!("SELECT * FROM {name}")).unwrap();
            let columns = rows.column_count();
            let mut rows = rows.query([]).unwrap();
            while let Some(row) = rows.next().unwrap() {
                for column in 0..columns {
                    text += &format!("{name} {column} {:?}\n", row.get_ref(column).unwrap());
                }
            }
        }
        text
    };
    let before = dump(&path);
    let db = Db::upgrade(&DbUrl::Sqlite(path.clone())).await.unwrap();
    assert!(dump(&path) == before, "upgrade-master has changed rows of Buildbot");
    // One log in each compression, as the fixture's description says; the raw one's last line was cut.
    for (log, method) in [(19, "gz"), (41, "bz2"), (42, "lz4"), (43, "zstd"), (44, "br"), (45, "raw")] {
        let read =
            db.read("log", |tx| async move { query::log_content::chunks(&tx, LogId(log), 0, 100).await });
        let chunks: Result<Vec<_>> = read.await;
        let text: String = chunks.unwrap().iter().map(|chunk| chunk.lines(0, 1801).unwrap()).collect();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 1801, "{method}");
        let last = if method == "raw" { 65_535 } else { 70_001 };
        assert_eq!(lines[1800].len(), last, "{method}");
    }
}

/// Schemas of other Buildbots are refused with what to do, and left alone.
#[tokio::test]
async fn other_revisions_are_refused() {
    for (revision, advice) in [("066", "buildbot upgrade-master"), ("068", "newer than 4.3.0")] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.sqlite");
        std::fs::copy(muster_golden::database(), &path).unwrap();
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.execute("UPDATE alembic_version SET version_num = ?", [revision]).unwrap();
        let refused = Db::upgrade(&DbUrl::Sqlite(path)).await.err().expect("it is refused").to_string();
        assert!(refused.contains(advice) && refused.contains(revision), "{refused}");
        let ours = "SELECT count(*) FROM sqlite_master WHERE name LIKE 'muster%'";
        assert_eq!(connection.query_row(ours, [], |row| row.get::<_, i64>(0)).unwrap(), 0);
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.sqlite");
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute_batch("CREATE TABLE migrate_version (version INTEGER)").unwrap();
    let refused = Db::upgrade(&DbUrl::Sqlite(path)).await.err().expect("it is refused").to_string();
    assert!(refused.contains("2.10"), "{refused}");
}
