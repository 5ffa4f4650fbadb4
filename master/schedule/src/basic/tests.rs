use muster_config::snapshot::{
    ChangeAttribute, ChangeFilter, ChangeFilterCheck, ChangeTest, Priority, SchedulerKind,
};
use muster_core::policy::{Action, Permit};
use muster_core::render::Renderable;
use serde_json::json;

use super::*;
use crate::testing::{World, new_change, plain, scheduler};

const WAIT: f64 = 60.0;

fn config(details: SourceStampSchedulerConfig) -> SchedulerConfig {
    scheduler("basic.SingleBranchScheduler", SchedulerKind::SingleBranch(details))
}

/// What an owner makes of the scheduler when it starts.
async fn start(world: &World, config: &SchedulerConfig, lines: Lines) -> Basic {
    let id = world.start_scheduler(&config.name).await;
    let (SchedulerKind::SingleBranch(details) | SchedulerKind::AnyBranch(details)) = config.kind.clone()
    else {
        panic!("not a basic scheduler: {config:?}");
    };
    Basic::new(config.clone(), details, lines, id, world.data.clone(), Callables::default()).unwrap()
}

fn waiting() -> SourceStampSchedulerConfig {
    SourceStampSchedulerConfig { tree_stable_timer: Some(WAIT), ..plain() }
}

