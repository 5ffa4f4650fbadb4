//! The router, and Crossbar beside it: the same client, the same minute, each in a process of its own.
//!
//! One session publishes, with so many events under way that neither side runs dry but nothing is dropped; others
//! subscribe. Counted are events that arrived and the CPU time of the router's processes.

use std::collections::VecDeque;
use std::path::Path;
use std::time::{Duration, Instant};

use muster_router_compat::client::Incoming;
use muster_router_compat::message::Dict;
use muster_router_compat::net::{ConnectOptions, Connection, address::RouterUrl};
use muster_router_compat::{Match, Payload, Serialisation};
use muster_tests::{Process, Site, binary, crossbar};
use serde_json::{Value, json};

use crate::usage;

const REALM: &str = "realm1";
/// Deliveries that are under way at most: well below what either router queues.
const WINDOW: usize = 2000;
const TOPIC: &str = "org.buildbot.mq.builds.12.steps.3.updated";

/// How long each case runs, after a fifth of that to warm up.
const DURATION: Duration = Duration::from_secs(5);

/// Who is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Muster,
    Crossbar,
}

/// What is measured.
struct Case {
    name: &'static str,
    subscribers: usize,
    /// Wildcard subscriptions that are there besides and match nothing.
    others: usize,
    /// Events per second; `None` publishes as fast as it goes.
    rate: Option<u64>,
}

const CASES: [Case; 4] = [
    Case { name: "1 subscriber", subscribers: 1, others: 0, rate: None },
    Case { name: "100 subscribers", subscribers: 100, others: 0, rate: None },
    Case { name: "1 of 10000 wildcards", subscribers: 1, others: 10_000, rate: None },
    Case { name: "10000 events/s", subscribers: 1, others: 0, rate: Some(10_000) },
];

/// Measures every case with both routers, and prints a table.
pub fn run() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    println!(
        "{:<10} {:<22} {:>12} {:>14} {:>12} {:>9} {:>9}",
        "router", "case", "events/s", "events/CPU-s", "µs CPU each", "p50 ms", "p99 ms"
    );
    for case in &CASES {
        for kind in [Kind::Muster, Kind::Crossbar] {
            let router = Running::start(kind);
            runtime.block_on(measure(case, &router));
        }
    }
}

/// A router in a process.
struct Running {
    kind: Kind,
    process: Option<Process>,
    site: Site,
}

impl Running {
    fn start(kind: Kind) -> Running {
        let site = Site::new();
        let socket = site.path("socket");
        let process = match kind {
            Kind::Crossbar => crossbar::start(&site, &crossbar_config(&socket), &[socket.to_str().unwrap()]),
            Kind::Muster => {
                let mut command =
                    binary::command(&["router", "--listen", "127.0.0.1:0", "--realm", REALM, "--unix"]);
                let mut process = Process::start(command.arg(&socket), &site.path("router.log"));
                process.wait_for(&format!("the router listens on {}", socket.display()));
                process
            }
        };
        Running { kind, process: Some(process), site }
    }

    fn options(&self) -> ConnectOptions {
        let url = RouterUrl::Unix(self.site.path("socket"));
        ConnectOptions { serialisations: vec![Serialisation::Json], ..ConnectOptions::new(url, REALM) }
    }

    /// CPU seconds of the router and the processes that it started.
    fn cpu(&self) -> f64 {
        let mut family = VecDeque::from([self.process.as_ref().unwrap().id()]);
        let mut used = Duration::ZERO;
        while let Some(process) = family.pop_front() {
            used += usage::cpu(process);
            let threads = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
            for thread in threads {
                let children = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
                family.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
            }
        }
        used.as_secs_f64()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // SIGTERM, so that Crossbar takes its workers along.
        self.process.take().unwrap().stop();
    }
}

fn crossbar_config(socket: &Path) -> Value {
    let allow = json!({"call": true, "register": true, "publish": true, "subscribe": true});
    let permission = json!({
        "uri": "", "match": "prefix", "allow": allow, "disclose": {"caller": false, "publisher": false}, "cache": true,
    });
    let transport = json!({
        "type": "websocket",
        "endpoint": {"type": "unix", "path": socket},
        "url": "ws://localhost/ws",
        "auth": {"anonymous": {"type": "static", "role": "anonymous"}},
    });
    let realm = json!({"name": REALM, "roles": [{"name": "anonymous", "permissions": [permission]}]});
    let worker = json!({"type": "router", "realms": [realm], "transports": [transport]});
    json!({"version": 2, "controller": {}, "workers": [worker]})
}

