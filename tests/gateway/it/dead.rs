//! A gateway that dies and never returns.

use std::time::{Duration, Instant};

use muster_tests::stock::Protocol;
use muster_tests::{Results, until};
use serde_json::json;

use crate::cluster::Cluster;
use crate::duplicates::forward;

/// An engine can't tell a dead gateway from one that stands still, and waits 20 s for either. Its workers' own come-back
/// would tell it sooner.
const SOON: Duration = Duration::from_secs(35);

#[test]
fn a_gateway_that_stays_dead_gives_its_builds_back_and_its_workers_go_elsewhere() {
    let cluster = Cluster::new();
    let mut dead = cluster.member("dead", "gateway", "");
    let other = cluster.member("other", "gateway", "");
    let engine = cluster.member("engine", "web,scheduler,engine", "");
    let mut worker = cluster.worker("worker", Protocol::Pb, &dead, &[]);
    engine.rest.wait_for_worker("w1");
    let request = engine.rest.force("count", json!({}));
    let build = engine.rest.running_build(request);
    engine.rest.wait_for_line(build, "count", "line 2");
    let at = Instant::now();
    dead.kill();
    let lost = |build: &serde_json::Value| build["results"] == json!(Results::Retry as i64);
    engine.rest.wait_for("the lost build's end", &format!("builds/{build}"), lost);
    assert!(at.elapsed() < SOON, "it took {:?}", at.elapsed());
    // Nobody has the worker, and nothing is lost by that: the request waits.
    let waiting = engine.rest.one(&format!("buildrequests/{request}"));
    assert_eq!((&waiting["complete"], &waiting["claimed"]), (&json!(false), &json!(false)));
    assert_eq!(engine.rest.one("workers/w1")["connected_to"], json!([]));

    let _forwarded = forward(dead.pb, other.pb);
    until("the second start", || (cluster.read("starts").len() == 2).then_some(()));
    cluster.site.write("gate", "");
    let results: Vec<_> =
        engine.rest.builds_of(request).iter().map(|build| build["results"].clone()).collect();
    assert_eq!(results, [json!(Results::Retry as i64), json!(Results::Success as i64)]);
    assert!(worker.process().is_running());
}
