use std::collections::BTreeMap;

use muster_config::snapshot::CodebaseDefaults;
use muster_core::Properties;
use muster_data::AddedBuildset;

use super::*;
use crate::testing::{World, plain, scheduler, snapshot};

fn stamp(codebase: &str, revision: &str) -> WantedSource {
    WantedSource {
        codebase: codebase.into(),
        revision: Some(Some(revision.into())),
        ..WantedSource::default()
    }
}

async fn trigger(world: &World, snapshot: &Snapshot, wanted: Trigger) -> AddedBuildset {
    let set = compose_triggered(&world.data, snapshot, None, "s", wanted).await.unwrap();
    world.data.add_buildset(set).await.unwrap()
}

#[tokio::test]
async fn a_build_asks_for_builds_of_its_sources() {
    let world = World::new().await;
    let mut config = scheduler("triggerable.Triggerable", SchedulerKind::Triggerable { reason: None });
    let stable = CodebaseDefaults { branch: Some("stable".into()), ..CodebaseDefaults::default() };
    config.codebases = BTreeMap::from([("app".into(), CodebaseDefaults::default()), ("lib".into(), stable)]);
    let snapshot = snapshot(vec![config], Vec::new());
    let mut properties = Properties::new();
    properties.set("flavour", "asked for", "Trigger");
    properties.set("more", 1, "Trigger");
    let wanted =
        Trigger { sources: vec![stamp("app", "r1"), stamp("extra", "r2")], properties, ..Trigger::default() };
    let added = trigger(&world, &snapshot, wanted).await;
    assert_eq!(added.requests.len(), 2);

    let built = world.buildsets().await.remove(0);
    assert_eq!(built.reason, "The Triggerable scheduler named 's' triggered this build");
    let sources: Vec<_> = built
        .sources
        .iter()
        .map(|stamp| (stamp.codebase.as_str(), stamp.branch.as_deref(), stamp.revision.as_deref()))
        .collect();
    assert_eq!(
        sources,
        [("app", None, Some("r1")), ("extra", None, Some("r2")), ("lib", Some("stable"), None)]
    );
    assert_eq!(built.properties.get("flavour"), Some(&"x".into()), "the scheduler's own value wins");
    assert_eq!(built.properties.get_with_source("more").map(|more| more.source()), Some("Trigger"));
}

#[tokio::test]
async fn the_asking_build_may_give_the_reason() {
    let world = World::new().await;
    let config =
        scheduler("triggerable.Triggerable", SchedulerKind::Triggerable { reason: Some("usual".into()) });
    let snapshot = snapshot(vec![config], Vec::new());
    let mut properties = Properties::new();
    properties.set("reason", "mine", "Trigger");
    for trigger_properties in [properties, Properties::new()] {
        let wanted = Trigger { properties: trigger_properties, ..Trigger::default() };
        trigger(&world, &snapshot, wanted).await;
    }
    let reasons: Vec<_> = world.buildsets().await.into_iter().map(|set| set.reason).collect();
    assert_eq!(reasons, ["mine", "usual"]);
}

#[tokio::test]
async fn what_a_build_leaves_out_is_the_schedulers() {
    let world = World::new().await;
    let mut config = scheduler("triggerable.Triggerable", SchedulerKind::Triggerable { reason: None });
    let defaults = CodebaseDefaults {
        branch: Some("stable".into()),
        repository: "https://example.org/r".into(),
        ..CodebaseDefaults::default()
    };
    config.codebases = BTreeMap::from([("app".into(), defaults)]);
    let snapshot = snapshot(vec![config], Vec::new());
    for (branch, expected) in [(None, Some("stable")), (Some(None), None)] {
        let source = WantedSource { branch, ..stamp("app", "r1") };
        let wanted = Trigger { sources: vec![source], ..Trigger::default() };
        trigger(&world, &snapshot, wanted).await;
        let built = world.buildsets().await.pop().unwrap();
        let stamp = &built.sources[0];
        assert_eq!(stamp.branch.as_deref(), expected);
        assert_eq!(
            (stamp.revision.as_deref(), stamp.repository.as_str()),
            (Some("r1"), "https://example.org/r")
        );
    }
}

#[tokio::test]
async fn what_can_not_be_triggered_is_named() {
    let nobody = check_trigger(&snapshot(Vec::new(), Vec::new()), "x").unwrap_err();
    assert_eq!(nobody.to_string(), "unknown triggered scheduler: 'x'");
    let other = scheduler("basic.AnyBranchScheduler", SchedulerKind::AnyBranch(plain()));
    let other = check_trigger(&snapshot(vec![other], Vec::new()), "s").unwrap_err();
    assert!(other.to_string().contains("no Triggerable"), "{other}");
}
