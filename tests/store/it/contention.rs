//! Many masters on one database: nothing is taken twice, nothing is lost.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use muster_bus::Bus;
use muster_core::{BuilderId, MasterId, RequestId, Roles, WorkerId};
use muster_data::{Beside, Data, LockWish, Start};
use muster_store::{Db, DbUrl, Error, Result, builders, buildsets, masters::Life, query, runs::RunKey};
use muster_store_tests::{
    MariaDb, Postgres, Server,
    data::{self, claim, tx},
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
        // Two of them are one master, which takes some requests to build and others to cancel them.
        let mut masters = self.masters.clone();
        masters[MASTERS - 1] = masters[MASTERS - 2];
        let takers =
            round.masters.iter().zip(&self.dbs).zip(&masters).map(|((habit, db), master)| async move {
                let (batch, choose) = *habit;
                if choose {
                    choose_and_take(db, *master, builders, batch).await
                } else {
                    take_next(db, *master, builders, batch).await
                }
            });
        let taken = join_all(takers).await;
        let mut by_request: BTreeMap<RequestId, MasterId> = BTreeMap::new();
        for (master, requests) in masters.iter().zip(taken) {
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
            db.read("look", |tx| async move { buildsets::pending(&tx, builders, batch).await }).await;
        let set: Vec<RequestId> = waiting.unwrap().iter().map(|pending| pending.id).collect();
        match buildsets::take_all(db, &set, claim(master)).await {
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
                    let (_, number) = data::build(&tx, builder, request, worker, master).await?;
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

/// Tasks of one master that want the same requests at the same moment: one of them gets each.
async fn take_the_same(cluster: &Cluster) {
    const ROUNDS: usize = 40;
    let master = cluster.masters[0];
    for _ in 0..ROUNDS {
        let wanted = data::requests(&cluster.dbs[0], &cluster.builders, MASTERS).await;
        let wanted = wanted.as_slice();
        let takers = cluster.dbs.iter().map(|db| async move {
            tx(db, |tx| async move { buildsets::claim_free(&tx, wanted, claim(master)).await }).await
        });
        let mut taken: Vec<RequestId> = join_all(takers).await.into_iter().flatten().collect();
        taken.sort();
        assert_eq!(taken, wanted);
    }
}

fn contend(url: &DbUrl) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let cluster = runtime.block_on(Cluster::start(url));
    runtime.block_on(configure_at_once(&cluster));
    runtime.block_on(number_builds(&cluster));
    runtime.block_on(take_the_same(&cluster));
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

/// Many processes start under one name that nobody had before: one acts, the others are told that it does.
async fn name_is_taken_once(url: &DbUrl) {
    const ROUNDS: usize = 8;
    let cluster = Cluster::start(url).await;
    let masters: Vec<Data> = cluster.dbs.iter().map(|db| Data::new(db.clone(), Bus::default())).collect();
    for round in 0..ROUNDS {
        let name = format!("host:/srv/{round}");
        let started = join_all(masters.iter().enumerate().map(|(number, data)| {
            let life = Life {
                incarnation: format!("{round} {number}"),
                roles: Roles::ALL,
                version: "1".to_owned(),
                sessions: Vec::new(),
            };
            let name = &name;
            async move { data.master_starts(name, &life, None, &[], Beside::Others, false).await.unwrap() }
        }))
        .await;
        let leased = started.iter().filter(|start| matches!(start, Start::Leased(_))).count();
        assert_eq!(leased, 1, "{started:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_has_a_name_on_postgresql() {
    name_is_taken_once(&Postgres::start().db_url("buildbot")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_has_a_name_on_mariadb() {
    name_is_taken_once(&MariaDb::start().db_url("buildbot")).await;
}

/// A run that wants an exclusive lock and a unit of another.
async fn wants_locks(data: &Data, run: &RunKey) -> bool {
    let wish = |lock: &str, exclusive| LockWish { lock: lock.to_owned(), exclusive, units: 1, max_count: 2 };
    data.take_locks(run, -1, &[wish("alone", true), wish("counted", false)]).await.unwrap()
}

/// Runs on as many masters ask at the same moment. One has the lock, whoever that is; when it ends, another one.
async fn lock_is_held_by_one(url: &DbUrl) {
    const ROUNDS: usize = 10;
    let cluster = Cluster::start(url).await;
    let masters: Vec<Data> = cluster.dbs.iter().map(|db| Data::new(db.clone(), Bus::default())).collect();
    for _ in 0..ROUNDS {
        let mut runs = Vec::new();
        for (request, master) in data::requests(&cluster.dbs[0], &cluster.builders, MASTERS)
            .await
            .into_iter()
            .zip(&cluster.masters)
        {
            let (builder, worker) = (cluster.builders[0], cluster.worker);
            runs.push(
                tx(&cluster.dbs[0], |tx| async move {
                    let (build, _) = data::build(&tx, builder, request, worker, *master).await?;
                    data::run(&tx, build, *master, worker, 1).await
                })
                .await,
            );
        }
        let mut vain = 0;
        while !runs.is_empty() {
            let asked = runs.iter().zip(&masters).map(|(run, data)| wants_locks(data, run));
            let taken = join_all(asked).await;
            let holders: Vec<RunKey> =
                runs.iter().zip(&taken).filter(|(_, taken)| **taken).map(|(run, _)| *run).collect();
            assert!(holders.len() < 2, "{} runs hold the lock", holders.len());
            // Who came while others looked may have made the first one wait; when all ask again, it has the lock.
            let Some(holder) = holders.first() else {
                vain += 1;
                assert!(vain < MASTERS, "nobody has the lock");
                continue;
            };
            masters[0].drop_locks(holder, -1).await.unwrap();
            runs.retain(|run| run != holder);
            vain = 0;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_run_holds_an_exclusive_lock_on_postgresql() {
    lock_is_held_by_one(&Postgres::start().db_url("buildbot")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_run_holds_an_exclusive_lock_on_mariadb() {
    lock_is_held_by_one(&MariaDb::start().db_url("buildbot")).await;
}
