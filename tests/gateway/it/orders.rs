//! Orders for a worker that another master has: they are rows, and its engine carries them out.

use muster_tests::Results;
use muster_tests::stock::Protocol;
use serde_json::json;

use crate::cluster::Cluster;

const ALL: &str = "web,scheduler,engine,gateway";

#[test]
fn a_worker_of_another_master_is_killed_and_its_build_tried_again() {
    let cluster = Cluster::new();
    let one = cluster.member("one", ALL, "");
    let mut worker = cluster.worker("worker", Protocol::Pb, &one, &[]);
    one.rest.wait_for_worker("w1");
    // There is no router between the two: nothing but the row tells.
    let two = cluster.member("two", ALL, "");
    let request = two.rest.force("count", json!({}));
    let build = two.rest.running_build(request);
    two.rest.wait_for_line(build, "count", "line 2");
    two.order("stop-worker", &["w1", "--kill"]);
    assert!(worker.process().wait().success());
    let lost = |build: &serde_json::Value| build["results"] == json!(Results::Retry as i64);
    two.rest.wait_for("the lost build's end", &format!("builds/{build}"), lost);
    cluster.site.write("gate", "");
    worker.start();
    let results: Vec<_> = two.rest.builds_of(request).iter().map(|build| build["results"].clone()).collect();
    assert_eq!(results, [json!(Results::Retry as i64), json!(Results::Success as i64)]);
    assert_eq!(cluster.postgres.sql("buildbot", "SELECT count(*) FROM muster_control"), "0");
    assert!(worker.process().is_running(), "the order was for the life before");
}

#[test]
fn a_worker_of_another_master_ends_when_its_build_is_over() {
    let cluster = Cluster::new();
    let one = cluster.member("one", ALL, "");
    let mut worker = cluster.worker("worker", Protocol::Msgpack, &one, &[]);
    one.rest.wait_for_worker("w1");
    let two = cluster.member("two", ALL, "");
    let request = two.rest.force("count", json!({}));
    let build = two.rest.running_build(request);
    two.order("stop-worker", &["w1"]);
    let waiting = two.rest.force("quick", json!({}));
    two.rest.wait_for_line(build, "count", "line 2");
    assert_eq!(two.rest.one("workers/w1")["graceful"], json!(true));
    cluster.ends_whole(two.rest, request, build);
    assert!(worker.process().wait().success());
    assert_eq!(two.rest.one(&format!("buildrequests/{waiting}"))["claimed"], json!(false));
    worker.start();
    two.rest.built(waiting, Results::Success);
    assert_eq!(two.rest.one("workers/w1")["graceful"], json!(false));
}
