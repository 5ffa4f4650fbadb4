//! Masters that are told to go.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use muster_tests::{Process, Results, Site, Worker, until};
use rustix::process::Signal;
use serde_json::json;

use crate::ground::{Counting, Ground, Node};

/// A drain of an engine whose builds can go elsewhere.
const SOON: Duration = Duration::from_secs(10);

#[test]
fn a_master_that_goes_hands_its_builds_over() {
    let ground = Ground::new();
    let (mut one, mut two) = (ground.master("one", "web,engine"), ground.master("two", "web,engine"));
    let (first, second) = (one.start(), two.start());
    // It knows only the one that goes: the other one's address it gets from that.
    let mut worker = ground.worker(&[&one]);
    first.wait_for_worker("w1");
    let counting = Counting::begin(&ground, first, "count");
    let began = Instant::now();
    let said = one.stop(Signal::TERM);
    assert!(began.elapsed() < SOON, "{:?}\n{said}", began.elapsed());
    counting.wait_for_more(second);
    let epoch = format!("SELECT epoch FROM muster_runs WHERE buildid = {}", counting.build);
    assert_eq!(ground.sql(&epoch), "2", "it moved once");
    // And back, by the command line of any machine, to the one that has started again.
    let first = one.start();
    let told = one.command(&["cluster", "stop"], &["two"]);
    assert!(told.status.success(), "{}", told.said);
    assert!(two.process().wait().success());
    counting.wait_for_more(first);
    counting.end(first);
    worker.stop();
    one.stop(Signal::TERM);
}

#[test]
fn a_graceful_stop_finishes_what_runs() {
    let ground = Ground::new();
    let mut one = ground.master("one", "web,engine,scheduler");
    let first = one.start();
    let mut worker = ground.worker(&[&one]);
    first.wait_for_worker("w1");
    let counting = Counting::begin(&ground, first, "count");
    one.signal(Signal::USR1);
    one.process().wait_for("this master is finishing now");
    let waiting = first.force("quick", json!({}));
    counting.wait_for_more(first);
    ground.site.write("gate", "");
    assert!(one.process().wait().success());
    let results = format!("SELECT results FROM builds WHERE id = {}", counting.build);
    assert_eq!(ground.sql(&results), "0");
    let pending = format!("SELECT count(*) FROM buildrequests WHERE id = {waiting} AND complete = 0");
    assert_eq!(ground.sql(&pending), "1", "nothing else was begun");
    let first = one.start();
    first.built(waiting, Results::Success);
    worker.stop();
    one.stop(Signal::TERM);
}

/// Waits until a worker is connected to this master.
fn wait_for_worker_at(ground: &Ground, worker: &str, master: &str) {
    let query = format!(
        "SELECT string_agg(m.name, ' ') FROM connected_workers c JOIN masters m ON m.id = c.masterid \
         JOIN workers w ON w.id = c.workerid WHERE w.name = '{worker}'"
    );
    ground.wait_for(&format!("{worker} at {master}"), &query, master);
}

#[test]
fn idle_workers_leave_a_master_that_finishes() {
    let ground = Ground::new();
    let mut one = ground.master("one", "web,engine,gateway");
    let mut two = ground.master("two", "web,engine,gateway");
    let address = SocketAddr::from((Site::address(), Site::free_port()));
    let _balancer = balancer(&ground, address, &[&one, &two], |node| node.pb);
    let first = one.start();
    let mut own = ["w1", "m0", "m1"].map(|name| Worker::new(&ground.site, name, one.sessions));
    own.iter_mut().for_each(Worker::start);
    let mut stock = crate::ground::stock_worker_at(&ground, "stock2", address);
    stock.start();
    for name in ["w1", "m0", "m1", "stock2"] {
        wait_for_worker_at(&ground, name, "one");
    }
    let counting = Counting::begin(&ground, first, "count");
    let other = first.force("other", json!({}));
    first.running_build(other);
    let second = two.start();
    one.signal(Signal::USR1);
    one.process().wait_for("this master is finishing now");

    // Idle ones go at once, and what is new is built by them.
    wait_for_worker_at(&ground, "m0", "two");
    wait_for_worker_at(&ground, "stock2", "two");
    let request = second.force("stock2", json!({}));
    second.built(request, Results::Success);
    // One goes when its last build is over.
    wait_for_worker_at(&ground, "m1", "one");
    ground.site.write("gate-other", "");
    second.built(other, Results::Success);
    wait_for_worker_at(&ground, "m1", "two");
    // Its builds are finished where they are.
    counting.wait_for_more(second);
    wait_for_worker_at(&ground, "w1", "one");
    counting.end(second);
    assert!(one.process().wait().success());
    wait_for_worker_at(&ground, "w1", "two");
    own.iter_mut().for_each(Worker::stop);
}

