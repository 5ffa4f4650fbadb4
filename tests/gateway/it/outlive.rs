//! A build on a stock worker outlives engines, its own gateway's peers and the database; it ends with its gateway.

use std::time::{Duration, Instant};

use muster_tests::stock::Protocol;
use muster_tests::{Results, until};
use rustix::process::Signal;
use serde_json::json;

use crate::cluster::{Cluster, Member};

/// Kills the engine that has the worker, and answers whether it was the first one.
fn kill_holder(cluster: &Cluster, engines: &mut [Member; 2]) -> usize {
    let holder = cluster.holder();
    let at = engines.iter().position(|engine| engine.is(&holder));
    let at = at.unwrap_or_else(|| panic!("{holder:?} is none of the engines"));
    engines[at].kill();
    at
}

fn a_build_outlives_its_engines(protocol: Protocol) {
    let cluster = Cluster::new();
    let mut gateway = cluster.member("gateway", "gateway", "");
    let front = cluster.member("front", "web,scheduler", "");
    let mut engines = [cluster.member("one", "engine", ""), cluster.member("two", "engine", "")];
    let mut worker = cluster.worker("worker", protocol, &gateway, &[]);
    front.rest.wait_for_worker("w1");
    let request = front.rest.force("count", json!({}));
    let build = front.rest.running_build(request);
    front.rest.wait_for_line(build, "count", "line 2");

    let killed = kill_holder(&cluster, &mut engines);
    let at = Instant::now();
    until("the other engine has the worker", || engines[1 - killed].is(&cluster.holder()).then_some(()));
    eprintln!("the other engine had the worker after {:?}", at.elapsed());
    let lines = cluster.read("lines").len();
    front.rest.wait_for_line(build, "count", &format!("line {}", lines + 3));

    // The first one comes back, and gets the build from the second one.
    engines[killed].start();
    assert_eq!(kill_holder(&cluster, &mut engines), 1 - killed);
    cluster.goes_on();
    until("the first engine has the worker", || engines[killed].is(&cluster.holder()).then_some(()));

    // No engine at all for a while: the worker is held, and what it says is kept.
    engines[killed].kill();
    cluster.goes_on();
    engines[killed].start();
    cluster.ends_whole(front.rest, request, build);
    assert!(worker.process().is_running() && gateway.process().is_running());
    let connections = worker.said().matches("Connected to").count();
    assert!(connections <= 1, "the worker had {connections} connections:\n{}", worker.said());
}

#[test]
fn a_pb_build_outlives_its_engines() {
    a_build_outlives_its_engines(Protocol::Pb);
}

#[test]
fn a_msgpack_build_outlives_its_engines() {
    a_build_outlives_its_engines(Protocol::Msgpack);
}

#[test]
fn a_build_ends_with_its_gateway_and_is_tried_again_at_once() {
    let cluster = Cluster::new();
    let mut gateway = cluster.member("gateway", "gateway", "");
    let engine = cluster.member("engine", "web,scheduler,engine", "");
    let _worker = cluster.worker("worker", Protocol::Pb, &gateway, &[]);
    engine.rest.wait_for_worker("w1");
    let request = engine.rest.force("count", json!({}));
    let build = engine.rest.running_build(request);
    engine.rest.wait_for_line(build, "count", "line 2");
    gateway.kill();
    let at = Instant::now();
    gateway.start();
    let retried = |build: &serde_json::Value| build["results"] == json!(Results::Retry as i64);
    engine.rest.wait_for("the lost build's end", &format!("builds/{build}"), retried);
    // The gateway's new life tells that the old one has ended; the worker's grace would be 20 s.
    assert!(at.elapsed() < Duration::from_secs(10), "it took {:?}", at.elapsed());
    until("the second start", || (cluster.read("starts").len() == 2).then_some(()));
    cluster.site.write("gate", "");
    let results: Vec<_> =
        engine.rest.builds_of(request).iter().map(|build| build["results"].clone()).collect();
    assert_eq!(results, [json!(Results::Retry as i64), json!(Results::Success as i64)]);
}

#[test]
fn a_gateway_that_goes_lets_its_builds_finish_and_sends_idle_workers_away() {
    let cluster = Cluster::new();
    let mut gateway = cluster.member("gateway", "gateway", "");
    let engine = cluster.member("engine", "web,scheduler,engine", "");
    let _building = cluster.worker("building", Protocol::Pb, &gateway, &[]);
    engine.rest.wait_for_worker("w1");
    let request = engine.rest.force("count", json!({}));
    let build = engine.rest.running_build(request);
    engine.rest.wait_for_line(build, "count", "line 2");
    gateway.process().signal(Signal::TERM);
    gateway.process().wait_for("this master is handing-off now");
    cluster.site.write("gate", "");
    until("the gateway has gone", || (!gateway.process().is_running()).then_some(()));
    let built = engine.rest.builds_of(request);
    let results: Vec<_> = built.iter().map(|build| build["results"].clone()).collect();
    assert_eq!(results, [json!(Results::Success as i64)], "{}", gateway.process().said());
}

#[test]
fn a_build_rides_out_a_restart_of_the_database() {
    let mut cluster = Cluster::new();
    let master = cluster.member("master", "web,scheduler,engine,gateway", "");
    let mut worker = cluster.worker("worker", Protocol::Pb, &master, &[]);
    master.rest.wait_for_worker("w1");
    let request = master.rest.force("count", json!({}));
    let build = master.rest.running_build(request);
    master.rest.wait_for_line(build, "count", "line 2");
    cluster.postgres.kill();
    let lines = cluster.read("lines").len();
    until("the command goes on without a database", || {
        (cluster.read("lines").len() > lines + 60).then_some(())
    });
    cluster.postgres.launch();
    let lines = cluster.read("lines").len();
    master.rest.wait_for_line(build, "count", &format!("line {lines}"));
    cluster.ends_whole(master.rest, request, build);
    assert!(worker.process().is_running());
}
