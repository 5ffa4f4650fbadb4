use std::collections::BTreeMap;

use muster_config::snapshot::CodebaseDefaults;

use super::*;
use crate::testing::{World, scheduler, snapshot};

fn stamp(codebase: &str, revision: &str) -> NewSourceStamp {
    NewSourceStamp { codebase: codebase.into(), revision: Some(revision.into()), ..NewSourceStamp::default() }
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
    let added = trigger(&world.data, &snapshot, None, "s", wanted).await.unwrap();
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
        trigger(&world.data, &snapshot, None, "s", wanted).await.unwrap();
    }
    let reasons: Vec<_> = world.buildsets().await.into_iter().map(|set| set.reason).collect();
    assert_eq!(reasons, ["mine", "usual"]);
}

#[tokio::test]
async fn an_unknown_scheduler_is_named() {
    let world = World::new().await;
    let error = trigger(&world.data, &snapshot(Vec::new(), Vec::new()), None, "x", Trigger::default()).await;
    assert_eq!(error.unwrap_err().to_string(), "there is no Triggerable scheduler 'x'");
}