#[test]
fn idle_stock_workers_leave_a_gateway_that_finishes() {
    let ground = Ground::new();
    let mut engine = ground.master("engine", "web,engine");
    let (mut one, mut two) = (ground.master("one", "web,gateway"), ground.master("two", "web,gateway"));
    let address = SocketAddr::from((Site::address(), Site::free_port()));
    let _balancer = balancer(&ground, address, &[&one, &two], |node| node.pb);
    let rest = engine.start();
    one.start();
    let mut workers = ["stock", "stock2"].map(|name| crate::ground::stock_worker_at(&ground, name, address));
    workers.iter_mut().for_each(|worker| worker.start());
    rest.wait_for_worker("stock");
    rest.wait_for_worker("stock2");
    let counting = Counting::begin(&ground, rest, "stock");
    one.signal(Signal::USR1);
    one.process().wait_for("this master is finishing now");
    // Without another gateway nobody is sent away.
    let request = rest.force("stock2", json!({}));
    rest.built(request, Results::Success);
    two.start();
    let holder = "SELECT m.name FROM muster_stock_connections s JOIN muster_masters i ON i.incarnation = s.holder \
                  JOIN masters m ON m.id = i.masterid JOIN workers w ON w.id = s.workerid WHERE w.name = ";
    ground.wait_for("stock2 at two", &format!("{holder}'stock2'"), "two");
    assert_eq!(ground.sql(&format!("{holder}'stock'")), "one");
    counting.wait_for_more(rest);
    counting.end(rest);
    assert!(one.process().wait().success());
}

#[test]
fn what_cannot_be_handed_over_is_built_again_after_the_deadline() {
    let ground = Ground::new();
    let mut one = ground.master("one", "web,engine,gateway").with(&["--drain-timeout", "1"]);
    let mut two = ground.master("two", "web,engine,gateway");
    let (first, second) = (one.start(), two.start());
    let mut stock = crate::ground::stock_worker(&ground, &one);
    stock.start();
    first.wait_for_worker("stock");
    let counting = Counting::begin(&ground, first, "stock");
    let began = Instant::now();
    let said = one.stop(Signal::TERM);
    assert!(said.contains("will be built again") && began.elapsed() < SOON, "{:?}\n{said}", began.elapsed());
    let build = format!("SELECT results FROM builds WHERE id = {}", counting.build);
    assert_eq!(ground.sql(&build), "5", "RETRY, never CANCELLED");
    let pending = "SELECT count(*) FROM buildrequests r WHERE complete = 0 \
                   AND NOT EXISTS (SELECT 1 FROM buildrequest_claims c WHERE c.brid = r.id)";
    assert_eq!(ground.sql(pending), "1");
    until("the other master to say so", || second.try_get("builds").ok());
}

/// The load balancer of the classic procedure: it asks each master whether it is ready.
fn balancer(ground: &Ground, address: SocketAddr, nodes: &[&Node], port: fn(&Node) -> SocketAddr) -> Process {
    let servers: String = nodes
        .iter()
        .map(|node| {
            let (name, port, probe) = (&node.name, port(node), node.web);
            let probe = format!("addr {} port {} inter 200ms fall 1 rise 1", probe.ip(), probe.port());
            format!("    server {name} {port} check {probe}\n")
        })
        .collect();
    let config = format!(
        "global\n    maxconn 200\ndefaults\n    mode tcp\n    timeout connect 2s\n    timeout client 60s\n    timeout \
         server 60s\nlisten sessions\n    bind {address}\n    option httpchk GET /readyz\n{servers}"
    );
    let path = ground.site.write("haproxy.cfg", &config);
    let mut command = Command::new("haproxy");
    Process::start(command.args(["-db", "-f"]).arg(path), &ground.site.path("haproxy.log"))
}

#[test]
fn masters_are_replaced_behind_a_load_balancer() {
    let ground = Ground::new();
    let address = SocketAddr::from((Site::address(), Site::free_port()));
    let url = format!("ws://{address}");
    let [mut old, mut new] =
        ["old", "new"].map(|name| ground.master(name, "web,engine").with(&["--session-url", &url]));
    let first = old.start();
    let _balancer = balancer(&ground, address, &[&old, &new], |node| node.sessions);
    let mut worker = Worker::new(&ground.site, "w1", address);
    worker.start();
    first.wait_for_worker("w1");
    let counting = Counting::begin(&ground, first, "count");
    let second = new.start();
    old.stop(Signal::TERM);
    counting.wait_for_more(second);
    counting.end(second);
    worker.stop();
    new.stop(Signal::TERM);
}

/// Builds of the drain that is measured, on ten workers.
const MANY: usize = 50;

#[test]
fn many_builds_are_handed_over_within_seconds() {
    let ground = Ground::new();
    let (mut one, mut two) = (ground.master("one", "web,engine"), ground.master("two", "web,engine"));
    let first = one.start();
    let mut workers: Vec<Worker> =
        (0..10).map(|number| Worker::new(&ground.site, &format!("m{number}"), one.sessions)).collect();
    workers.iter_mut().for_each(Worker::start);
    let requests: Vec<i64> =
        (0..MANY).map(|number| first.force(&format!("many{}", number % 5), json!({}))).collect();
    let begun = || std::fs::read_to_string(ground.site.path("starts")).map_or(0, |text| text.lines().count());
    until("all builds", || (begun() == MANY).then_some(()));
    let second = two.start();
    let began = Instant::now();
    one.stop(Signal::TERM);
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    eprintln!("{MANY} builds were handed over in {:?}", began.elapsed());
    let moved = "SELECT count(*) FROM muster_runs r JOIN masters m ON m.id = r.owner WHERE m.name = 'two' AND r.epoch = 2";
    assert_eq!(ground.sql(moved), MANY.to_string());
    ground.site.write("gate", "");
    for request in requests {
        second.built(request, Results::Success);
    }
    assert_eq!(begun(), MANY, "no command ran twice");
    ground.wait_until_idle();
    workers.iter_mut().for_each(Worker::stop);
}
