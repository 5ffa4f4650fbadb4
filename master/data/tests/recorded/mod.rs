//! A database that a Buildbot 4.3.0 master wrote.

use muster_bus::Bus;
use muster_data::Data;
use muster_store::{Db, DbUrl};

/// A copy of it, adopted.
pub async fn adopted() -> (Data, tempfile::TempDir) {
    let recorded = muster_golden::database();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.sqlite");
    std::fs::copy(&recorded, &path).unwrap_or_else(|error| panic!("{}: {error}", recorded.display()));
    let db = Db::upgrade(&DbUrl::Sqlite(path)).await.unwrap();
    (Data::new(db, Bus::default()), directory)
}
