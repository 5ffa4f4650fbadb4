//! `Trigger`.

use std::{sync::Arc, time::Duration};

use muster_core::Results;
use muster_data::NewSourceStamp;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::steps::testing::{Life, Reply, Script, World, exception, step};

async fn world() -> World {
    let idle: Script = Arc::new(|_, _| Reply::Ends(Vec::new()));
    let source = NewSourceStamp {
        branch: Some("main".into()),
        revision: Some("r0".into()),
        ..NewSourceStamp::default()
    };
    World::with_source(idle, source).await
}

/// Waits until so many requests were made.
async fn requests(world: &World, count: usize) -> Vec<muster_core::BuildRequest> {
    loop {
        let requests = world.triggered().await;
        if requests.len() == count {
            return requests;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn sources(world: &World) -> Vec<(Option<String>, Option<String>)> {
    let sets = world.data().db().read("sets", |tx| async move {
        muster_store::query::buildsets::list(&tx, &muster_store::query::Select::all()).await
    });
    let mut sets = sets.await.unwrap();
    sets.retain(|set| set.parent_build.is_some());
    let stamps = sets.into_iter().flat_map(|set| set.sourcestamps);
    stamps.map(|stamp| (stamp.branch, stamp.revision)).collect()
}

#[tokio::test]
async fn who_does_not_wait_has_triggered_and_is_done() {
    let world = world().await;
    let ended = world.run(&step("Trigger", json!({"schedulerNames": ["one", "two"]}))).await;
    assert_eq!(ended.results, Results::Success);
    let made = world.triggered().await;
    assert!(made.iter().all(|request| !request.waited_for && !request.complete));
    let names: Vec<&str> = ended.urls.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [format!("one #{}", made[0].id), format!("two #{}", made[1].id)];
    assert_eq!(names, expected);
}

#[tokio::test]
async fn the_worst_of_what_counts_is_the_result() {
    for (unimportant, expected) in [(json!([]), Results::Cancelled), (json!(["two"]), Results::Success)] {
        let world = world().await;
        let args = json!({
            "schedulerNames": ["one", "two"], "waitForFinish": true, "unimportantSchedulerNames": unimportant,
        });
        let step = step("Trigger", args);
        let leaving = CancellationToken::new();
        let outside = async {
            let made = requests(&world, 2).await;
            assert!(made.iter().all(|request| request.waited_for));
            world.complete(made[0].id, Results::Success).await;
            world.complete(made[1].id, Results::Cancelled).await;
        };
        let (life, ()) = tokio::join!(world.live(&step, None, &leaving), outside);
        assert_eq!(life.ended().results, expected);
    }
}

#[tokio::test]
async fn a_wait_survives_its_master() {
    let mut world = world().await;
    let step = step("Trigger", json!({"schedulerNames": ["one"], "waitForFinish": true}));
    let leaving = CancellationToken::new();
    let outside = async {
        requests(&world, 1).await;
        leaving.cancel();
    };
    let (first, ()) = tokio::join!(world.live(&step, None, &leaving), outside);
    assert!(matches!(first, Life::Over), "{first:?}");
    world.adopt().await;
    let made = requests(&world, 1).await;
    world.complete(made[0].id, Results::Failure).await;
    let ended = world.run(&step).await;
    assert_eq!(ended.results, Results::Failure);
    assert_eq!(world.triggered().await.len(), 1, "nothing is asked for twice");
}

#[tokio::test]
async fn a_stopped_build_cancels_what_it_has_asked_for_also_before_a_take_over() {
    let mut world = world().await;
    let step = step("Trigger", json!({"schedulerNames": ["one", "two"], "waitForFinish": true}));
    let leaving = CancellationToken::new();
    let outside = async {
        requests(&world, 2).await;
        leaving.cancel();
    };
    let (first, ()) = tokio::join!(world.live(&step, None, &leaving), outside);
    assert!(matches!(first, Life::Over), "{first:?}");
    world.adopt().await;
    world.stop("enough");
    let ended = world.run(&step).await;
    assert_eq!(ended.results, Results::Cancelled);
    assert_eq!(ended.summary.as_deref(), Some("interrupted"));
    let made = world.triggered().await;
    assert_eq!(made.len(), 2);
    assert!(made.iter().all(|request| request.results == Some(Results::Cancelled)), "{made:?}");
}

#[tokio::test]
async fn nothing_is_asked_for_when_a_name_is_wrong() {
    for (args, reason) in [
        (json!({"schedulerNames": ["one", "absent"]}), "unknown triggered scheduler: 'absent'"),
        (
            json!({"schedulerNames": ["one"], "sourceStamps": [{"codebase": "x"}, {"codebase": "x"}]}),
            "the codebase 'x' more than once",
        ),
        (json!({"schedulerNames": ["one"], "sourceStamps": [{"what": "x"}]}), "sourceStamps"),
        (json!({"schedulerNames": ["one", null]}), "schedulerNames"),
        (
            json!({"schedulerNames": ["one"], "set_properties": {"virtual_builder_name": "x"}}),
            "virtual_builder_name",
        ),
    ] {
        let world = world().await;
        let ended = world.run(&step("Trigger", args)).await;
        assert!(exception(&ended).contains(reason), "{ended:?}");
        assert!(world.triggered().await.is_empty());
    }
}

#[tokio::test]
async fn the_sources_are_the_builds_or_the_given_or_the_latest() {
    let given = json!([{"codebase": "", "branch": "other"}]);
    type Stamp = (Option<&'static str>, Option<&'static str>);
    let cases: [(Value, &[Stamp]); 4] = [
        (json!({}), &[(Some("main"), Some("got"))]),
        (json!({"updateSourceStamp": false}), &[(Some("main"), Some("r0"))]),
        (json!({"alwaysUseLatest": true, "updateSourceStamp": false}), &[]),
        (json!({"sourceStamps": given, "updateSourceStamp": false}), &[(Some("other"), None)]),
    ];
    for (mut args, expected) in cases {
        let mut world = world().await;
        world.set_property("got_revision", json!("got"));
        args["schedulerNames"] = json!(["one"]);
        world.run(&step("Trigger", args)).await;
        let expected: Vec<_> = expected
            .iter()
            .map(|(branch, revision)| (branch.map(str::to_owned), revision.map(str::to_owned)))
            .collect();
        assert_eq!(sources(&world).await, expected);
    }
}
