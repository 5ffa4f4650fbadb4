//! The server goes away, and comes back: what was accepted is there, once.

use std::{path::Path, sync::Arc, time::Duration};

use muster_core::{RequestId, Timestamp};
use muster_store::{Db, DbUrl, Error, Result, buildsets, control, params};
use muster_store_tests::{
    MariaDb, Postgres, Server,
    data::{self, claim, tx},
    proxy::{Loss, Proxy},
};

/// Writes an order about `target`.
async fn write(db: &Db, target: i64) -> Result<()> {
    let written = db.tx("write", |tx| async move {
        control::insert(&tx, "build", target, "stop", "test", Timestamp(target)).await
    });
    written.await.map(|committed| committed.into_inner())
}

async fn count(db: &Db, target: i64) -> i64 {
    tx(db, |tx| async move {
        let query = "SELECT count(*) FROM muster_control WHERE targetid = ?";
        tx.query_opt(query, params![target]).await?.unwrap().int(0)
    })
    .await
}

const LOSSES: [Loss; 3] = [Loss::Request, Loss::Answer, Loss::Late];

async fn commits_get_lost(url: impl Fn(u16) -> String, port: u16) {
    let proxy = Proxy::start(port).await;
    let parse = |url: String| DbUrl::parse(&url, Path::new("/")).unwrap();
    let direct = Db::upgrade(&parse(url(port))).await.unwrap();
    let db = Db::open(&parse(url(proxy.address.port()))).await.unwrap();
    for (target, loss) in (1..).zip([LOSSES, LOSSES].concat()) {
        write(&db, 100 + target).await.unwrap();
        proxy.lose_commit(loss);
        write(&db, target).await.unwrap();
        proxy.has_lost().await;
        assert_eq!(count(&direct, target).await, 1, "{loss:?}");
    }
    claims_get_lost(&proxy, &direct, &db).await;
}

/// Claims that are their own transaction: one message, one answer.
async fn claims_get_lost(proxy: &Proxy, direct: &Db, db: &Db) {
    let masters = data::masters(direct, 2).await;
    let (me, other) = (masters[0], masters[1]);
    let (builders, _) = data::builders(direct, me, 1).await;
    let take = async |set: &[RequestId]| buildsets::take_all(db, set, claim(me)).await;
    let other_takes = async |request| {
        tx(direct, |tx| async move { buildsets::claim(&tx, request, claim(other)).await }).await
    };
    for loss in LOSSES {
        let set = data::requests(direct, &builders, 6).await;
        // The connections know the statement, and are warm.
        let _ = take(&set[..2]).await.unwrap();
        proxy.lose_next(loss);
        let _ = take(&set[2..4]).await.unwrap();
        proxy.has_lost().await;
        assert!(matches!(take(&set[2..4]).await, Err(Error::Claimed)), "{loss:?}: they are taken, once");
        assert!(other_takes(set[5]).await);
        proxy.lose_next(loss);
        assert!(matches!(take(&set[4..]).await, Err(Error::Claimed)), "{loss:?}: one is somebody else's");
        proxy.has_lost().await;
        // PostgreSQL says that it has failed before it lets the rows go.
        let free = async {
            while !other_takes(set[4]).await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), free).await.expect("the other one is free");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_commit_on_postgres_happens_once() {
    let server = Postgres::start();
    commits_get_lost(|port| format!("postgresql://bb@127.0.0.1:{port}/buildbot?pool_size=2"), server.port)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_commit_on_mariadb_happens_once() {
    let server = MariaDb::start();
    commits_get_lost(|port| format!("mysql://bb:p%3Aw@127.0.0.1:{port}/buildbot?pool_size=2"), server.port)
        .await;
}

/// Writers go on while the server is killed and started again.
async fn restart(url: &DbUrl, kill_and_launch: impl FnOnce() + Send + 'static) {
    const WRITERS: i64 = 4;
    const EACH: i64 = 150;
    let db = Db::upgrade(url).await.unwrap();
    let half_way = Arc::new(tokio::sync::Barrier::new(WRITERS as usize + 1));
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let (db, half_way) = (db.clone(), half_way.clone());
        writers.push(tokio::spawn(async move {
            for turn in 0..EACH {
                if turn == EACH / 2 {
                    half_way.wait().await;
                }
                write(&db, writer * EACH + turn).await.unwrap();
            }
        }));
    }
    half_way.wait().await;
    tokio::task::spawn_blocking(kill_and_launch).await.unwrap();
    for writer in writers {
        tokio::time::timeout(Duration::from_secs(60), writer).await.expect("writers go on").unwrap();
    }
    for target in 0..WRITERS * EACH {
        assert_eq!(count(&db, target).await, 1, "{target}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_outlive_a_restart_of_postgres() {
    let mut server = Postgres::start_with(&[]);
    let url = server.db_url("buildbot");
    restart(&url, move || {
        server.kill();
        server.launch();
        // It is stopped with the test's process.
        std::mem::forget(server);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_outlive_a_restart_of_mariadb() {
    let mut server = MariaDb::start();
    let url = server.db_url("buildbot");
    restart(&url, move || {
        server.kill();
        server.launch();
        std::mem::forget(server);
    })
    .await;
}