async fn measure(case: &Case, router: &Running) {
    let mut bystander = Connection::open(&router.options()).await.expect("a session");
    for other in 0..case.others {
        subscribe(
            &mut bystander,
            Match::Wildcard,
            &format!("org.buildbot.mq.builds.{other}.steps..finished"),
        )
        .await;
    }
    let mut subscribers = Vec::new();
    for _ in 0..case.subscribers {
        let mut connection = Connection::open(&router.options()).await.expect("a session");
        let (matching, uri) = match case.others {
            0 => (Match::Exact, TOPIC),
            _ => (Match::Wildcard, "org.buildbot.mq.builds..steps..updated"),
        };
        subscribe(&mut connection, matching, uri).await;
        subscribers.push(connection);
    }
    let publisher = Connection::open(&router.options()).await.expect("a session");
    // The start is over, and Crossbar's caches are warm.
    let (publisher, subscribers, _) = pump(case, publisher, subscribers, DURATION / 5).await;
    let before = router.cpu();
    let (_publisher, _subscribers, seen) = pump(case, publisher, subscribers, DURATION).await;
    let cpu = router.cpu() - before;
    drop(bystander);
    let name = if router.kind == Kind::Crossbar { "Crossbar" } else { "Muster" };
    let events = seen.latencies.len() as f64;
    println!(
        "{name:<10} {:<22} {:>12.0} {:>14.0} {:>12.2} {:>9.3} {:>9.3}",
        case.name,
        events / seen.elapsed.as_secs_f64(),
        events / cpu,
        cpu * 1e6 / events,
        seen.percentile(0.50),
        seen.percentile(0.99),
    );
}

async fn subscribe(connection: &mut Connection, matching: Match, uri: &str) {
    let (_, frame) = connection.client().subscribe(matching, uri).expect("an open session");
    connection.send([frame]).await.expect("a router");
    match connection.next().await {
        Ok(Incoming::Subscribed { .. }) => {}
        other => panic!("{other:?}"),
    }
}

/// What arrived.
struct Seen {
    elapsed: Duration,
    /// Milliseconds from publication to arrival.
    latencies: Vec<f64>,
}

impl Seen {
    fn percentile(&self, part: f64) -> f64 {
        let mut sorted = self.latencies.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(((sorted.len() as f64 - 1.0) * part) as usize).copied().unwrap_or(f64::NAN)
    }
}

async fn pump(
    case: &Case,
    mut publisher: Connection,
    subscribers: Vec<Connection>,
    duration: Duration,
) -> (Connection, Vec<Connection>, Seen) {
    let started = Instant::now();
    let window = std::sync::Arc::new(tokio::sync::Semaphore::new((WINDOW / case.subscribers).max(1)));
    let (told_end, end) = tokio::sync::watch::channel(None::<u64>);
    let readers: Vec<_> = subscribers
        .into_iter()
        .enumerate()
        .map(|(index, connection)| {
            // The first subscriber paces the publisher; the others see the same stream.
            let window = (index == 0).then(|| window.clone());
            tokio::spawn(read(connection, started, end.clone(), window))
        })
        .collect();
    let mut published = 0;
    while started.elapsed() < duration {
        let mut due = 16;
        if let Some(rate) = case.rate {
            let until_now = (started.elapsed().as_secs_f64() * rate as f64) as u64;
            due = until_now.saturating_sub(published);
            if due == 0 {
                tokio::time::sleep(Duration::from_micros(200)).await;
                continue;
            }
        }
        let mut frames = Vec::new();
        for _ in 0..due.min(WINDOW as u64) {
            match window.clone().try_acquire_owned() {
                Ok(permit) => permit.forget(),
                Err(_) if frames.is_empty() => window.acquire().await.expect("never closed").forget(),
                Err(_) => break,
            }
            let payload = Payload::one(payload(published, started.elapsed().as_micros() as u64));
            frames.push(publisher.client().publish(TOPIC, Dict::new(), payload).expect("an open session").1);
            published += 1;
        }
        publisher.send(frames).await.expect("a router");
    }
    told_end.send_replace(Some(published));
    let (mut connections, mut latencies) = (Vec::new(), Vec::new());
    for reader in readers {
        let (connection, mut own) = reader.await.expect("a reader");
        connections.push(connection);
        latencies.append(&mut own);
    }
    (publisher, connections, Seen { elapsed: started.elapsed(), latencies })
}

/// A step, as Buildbot tells about it.
fn payload(count: u64, sent: u64) -> Value {
    json!({
        "stepid": count, "number": 3, "name": "compile", "buildid": 12, "started_at": 1_795_228_227, "sent": sent,
        "locks_acquired_at": 1_795_228_227, "complete": false, "complete_at": null, "state_string": "running",
        "results": null, "urls": [{"name": "report", "url": "http://localhost/report"}], "hidden": false,
    })
}

async fn read(
    mut connection: Connection,
    started: Instant,
    mut end: tokio::sync::watch::Receiver<Option<u64>>,
    window: Option<std::sync::Arc<tokio::sync::Semaphore>>,
) -> (Connection, Vec<f64>) {
    let mut latencies = Vec::new();
    loop {
        let all = *end.borrow_and_update();
        if all.is_some_and(|all| latencies.len() as u64 >= all) {
            return (connection, latencies);
        }
        tokio::select! {
            incoming = connection.next() => {
                let Ok(Incoming::Event { payload, .. }) = incoming else { panic!("{incoming:?}") };
                let sent = payload.args[0]["sent"].as_u64().expect("the time is in every payload");
                latencies.push((started.elapsed().as_micros() as f64 - sent as f64) / 1000.0);
                if let Some(window) = &window {
                    window.add_permits(1);
                }
            }
            changed = end.changed() => changed.expect("the publisher tells the end"),
        }
    }
}
