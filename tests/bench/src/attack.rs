//! What strangers can take of a master by its pages: memory, time, and its lease.
//!
//! Each attack meets a master of its own, with 98 000 builds and a log of 50 MB on SQLite, while `/livez` is asked all the
//! time. The same attacks on another binary: `MUSTER_BIN`.

use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use muster_tests::attack::{self, Probe, memory};
use muster_tests::{Master, Results, Site};
use serde_json::json;

const CONFIG: &str = "builder('b', sh('true', name='works'))\n";
const FORM: &str = "application/x-www-form-urlencoded";
const BUILDS: usize = 98_000;
const LOG_MEBIBYTES: usize = 50;
/// How long after an attack the memory that stayed is looked at.
const REST: Duration = Duration::from_secs(10);
/// How long connections are held that don't read, or don't write on.
const HELD: Duration = Duration::from_secs(10);

type Attack = fn(SocketAddr);

const ATTACKS: [(&str, Attack); 9] = [
    ("1 form of 12 MiB of `a&`", |web| drop(attack::posts(web, "/pending/cancel", FORM, &fields(), 1))),
    ("24 of them at once", |web| drop(attack::posts(web, "/pending/cancel", FORM, &fields(), 24))),
    ("24 as force forms", |web| drop(attack::posts(web, "/builders/b/force/force-b", FORM, &fields(), 24))),
    ("6 x 15 MiB of JSON numbers", |web| {
        let numbers = format!("[{}0]", "0,".repeat(15 << 19));
        drop(attack::posts(web, "/api/v2/forceschedulers/force-b", "application/json", &numbers, 6));
    }),
    ("60 bodies of 15 MiB that stall", |web| {
        held(attack::stalled(web, "/api/v2/forceschedulers/force-b", 15 << 20, 60));
    }),
    ("60 x `contents` that nobody reads", |web| held(attack::deaf(web, "/api/v2/logs/1/contents", 60))),
    ("10 lists of all builds with properties", |web| {
        drop(attack::readers(web, "/api/v2/builds?property=*", 10));
    }),
    ("20 lists that nobody reads", |web| held(attack::deaf(web, "/api/v2/builds?property=*", 20))),
    ("4 sockets x 1 000 paths of 30 kB", |web| held(attack::long_paths(web, 1_000, 4))),
];

fn fields() -> String {
    "a&".repeat(6 << 20)
}

fn held(connections: Vec<TcpStream>) {
    sleep(HELD);
    drop(connections);
}

/// Measures everything and prints it.
pub fn run() {
    println!(
        "{:42}{:>10}{:>10}{:>12}{:>12}{:>12}{:>9}{:>8}",
        "strangers, SQLite", "MiB", "peak", "after 10 s", "livez p50", "worst ms", "lapses", "s"
    );
    for (name, attack) in ATTACKS {
        measure(name, attack);
    }
}

fn measure(name: &str, attack: Attack) {
    let site = Site::new();
    let mut master = Master::new(&site, CONFIG);
    let rest = master.start();
    let worker = master.start_worker(&site);
    rest.built(rest.force("b", json!({})), Results::Success);
    drop(worker);
    attack::add_builds(&master.database(), BUILDS);
    attack::fill_log(&master.database(), LOG_MEBIBYTES);
    let process = master.process().id();
    attack::forget_peak(process);
    let before = memory(process, "VmRSS");
    let (probe, begun) = (Probe::start(master.web), Instant::now());
    attack(master.web);
    let took = begun.elapsed();
    let answers = probe.end();
    let peak = memory(process, "VmHWM");
    sleep(REST);
    let after = memory(process, "VmRSS");
    let lapses = master.process().said().matches("may act again").count();
    let ms = |took: Duration| took.as_secs_f64() * 1_000.0;
    println!(
        "{name:42}{before:>10.0}{peak:>10.0}{after:>12.0}{:>12.1}{:>12.1}{lapses:>9}{:>8.1}",
        ms(answers[answers.len() / 2]),
        ms(answers[answers.len() - 1]),
        took.as_secs_f64()
    );
}
