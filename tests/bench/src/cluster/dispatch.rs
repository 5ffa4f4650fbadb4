//! Builds per second with 1, 2 and 4 engines on one database; the workers are simulated.

use std::time::{Duration, Instant};

use muster_session::MasterUrl;
use muster_tests::until;
use muster_torture::cluster::{Cluster, Ground, Size};
use serde_json::json;

use super::{row, sites};
use crate::fleet::Fleet;

const WORKERS: usize = 32;
const BUILDS: usize = 600;
/// Clients that force at the same time.
const CLIENTS: usize = 4;

const BUILDERS: &str = r#"
names = [f"w{number}" for number in range(32)]
c["workers"] += [worker.Worker(name, "pw", max_builds=1) for name in names]
builder("dispatch", steps.ShellCommand(command=["true"]), workers=names)
"#;

pub fn measure() {
    for engines in [1, 2, 4] {
        let size = Size {
            engines,
            schedulers: 0,
            web: 0,
            gateways: 0,
            own: 0,
            stock: 0,
            max_builds: 1,
            ground: Ground::Direct,
            crossbar: false,
            clocks: false,
        };
        let cluster = Cluster::start(size, BUILDERS);
        let fleets: Vec<Fleet> = cluster
            .masters
            .iter()
            .enumerate()
            .map(|(place, master)| {
                let url = MasterUrl {
                    host: master.sessions().ip().to_string(),
                    port: master.sessions().port(),
                    tls: false,
                };
                Fleet::start(&url, (place * WORKERS / engines..(place + 1) * WORKERS / engines).collect())
            })
            .collect();
        let connected = "SELECT count(DISTINCT workerid) FROM connected_workers";
        until("all workers", || (sites::number(&cluster, connected) == WORKERS as i64).then_some(()));
        let seconds = dispatch(&cluster, &fleets).as_secs_f64();
        row(
            &format!("dispatch, {engines} engines, {WORKERS} workers: builds per second"),
            format!("{:.0}", BUILDS as f64 / seconds),
        );
    }
}

/// Queues builds while every worker is paused, then lets them go.
fn dispatch(cluster: &Cluster, fleets: &[Fleet]) -> Duration {
    pause(cluster, true);
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let rest = cluster.any_rest();
            scope.spawn(move || {
                for _ in (client..BUILDS).step_by(CLIENTS) {
                    rest.force("dispatch", json!({}));
                }
            });
        }
    });
    let begin = Instant::now();
    pause(cluster, false);
    let done = || fleets.iter().map(|fleet| fleet.seen(|seen| seen.done)).sum::<usize>();
    until("all commands", || (done() >= BUILDS).then_some(()));
    let open = "SELECT count(*) FROM buildrequests WHERE complete = 0";
    until("all requests", || (sites::number(cluster, open) == 0).then_some(()));
    begin.elapsed()
}

fn pause(cluster: &Cluster, paused: bool) {
    let rest = cluster.any_rest();
    let method = if paused { "pause" } else { "unpause" };
    for worker in rest.list("workers") {
        rest.call(&format!("workers/{}", worker["workerid"]), method, json!({})).unwrap();
    }
    let all = || rest.list("workers").iter().all(|worker| worker["paused"] == json!(paused));
    until(&format!("{method} of all workers"), || all().then_some(()));
}
