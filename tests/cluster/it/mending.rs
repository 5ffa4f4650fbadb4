//! The cluster seen and mended by hand.

use muster_tests::{Results, until};
use rustix::process::Signal;
use serde_json::json;

use crate::ground::{Counting, Ground};

#[test]
fn status_shows_masters_builds_and_why_requests_wait() {
    let ground = Ground::new();
    let (mut one, mut two) = (ground.master("one", "web,engine"), ground.master("two", "scheduler"));
    let rest = one.start();
    two.start();
    let mut worker = ground.worker(&[&one]);
    rest.wait_for_worker("w1");
    let counting = Counting::begin(&ground, rest, "count");
    rest.force("stock", json!({}));
    two.kill();
    let status = one.command(&["cluster", "status"], &[]);
    assert!(status.status.success(), "{}", status.said);
    let line = |words: &[&str]| {
        let found = status.said.lines().any(|line| words.iter().all(|word| line.contains(word)));
        assert!(found, "no line with {words:?} in\n{}", status.said);
    };
    line(&["one", "web,engine", "running", "renewed"]);
    line(&["two", "scheduler", "running", "STANDS STILL"]);
    line(&["count #1", "w1", "one", " 1 "]);
    line(&["stock", "not connected"]);

    // Taken from its owner, it goes on; retried, it is built again.
    let build = counting.build.to_string();
    let released = one.command(&["run", "release"], &[&build]);
    assert!(released.status.success(), "{}", released.said);
    let epoch = format!("SELECT epoch FROM muster_runs WHERE buildid = {build}");
    until("the adoption", || (ground.sql(&epoch) == "3").then_some(()));
    counting.wait_for_more(rest);
    let retried = one.command(&["run", "retry"], &[&build]);
    assert!(retried.status.success(), "{}", retried.said);
    ground.site.write("gate", "");
    let builds = rest.builds_of(counting.request);
    let results: Vec<_> = builds.iter().map(|build| build["results"].clone()).collect();
    assert_eq!(results, [json!(Results::Retry as i64), json!(Results::Success as i64)], "{builds:?}");
    let unknown = one.command(&["run", "retry"], &["999"]);
    assert!(!unknown.status.success() && unknown.said.contains("muster cluster status"), "{}", unknown.said);
    worker.stop();
    one.stop(Signal::TERM);
}

#[test]
fn a_restored_cluster_is_of_a_new_generation() {
    let ground = Ground::new();
    let (mut one, mut old) = (ground.master("one", "web,engine"), ground.master("old", "web,engine"));
    let rest = one.start();
    let mut worker = ground.worker(&[&one, &old]);
    rest.wait_for_worker("w1");
    let counting = Counting::begin(&ground, rest, "count");
    // A backup is made while a build runs.
    ground.sql("CREATE DATABASE backup TEMPLATE template0");
    ground.copy("buildbot", "backup");
    let live = one.command(&["cluster", "restore"], &[]);
    assert!(!live.status.success() && live.said.contains("these masters run: one"), "{}", live.said);
    ground.site.write("gate", "");
    rest.built(counting.request, Results::Success);
    one.stop(Signal::TERM);
    // Back to it: the build runs there, though its worker has long finished it.
    ground.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public");
    ground.copy("backup", "buildbot");
    let restored = one.command(&["cluster", "restore"], &[]);
    assert!(restored.said.contains("1 builds of the backup are pending again"), "{}", restored.said);
    let rest = one.start();
    let builds = rest.builds_of(counting.request);
    let results: Vec<_> = builds.iter().map(|build| build["results"].clone()).collect();
    assert_eq!(results, [json!(Results::Retry as i64), json!(Results::Success as i64)], "{builds:?}");
    // A master of the time before finds workers that have seen the new generation.
    one.stop(Signal::TERM);
    ground.sql("UPDATE muster_cluster SET generation = 1");
    old.start();
    worker.process().wait_for("is of generation 1");
    worker.stop();
}

#[test]
fn everything_can_be_given_back_to_buildbot() {
    let ground = Ground::new();
    let mut one = ground.master("one", "web,engine");
    let rest = one.start();
    let mut worker = ground.worker(&[&one]);
    rest.wait_for_worker("w1");
    let counting = Counting::begin(&ground, rest, "count");
    one.stop(Signal::TERM);
    let released = one.command(&["release"], &[]);
    assert!(released.said.contains("1 builds were given back"), "{}", released.said);
    let build = format!("SELECT results FROM builds WHERE id = {}", counting.build);
    assert_eq!(ground.sql(&build), "5");
    assert_eq!(ground.sql("SELECT count(*) FROM buildrequest_claims"), "0");
    assert_eq!(ground.sql("SELECT count(*) FROM masters WHERE active = 1"), "0");
    worker.stop();
}
