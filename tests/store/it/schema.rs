//! The schema that we make is the one that Buildbot makes.

use muster_store::Db;
use muster_store_tests::{MariaDb, Postgres};

#[tokio::test]
async fn postgres() {
    let server = Postgres::start();
    let url = server.db_url("buildbot");
    Db::upgrade(&url).await.unwrap();
    Db::open(&url).await.unwrap();
    Db::upgrade(&url).await.unwrap();
}

#[tokio::test]
async fn mariadb() {
    let server = MariaDb::start();
    let url = server.db_url("buildbot");
    Db::upgrade(&url).await.unwrap();
    Db::open(&url).await.unwrap();
    Db::upgrade(&url).await.unwrap();
}
