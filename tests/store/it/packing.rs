//! How PostgreSQL packs long values: by LZ4, unless its administrator has said something else.

use muster_store::{Db, params};
use muster_store_tests::{Postgres, Server, data::tx};

/// How the server has packed a long value that was written over a new connection.
async fn method(server: &Postgres) -> String {
    let db = Db::upgrade(&server.db_url("buildbot")).await.unwrap();
    let packed = tx(&db, |tx| async move {
        let long = "a line as compilers write them\n".repeat(2_000);
        let insert = "INSERT INTO muster_control (target, targetid, action, reason, created_at) VALUES (?, ?, ?, ?, ?)";
        let id = tx.insert(insert, params!["build", 1, "stop", long.as_str(), 1]).await?;
        let query = "SELECT pg_column_compression(reason) FROM muster_control WHERE id = ?";
        tx.query_opt(query, params![id]).await?.unwrap().text(0)
    });
    packed.await
}

#[tokio::test(flavor = "multi_thread")]
async fn long_values_are_packed_by_lz4_unless_the_administrator_says_otherwise() {
    let server = Postgres::start();
    assert_eq!(method(&server).await, "lz4");
    server.sql("postgres", "ALTER DATABASE buildbot SET default_toast_compression = 'pglz'");
    assert_eq!(method(&server).await, "pglz");
}
