//! A disk is full: what was accepted is there, what was not is told, and it goes on when there is room.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
};

use muster_store::{Db, DbUrl, Error, params};
use muster_store_tests::{MariaDb, Postgres, Server, data::tx};
use muster_tests::template::run;

/// A small file system of its own. Only root may mount one: other users' tests go without.
struct Small(PathBuf);

impl Small {
    fn over(directory: &Path, size: &str) -> Option<Small> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let owner = std::fs::metadata(directory).unwrap();
        let options = format!("size={size},uid={},gid={},mode=0700", owner.uid(), owner.gid());
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(directory));
        Some(Small(directory.to_owned()))
    }

    fn grow(&self, size: &str) {
        run(Command::new("mount").args(["-o", &format!("remount,size={size}")]).arg(&self.0));
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        run(Command::new("umount").args(["--lazy"]).arg(&self.0));
    }
}

const ROOM: &str = "make room on the";

/// Writes rows of their own transactions until the disk is full.
async fn fill(url: &DbUrl, small: &Small) {
    /// Far more than fits.
    const TRIES: i64 = 5_000;
    let db = Db::upgrade(url).await.unwrap();
    let mut accepted = 0;
    let refused = loop {
        match write(&db, accepted).await {
            Ok(()) => accepted += 1,
            Err(error) => break error.to_string(),
        }
        assert!(accepted < TRIES, "the disk is never full");
    };
    assert!(refused.contains(ROOM), "{refused}");
    assert!(write(&db, accepted).await.is_err(), "it is full");
    small.grow("64m");
    write(&db, accepted).await.unwrap();
    let there = tx(&db, |tx| async move {
        tx.query_opt("SELECT count(*) FROM muster_control", params![]).await?.unwrap().int(0)
    });
    assert_eq!(there.await, accepted + 1);
}

/// A row that no server can compress.
async fn write(db: &Db, number: i64) -> Result<(), Error> {
    let name: String = (0..600).map(|_| format!("{:032x}", fastrand::u128(..))).collect();
    let name = name.as_str();
    let written = db.tx("write", |tx| async move {
        let insert = "INSERT INTO muster_control (target, targetid, action, reason, created_at) VALUES (?, ?, ?, ?, ?)";
        tx.execute(insert, params!["build", number, "stop", name, 1]).await
    });
    written.await.map(|_| ())
}

#[tokio::test]
async fn sqlite_on_a_full_disk() {
    let directory = tempfile::tempdir().unwrap();
    let Some(small) = Small::over(directory.path(), "300k") else { return };
    let path = directory.path().join("state.sqlite");
    let url = DbUrl::parse(&format!("sqlite:///{}", path.display()), Path::new("/")).unwrap();
    let refused = Db::upgrade(&url).await.err().expect("it does not fit").to_string();
    assert!(refused.contains("full") && refused.contains(ROOM), "{refused}");
    let tables = "SELECT count(*) FROM sqlite_master";
    let left: i64 =
        rusqlite::Connection::open(&path).unwrap().query_row(tables, [], |row| row.get(0)).unwrap();
    assert_eq!(left, 0, "nothing was changed");
    small.grow("4m");
    fill(&url, &small).await;
}

/// The database's files are on the small disk, the server's log of transactions is not: without that no server goes on.
#[tokio::test]
async fn postgres_on_a_full_disk() {
    let server = Postgres::start();
    let place = server.data().parent().unwrap().join("small");
    std::fs::create_dir(&place).unwrap();
    run(Command::new("chown").arg("--reference").arg(server.data()).arg(&place));
    let Some(small) = Small::over(&place, "24m") else { return };
    server.sql("postgres", &format!("CREATE TABLESPACE small LOCATION '{}'", place.display()));
    server.sql("postgres", "ALTER DATABASE buildbot SET TABLESPACE small");
    fill(&server.db_url("buildbot"), &small).await;
}

/// The same.
#[tokio::test]
async fn mariadb_on_a_full_disk() {
    let server = MariaDb::start();
    let Some(small) = Small::over(&server.data().join("buildbot"), "24m") else { return };
    fill(&server.db_url("buildbot"), &small).await;
}