fn only_branch(branch: &str) -> ChangeFilter {
    let test = ChangeTest::Eq(vec![Some(branch.into())]);
    ChangeFilter {
        filter_fn: None,
        checks: vec![ChangeFilterCheck { attribute: ChangeAttribute::Branch, test }],
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

#[tokio::test]
async fn each_change_is_built_by_all_builders_that_exist() {
    let world = World::new().await;
    let config = SchedulerConfig { priority: Priority::Fixed(7), ..config(plain()) };
    let mut basic = start(&world, &config, Lines::One).await;
    let mut change = new_change("main", "r1");
    change.properties.insert("flavour".into(), json!("of the change"));
    world.data.add_change(&Permit::system("a test", Action::SendChange), change).await.unwrap();
    world.commit("main", "r2").await;
    assert_eq!(basic.round(true, Instant::now()).await.unwrap(), None);

    let built = world.buildsets().await;
    assert_eq!(world.revisions().await, ["r1", "r2"]);
    assert_eq!(built[0].reason, "The SingleBranchScheduler scheduler named 's' triggered this build");
    assert_eq!(built[0].builders, world.builders);
    assert_eq!(built[0].priorities, [7, 7]);
    assert_eq!(built[1].properties.get("flavour"), Some(&json!("x")));
    assert_eq!(built[1].properties.get("scheduler"), Some(&json!("s")));
    let flavour = built[0].properties.get_with_source("flavour").unwrap();
    assert_eq!((flavour.value(), flavour.source()), (&json!("of the change"), "Change"));
}

#[tokio::test]
async fn changes_from_before_the_scheduler_are_not_built() {
    let world = World::new().await;
    world.commit("main", "before").await;
    let mut basic = start(&world, &config(plain()), Lines::One).await;
    basic.round(true, Instant::now()).await.unwrap();
    assert!(world.buildsets().await.is_empty());
}

#[tokio::test]
async fn a_change_that_came_while_nobody_looked_is_built_exactly_once() {
    let world = World::new().await;
    let config = config(plain());
    drop(start(&world, &config, Lines::One).await);
    // The owner is gone between the change and its buildset; the next one finds it, and the one after it does not.
    world.commit("main", "r1").await;
    for _ in 0..3 {
        let mut basic = start(&world, &config, Lines::One).await;
        basic.round(true, Instant::now()).await.unwrap();
    }
    assert_eq!(world.revisions().await, ["r1"]);
}

#[tokio::test]
async fn filters_codebases_and_the_switch_keep_changes_out() {
    let world = World::new().await;
    let details = SourceStampSchedulerConfig { change_filter: only_branch("main"), ..plain() };
    let mut basic = start(&world, &config(details), Lines::One).await;
    world.commit("dev", "other branch").await;
    let mut elsewhere = new_change("main", "other codebase");
    elsewhere.codebase = "lib".into();
    world.data.add_change(&Permit::system("a test", Action::SendChange), elsewhere).await.unwrap();
    basic.round(true, Instant::now()).await.unwrap();
    world.commit("main", "switched off").await;
    basic.round(false, Instant::now()).await.unwrap();
    world.commit("main", "built").await;
    basic.round(true, Instant::now()).await.unwrap();
    assert_eq!(world.revisions().await, ["built"]);
}

#[tokio::test]
async fn a_stable_tree_is_built_once_with_the_newest_change() {
    let world = World::new().await;
    let mut basic = start(&world, &config(waiting()), Lines::One).await;
    let begin = Instant::now();
    world.commit("main", "r1").await;
    assert_eq!(basic.round(true, begin).await.unwrap(), Some(begin + seconds(WAIT)));
    world.commit("main", "r2").await;
    let later = begin + seconds(WAIT / 2.0);
    assert_eq!(basic.round(true, later).await.unwrap(), Some(later + seconds(WAIT)));
    basic.round(true, begin + seconds(WAIT)).await.unwrap();
    assert!(world.buildsets().await.is_empty(), "the second change restarts the timer");

    assert_eq!(basic.round(true, later + seconds(WAIT)).await.unwrap(), None);
    assert_eq!(world.revisions().await, ["r2"]);
    assert!(world.data.kept_changes(basic.id).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_new_owner_waits_anew_with_the_kept_changes() {
    let world = World::new().await;
    let config = config(waiting());
    let mut first = start(&world, &config, Lines::One).await;
    world.commit("main", "r1").await;
    let begin = Instant::now();
    first.round(true, begin).await.unwrap();
    drop(first);

    let mut second = start(&world, &config, Lines::One).await;
    let takeover = begin + seconds(WAIT);
    assert_eq!(second.round(true, takeover).await.unwrap(), Some(takeover + seconds(WAIT)));
    assert!(world.buildsets().await.is_empty());
    second.round(true, takeover + seconds(WAIT)).await.unwrap();
    second.round(true, takeover + seconds(3.0 * WAIT)).await.unwrap();
    assert_eq!(world.revisions().await, ["r1"]);
}

#[tokio::test]
async fn without_a_timer_kept_changes_of_an_earlier_configuration_are_dropped() {
    let world = World::new().await;
    let mut with_timer = start(&world, &config(waiting()), Lines::One).await;
    world.commit("main", "r1").await;
    with_timer.round(true, Instant::now()).await.unwrap();
    let mut without = start(&world, &config(plain()), Lines::One).await;
    without.round(true, Instant::now()).await.unwrap();
    assert!(world.data.kept_changes(without.id).await.unwrap().is_empty());
    assert!(world.buildsets().await.is_empty());
}

#[tokio::test]
async fn branches_wait_for_themselves_and_use_up_only_their_own_changes() {
    let world = World::new().await;
    let config = scheduler("basic.AnyBranchScheduler", SchedulerKind::AnyBranch(waiting()));
    let mut basic = start(&world, &config, Lines::Each).await;
    let begin = Instant::now();
    world.commit("a", "a1").await;
    basic.round(true, begin).await.unwrap();
    let later = begin + seconds(WAIT / 2.0);
    world.commit("b", "b1").await;
    world.commit("a", "a2").await;
    basic.round(true, later).await.unwrap();
    world.commit("b", "b2").await;
    basic.round(true, later + seconds(1.0)).await.unwrap();

    basic.round(true, later + seconds(WAIT)).await.unwrap();
    assert_eq!(world.revisions().await, ["a2"]);
    basic.round(true, later + seconds(WAIT + 1.0)).await.unwrap();
    assert_eq!(world.revisions().await, ["a2", "b2"]);
    assert_eq!(
        world.buildsets().await[0].reason,
        "The AnyBranchScheduler scheduler named 's' triggered this build"
    );
}

#[tokio::test]
async fn codebases_without_a_change_get_their_defaults_or_what_was_last_seen() {
    let world = World::new().await;
    for (absolute, expected) in [(false, ["r1 stable", "stable l1"]), (true, ["r1 stable", "r1 l1"])] {
        let details = SourceStampSchedulerConfig { create_absolute_source_stamps: absolute, ..plain() };
        let mut config = config(details);
        config.name = format!("absolute-{absolute}");
        let stable = |revision: &str| CodebaseDefaults {
            revision: Some(revision.into()),
            ..CodebaseDefaults::default()
        };
        config.codebases =
            BTreeMap::from([("app".into(), stable("stable")), ("lib".into(), stable("stable"))]);
        let before = world.buildsets().await.len();
        let mut basic = start(&world, &config, Lines::One).await;
        for (codebase, revision) in [("app", "r1"), ("lib", "l1")] {
            let change = muster_data::NewChange { codebase: codebase.into(), ..new_change("main", revision) };
            world.data.add_change(&Permit::system("a test", Action::SendChange), change).await.unwrap();
        }
        basic.round(true, Instant::now()).await.unwrap();
        assert_eq!(world.revisions().await[before..], expected);
    }
}

#[tokio::test]
async fn a_configuration_that_renders_to_nonsense_drops_the_change_and_goes_on() {
    let world = World::new().await;
    let config = SchedulerConfig { builder_names: Renderable::Literal(json!(5)), ..config(plain()) };
    let mut basic = start(&world, &config, Lines::One).await;
    world.commit("main", "r1").await;
    basic.round(true, Instant::now()).await.unwrap();
    assert!(world.buildsets().await.is_empty());
    assert!(world.data.unseen_changes(basic.id, 10).await.unwrap().is_empty());
}
