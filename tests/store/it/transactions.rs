//! Transactions, whatever they are about.

use futures_util::future::{join, join3};
use muster_core::BuildId;
use muster_store::{
    Error, Result, Tx, builders, control, params, query,
    runs::{self, NewRun},
    workers,
};
use muster_store_tests::data::{self, NOW, tx};

use crate::engines::Ground;

pub async fn statistics_count_commits(ground: &Ground) {
    let before = ground.db.stats().get("counted").map_or(0, |stats| stats.commits);
    let done: Result<_> = ground.db.tx("counted", |tx| async move { query::ping(&tx).await }).await;
    let _ = done.unwrap();
    assert_eq!(ground.db.stats()["counted"].commits, before + 1);
}

pub async fn an_error_leaves_nothing_behind(ground: &Ground) {
    let db = &ground.db;
    let failed: Result<_> = db
        .tx("fails", |tx| async move {
            workers::find_or_create(&tx, "never").await?;
            Err::<(), _>(Error::Data("no".to_owned()))
        })
        .await;
    assert!(failed.is_err());
    assert!(tx(db, |tx| async move { query::workers::by_name(&tx, "never").await }).await.is_none());
    // A violation that the body swallows must not make the rest of it look committed.
    let swallowed: Result<_> = db
        .tx("swallows", |tx| async move {
            workers::find_or_create(&tx, "swallowed").await?;
            let twice = "INSERT INTO workers (name, info, paused, graceful) VALUES (?, '{}', 0, 0)";
            let unique = tx.execute(twice, muster_store::params!["swallowed"]).await;
            assert!(matches!(unique, Err(Error::Unique(_))), "{unique:?}");
            Ok(())
        })
        .await;
    let there = tx(db, |tx| async move { query::workers::by_name(&tx, "swallowed").await }).await.is_some();
    assert_eq!(swallowed.is_ok(), there);
}

/// Statements of which only the success matters may run later than they were given. When one of them fails, what was given
/// after it has not run either, and whoever overlooks the error must not get the rest committed.
pub async fn what_waits_and_fails_is_not_forgotten(ground: &Ground) {
    let db = &ground.db;
    let master = data::masters(db, 1).await[0];
    let worker = tx(db, |tx| async move { workers::find_or_create(&tx, "of a run").await }).await;
    let run = &[NewRun { build: BuildId(990_001), worker, snapshot: 1, plan: "{}" }];
    let overlooked: Result<_> = db
        .tx("overlooks", |tx| async move {
            // SQLite says it here, the others later.
            let _ = runs::insert(&tx, master, run, NOW).await;
            let _ = runs::insert(&tx, master, run, NOW).await;
            let _ = control::insert(&tx, "build", 990_001, "stop", "test", NOW).await;
            let _ = query::ping(&tx).await;
            Ok(())
        })
        .await;
    let (ordered, runs) = tx(db, |tx| async move {
        let ordered = control::is_open(&tx, "build", 990_001).await?;
        Ok((ordered, runs::exists(&tx, BuildId(990_001)).await?))
    })
    .await;
    assert_eq!((ordered, runs), (overlooked.is_ok(), overlooked.is_ok()), "{overlooked:?}");
    tx(db, |tx| async move { runs::delete_all(&tx, &[BuildId(990_001)]).await }).await;
}

async fn number(tx: &Tx, query: &str) -> Result<i64> {
    tx.query(query, params![]).await?[0].int(0)
}

pub async fn queries_that_are_joined_answer_in_their_order(ground: &Ground) {
    let db = &ground.db;
    tx(db, |tx| async move {
        // What was to be done before the queries is done before them.
        control::insert(&tx, "build", 990_002, "stop", "test", NOW).await?;
        let count = "SELECT count(*) FROM muster_control WHERE targetid = 990002";
        let (one, there, two) =
            join3(number(&tx, "SELECT 1"), number(&tx, count), number(&tx, "SELECT 2")).await;
        assert_eq!((one?, there?, two?), (1, 1, 2));
        let (none, some) =
            join(tx.query("SELECT id FROM muster_control WHERE id < 0", params![]), number(&tx, "SELECT 3"))
                .await;
        assert_eq!((none?.len(), some?), (0, 3));
        Ok(())
    })
    .await;
    let look: Result<_> = db
        .look("test", |tx| async move {
            let (one, name) = join(number(&tx, "SELECT 1"), builders::by_name(&tx, "nobody's")).await;
            Ok((one?, name?))
        })
        .await;
    assert_eq!(look.unwrap(), (1, None));

    let failed: Result<_> = db
        .tx("fails", |tx| async move {
            control::insert(&tx, "build", 990_003, "stop", "test", NOW).await?;
            let bad = tx.query("SELECT nonsense FROM nowhere", params![]);
            let (one, bad) = join(number(&tx, "SELECT 1"), bad).await;
            one.and(bad.map(|rows| rows.len() as i64))
        })
        .await;
    assert!(failed.unwrap_err().to_string().contains("nowhere"));
    assert!(!tx(db, |tx| async move { control::is_open(&tx, "build", 990_003).await }).await);
}

pub async fn only_transactions_write(ground: &Ground) {
    let write = |tx: Tx| async move { control::insert(&tx, "build", 990_004, "stop", "test", NOW).await };
    assert!(ground.db.look("test", write).await.is_err());
    assert!(ground.db.read("test", write).await.is_err());
    let open = tx(&ground.db, |tx| async move { control::is_open(&tx, "build", 990_004).await }).await;
    assert!(!open);
}
