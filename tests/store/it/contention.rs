//! Many masters on one database: nothing is taken twice, nothing is lost.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::future::join_all;
use muster_core::{BuilderId, MasterId, RequestId, WorkerId};
use muster_store::{Db, DbUrl, Error, Result, builders, builds, buildsets, query};
use muster_store_tests::{
    MariaDb, Postgres, Server,
    data::{self, NOW, claim, tx},
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

const MASTERS: usize = 8;

/// What the masters of one round do.
#[derive(Clone, Debug)]
struct Round {
    requests: usize,
    builders: usize,
    /// Of each master: how many requests it takes at once, and whether it chooses them itself beforehand.
    masters: Vec<(usize, bool)>,
}

fn rounds() -> impl Strategy<Value = Round> {
    let master = (1_usize..12, any::<bool>());
    (1_usize..150, 1_usize..6, proptest::collection::vec(master, MASTERS))
        .prop_map(|(requests, builders, masters)| Round { requests, builders, masters })
}

struct Cluster {
    dbs: Vec<Db>,
    masters: Vec<MasterId>,
    builders: Vec<BuilderId>,
    worker: WorkerId,
}

impl Cluster {
    async fn start(url: &DbUrl) -> Cluster {
        let first = Db::upgrade(url).await.unwrap();
        let masters = data::masters(&first, MASTERS).await;
        let (builders, worker) = data::builders(&first, masters[0], 6).await;
        let mut dbs = vec![first];
        for _ in 1..MASTERS {
            dbs.push(Db::open(url).await.unwrap());
        }
        Cluster { dbs, masters, builders, worker }
    }

    async fn play(&self, round: &Round) {
        let builders = &self.builders[..round.builders];
        let mut wanted = data::requests(&self.dbs[0], builders, round.requests).await;
        let takers =
            round.masters.iter().zip(&self.dbs).zip(&self.masters).map(|((habit, db), master)| async move {
                let (batch, choose) = *habit;
                if choose {
                    choose_and_take(db, *master, builders, batch).await
                } else {
                    take_next(db, *master, builders, batch).await
                }
            });
        let taken = join_all(takers).await;
        let mut by_request: BTreeMap<RequestId, MasterId> = BTreeMap::new();
        for (master, requests) in self.masters.iter().zip(taken) {
            for request in requests {
                let before = by_request.insert(request, *master);
                assert_eq!(before, None, "request {request} was taken twice");
            }
        }
        wanted.sort();
        assert_eq!(
            by_request.keys().copied().collect::<Vec<_>>(),
            wanted,
            "each request is taken by somebody"
        );
        let ids: Vec<_> = wanted.iter().map(|id| (*id).into()).collect();
        let column = query::requests::TABLE.column("buildrequestid").unwrap();
        let select = query::Select::all().and(column, query::Op::In, ids);
        let rows: Result<Vec<_>> =
            self.dbs[0].read("claims", |tx| async move { query::requests::list(&tx, &select).await }).await;
        for row in rows.unwrap() {
            assert_eq!(row.claim.as_ref().map(|claim| claim.master), by_request.get(&row.id).copied());
        }
    }
}

/// Takes batches until nothing is left.
async fn take_next(db: &Db, master: MasterId, builders: &[BuilderId], batch: usize) -> Vec<RequestId> {
    let mut all = Vec::new();
    loop {
        let taken =
            tx(db, |tx| async move { buildsets::claim_next(&tx, builders, batch, claim(master)).await })
                .await;
        if taken.is_empty() && nothing_waits(db, builders).await {
            return all;
        }
        all.extend(taken);
    }
}

/// Looks what waits, and takes sets of it, whole or not at all.
async fn choose_and_take(db: &Db, master: MasterId, builders: &[BuilderId], batch: usize) -> Vec<RequestId> {
    let mut all = Vec::new();
    while !nothing_waits(db, builders).await {
        let waiting: Result<Vec<_>> =
            db.read("look", |tx| async move { buildsets::pending(&tx, builders, batch as i64).await }).await;
        let set: Arc<[RequestId]> = waiting.unwrap().iter().map(|pending| pending.id).collect();
        let taken = db.tx("take", |tx| {
            let set = set.clone();
            async move { buildsets::claim_all(&tx, &set, claim(master)).await }
        });
        match taken.await {
            Ok(_) => all.extend(set.iter()),
            Err(Error::Claimed) => {}
            Err(error) => panic!("{error}"),
        }
    }
    all
}

async fn nothing_waits(db: &Db, builders: &[BuilderId]) -> bool {
    let waiting: Result<Vec<_>> =
        db.read("waits", |tx| async move { buildsets::pending(&tx, builders, 1).await }).await;
    waiting.unwrap().is_empty()
}

/// Builds of one builder, started by all masters at once; some change their mind.
async fn number_builds(cluster: &Cluster) {
    const EACH: usize = 12;
    let builder = cluster.builders[0];
    let worker = cluster.worker;
    let request = data::requests(&cluster.dbs[0], &[builder], 1).await[0];
    let starters = cluster.dbs.iter().zip(&cluster.masters).map(|(db, master)| async move {
        let mut numbers = Vec::new();
        for turn in 0..EACH {
            let master = *master;
            let started = db
                .tx("start", |tx| async move {
                    let (_, number) = builds::insert(&tx, builder, request, worker, master, NOW).await?;
                    if turn % 4 == 3 { Err(Error::Data("changed its mind".to_owned())) } else { Ok(number) }
                })
                .await;
            numbers.extend(started.ok().map(|number| number.into_inner()));
        }
        numbers
    });
    let mut numbers: Vec<i64> = join_all(starters).await.into_iter().flatten().collect();
    numbers.sort_unstable();
    let expected: Vec<i64> = (1..=(MASTERS * EACH * 3 / 4) as i64).collect();
    assert_eq!(numbers, expected);
}

/// Masters that configure the same names at the same time all find the same rows.
async fn configure_at_once(cluster: &Cluster) {
    let configured = join_all(cluster.dbs.iter().zip(&cluster.masters).map(|(db, master)| async move {
        let info = builders::BuilderInfo {
            name: "the same".to_owned(),
            project: Some("one".to_owned()),
            tags: vec!["tag".to_owned()],
            ..builders::BuilderInfo::default()
        };
        tx(db, |tx| {
            let info = info.clone();
            async move { builders::configure(&tx, *master, &info).await }
        })
        .await
    }))
    .await;
    assert!(configured.iter().all(|id| *id == configured[0]), "{configured:?}");
}

fn contend(url: &DbUrl) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let cluster = runtime.block_on(Cluster::start(url));
    runtime.block_on(configure_at_once(&cluster));
    runtime.block_on(number_builds(&cluster));
    let claimed = runtime.block_on(async {
        let db = &cluster.dbs[0];
        let (master, builders) = (cluster.masters[0], &cluster.builders);
        tx(db, |tx| async move { buildsets::claim_next(&tx, builders, 10, claim(master)).await }).await
    });
    assert_eq!(claimed.len(), 1);
    let config = Config { cases: 12, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&rounds(), |round| {
            runtime.block_on(cluster.play(&round));
            Ok(())
        })
        .unwrap();
}

#[test]
fn eight_masters_on_postgres() {
    let server = Postgres::start();
    contend(&server.db_url("buildbot"));
}

#[test]
fn eight_masters_on_mariadb() {
    let server = MariaDb::start();
    contend(&server.db_url("buildbot"));
}

#[test]
fn eight_connections_on_sqlite() {
    let directory = tempfile::tempdir().unwrap();
    contend(&DbUrl::Sqlite(directory.path().join("state.sqlite")));
}
