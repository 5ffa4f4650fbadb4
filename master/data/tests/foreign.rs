//! Orders across masters of Buildbot and ours, on a database in which a Buildbot master runs build 22.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod recorded;

use muster_bus::{Event, Origin, Received, Subscription};
use muster_core::policy::{Action, Permit};
use muster_core::{BuildId, MasterId, Results, WorkerId};
use muster_data::{Data, ForeignOrder};
use muster_store::query::{self, Select};
use muster_store::{Error, builds, control, masters, runs};
use recorded::adopted;
use serde_json::json;

const BUILD: BuildId = BuildId(22);

fn told(path: &str) -> ForeignOrder {
    let event = Event::new([path.to_owned()], json!({"reason": "why"}));
    ForeignOrder::of(&Event { origin: Origin::Elsewhere, ..event }).unwrap()
}

async fn open(data: &Data, target: &'static str) -> Vec<i64> {
    let orders = data.db().read("orders", |tx| async move { control::open(&tx, target).await }).await;
    orders.unwrap().into_iter().map(|order| order.targetid).collect()
}

/// The names of the events that are there.
async fn events(subscription: &mut Subscription) -> Vec<String> {
    let mut names = Vec::new();
    while let Ok(Some(Received::Event(event))) =
        tokio::time::timeout(std::time::Duration::ZERO, subscription.next()).await
    {
        names.extend(event.topics.iter().map(ToString::to_string));
    }
    names
}

/// The recorded master of Buildbot shows life.
async fn buildbot_lives(data: &Data) {
    let seen = data.db().tx("life", |tx| async move {
        masters::set_active(&tx, MasterId(1), true, muster_data::now()).await
    });
    seen.await.unwrap().into_inner();
}

#[tokio::test]
async fn what_comes_over_the_router_is_no_order_without_a_live_master_of_buildbot() {
    let (data, _directory) = adopted().await;
    let mut heard = data.bus().subscribe();
    let orders = ["control/worker/1/pause", "control/worker/1/kill", "control/buildrequests/22/cancel"];
    for order in orders {
        assert!(!data.keep_foreign(&told(order)).await.unwrap(), "{order}");
    }
    assert_eq!(events(&mut heard).await, [] as [String; 0]);
    assert_eq!(open(&data, "worker").await, [] as [i64; 0]);
    buildbot_lives(&data).await;
    // The recorded worker may be paused already.
    for order in [orders[0], "control/worker/1/unpause"] {
        assert!(data.keep_foreign(&told(order)).await.unwrap());
    }
    let heard = events(&mut heard).await;
    assert_eq!(heard[heard.len() - 2..], ["control/worker/1/unpause", "workers/1/state_updated"]);
}

#[tokio::test]
async fn an_order_of_buildbot_becomes_one_row_when_it_is_about_us() {
    let (data, _directory) = adopted().await;
    buildbot_lives(&data).await;
    let stop = told(&format!("control/builds/{BUILD}/stop"));
    data.keep_foreign(&stop).await.unwrap();
    assert_eq!(open(&data, "build").await, [] as [i64; 0], "its own master has heard of it");

    let ours = data.db().tx("run", |tx| async move {
        let run = runs::NewRun { build: BUILD, worker: WorkerId(1), snapshot: 1, plan: "{}" };
        runs::insert(&tx, MasterId(7), &[run], muster_data::now()).await
    });
    ours.await.unwrap().into_inner();
    let mut heard = data.bus().subscribe();
    // Every master writes it down; only the first one does.
    for _ in 0..3 {
        data.keep_foreign(&stop).await.unwrap();
    }
    assert_eq!(open(&data, "build").await, [BUILD.0]);
    assert_eq!(events(&mut heard).await, [format!("control/builds/{BUILD}/stop")]);
    for nobodys in
        ["control/builds/4711/stop", "control/buildrequests/4711/cancel", "control/worker/4711/kill"]
    {
        data.keep_foreign(&told(nobodys)).await.unwrap();
    }
    assert_eq!(events(&mut heard).await, [] as [String; 0]);
}

#[tokio::test]
async fn an_order_for_buildbot_is_told_until_it_shows_effect() {
    let (data, _directory) = adopted().await;
    let mut heard = data.bus().subscribe();
    data.stop_build(&Permit::system("a test", Action::StopBuild), BUILD, "not needed").await.unwrap();
    let name = format!("control/builds/{BUILD}/stop");
    assert_eq!(events(&mut heard).await, std::slice::from_ref(&name));
    for _ in 0..2 {
        data.tell_foreign().await.unwrap();
        assert_eq!(events(&mut heard).await, std::slice::from_ref(&name));
    }
    let ended = data.db().tx("ended", |tx| async move {
        let mut build = builds::by_id(&tx, BUILD).await?.expect("the recorded database has it");
        build.state_string = "stopped".to_owned();
        (build.results, build.complete_at) = (Some(Results::Cancelled), Some(muster_data::now()));
        builds::update(&tx, &build).await
    });
    ended.await.unwrap().into_inner();
    data.tell_foreign().await.unwrap();
    assert_eq!(events(&mut heard).await, [] as [String; 0]);
    assert_eq!(open(&data, "build").await, [] as [i64; 0]);
}

#[tokio::test]
async fn a_worker_that_is_connected_elsewhere_is_not_told_to_go_by_us_later() {
    let (data, _directory) = adopted().await;
    let workers = async || {
        let all =
            data.db().read("workers", |tx| async move { query::workers::list(&tx, &Select::all()).await });
        let all: Result<_, Error> = all.await;
        all.unwrap().into_iter().find(|worker| !worker.connected_to.is_empty()).unwrap()
    };
    let worker = workers().await.id;
    let mut heard = data.bus().subscribe();
    data.control_worker(
        &Permit::system("a test", Action::StopWorker),
        worker,
        muster_data::WorkerOrder::Stop,
        "repairs",
    )
    .await
    .unwrap();
    assert_eq!(open(&data, "worker").await, [] as [i64; 0], "Buildbot's master does it");
    assert_eq!(events(&mut heard).await[0], format!("control/worker/{worker}/stop"));
    assert!(workers().await.graceful);
}
