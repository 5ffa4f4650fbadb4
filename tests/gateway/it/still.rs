//! Gateways that stand still and come back: a machine that is moved, a process that is stopped, a host without breath.

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster_tests::stock::Protocol;
use muster_tests::{Results, until};
use rustix::process::Signal;
use serde_json::json;

use crate::cluster::{Cluster, Member};

/// Six workers, and builds of a few seconds.
const FLEET: &str = r#"
names = [f"w{n}" for n in range(1, 7)]
c["workers"] = [worker.Worker(name, "secret", max_builds=1) for name in names]
c["collapseRequests"] = False
seconds = sh("i=0; while [ $i -lt 60 ]; do i=$((i+1)); echo line $i; sleep 0.1; done", name="seconds")
c["builders"].append(util.BuilderConfig(name="many", workernames=names, factory=util.BuildFactory([seconds])))
c["schedulers"].append(schedulers.ForceScheduler(name="force-many", builderNames=["many"]))
"#;
/// Requests: three rounds for six workers.
const REQUESTS: usize = 18;
/// Longer than a lease that stands still is waited for, shorter than a stock worker's grace.
const PAUSE: Duration = Duration::from_secs(12);

#[test]
fn a_gateway_that_stood_still_costs_time_and_no_build() {
    let cluster = Cluster::new();
    let mut gateway = cluster.member("gateway", "gateway", FLEET);
    let front = cluster.member("front", "web,scheduler", FLEET);
    let _engines = [cluster.member("one", "engine", FLEET), cluster.member("two", "engine", FLEET)];
    let names: Vec<String> = (1..=6).map(|number| format!("w{number}")).collect();
    let _workers: Vec<_> =
        names.iter().map(|name| cluster.worker_named(name, name, Protocol::Pb, gateway.pb, &[])).collect();
    names.iter().for_each(|name| front.rest.wait_for_worker(name));
    let requests: Vec<i64> = (0..REQUESTS).map(|_| front.rest.force("many", json!({}))).collect();
    until("all workers build", || (running(&cluster) == 6).then_some(()));
    stands_still(&mut gateway, PAUSE);
    for request in requests {
        front.rest.built(request, Results::Success);
    }
    assert_eq!(builds(&cluster), REQUESTS, "no build was given up, and none began twice");
}

#[test]
fn a_gateway_that_stood_still_for_too_long_costs_each_build_once() {
    let cluster = Cluster::new();
    let mut gateway = cluster.member("gateway", "gateway", "");
    let engine = cluster.member("engine", "web,scheduler,engine", "");
    let _worker = cluster.worker("worker", Protocol::Pb, &gateway, &[]);
    engine.rest.wait_for_worker("w1");
    let request = engine.rest.force("count", json!({}));
    let build = engine.rest.running_build(request);
    engine.rest.wait_for_line(build, "count", "line 2");
    gateway.process().signal(Signal::STOP);
    let lost = |build: &serde_json::Value| build["results"] == json!(Results::Retry as i64);
    engine.rest.wait_for("the lost build's end", &format!("builds/{build}"), lost);
    gateway.process().signal(Signal::CONT);
    // The same life of the worker: what was said about it does not hold any more.
    until("the second start", || (cluster.read("starts").len() == 2).then_some(()));
    cluster.site.write("gate", "");
    let results: Vec<_> =
        engine.rest.builds_of(request).iter().map(|build| build["results"].clone()).collect();
    assert_eq!(results, [json!(Results::Retry as i64), json!(Results::Success as i64)]);
}

#[test]
fn a_gateway_that_comes_back_beside_another_one_leaves_it_its_worker() {
    let cluster = Cluster::new();
    let mut still = cluster.member("still", "gateway", "");
    let other = cluster.member("other", "gateway", "");
    let engine = cluster.member("engine", "web,scheduler,engine", "");
    let door = Door::to(still.pb);
    let mut worker = cluster.worker_named("worker", "w1", Protocol::Pb, door.address, &["--maxdelay=2"]);
    engine.rest.wait_for_worker("w1");
    let request = engine.rest.force("count", json!({}));
    let build = engine.rest.running_build(request);
    engine.rest.wait_for_line(build, "count", "line 2");
    still.process().signal(Signal::STOP);
    // The worker's connection breaks, and its next one is led to the other gateway: the command is gone then.
    door.turn(other.pb);
    until("the second start", || (cluster.read("starts").len() == 2).then_some(()));
    still.process().signal(Signal::CONT);
    still.process().wait_for("the connection of a stock worker");
    cluster.goes_on();
    cluster.site.write("gate", "");
    let results: Vec<_> =
        engine.rest.builds_of(request).iter().map(|build| build["results"].clone()).collect();
    assert_eq!(results, [json!(Results::Retry as i64), json!(Results::Success as i64)]);
    assert!(worker.process().is_running());
}

fn stands_still(member: &mut Member, time: Duration) {
    member.process().signal(Signal::STOP);
    std::thread::sleep(time);
    member.process().signal(Signal::CONT);
}

fn running(cluster: &Cluster) -> usize {
    cluster.postgres.sql("buildbot", "SELECT count(*) FROM muster_runs").parse().unwrap()
}

fn builds(cluster: &Cluster) -> usize {
    cluster.postgres.sql("buildbot", "SELECT count(*) FROM builds").parse().unwrap()
}

/// Leads connections on, as a load balancer does.
struct Door {
    address: SocketAddr,
    state: Arc<Mutex<Led>>,
}

/// Where new connections are led, and those that are open.
struct Led {
    to: SocketAddr,
    open: Vec<TcpStream>,
}

impl Door {
    fn to(to: SocketAddr) -> Door {
        let listener = TcpListener::bind((to.ip(), 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(Led { to, open: Vec::new() }));
        let shared = state.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let mut led = shared.lock().unwrap();
                let Ok(server) = TcpStream::connect(led.to) else { continue };
                led.open.extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
                for (mut reader, mut writer) in
                    [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)]
                {
                    std::thread::spawn(move || {
                        // Either end may break the connection.
                        let _ = std::io::copy(&mut reader, &mut writer);
                        let _ = writer.shutdown(Shutdown::Both);
                    });
                }
            }
        });
        Door { address, state }
    }

    /// Ends all connections, and leads new ones elsewhere.
    fn turn(&self, to: SocketAddr) {
        let mut led = self.state.lock().unwrap();
        led.to = to;
        for connection in led.open.drain(..) {
            // It may have ended by itself.
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}
