//! The measurements, the same for every contender.

use std::time::{Duration, Instant, SystemTime};

use muster_tests::until;
use serde_json::{Value, json};

use crate::contender::Contender;
use crate::usage;

/// How much is measured.
#[derive(Clone, Copy)]
pub struct Sizes {
    /// Forced builds, one at a time.
    pub samples: usize,
    /// Builds in one go.
    pub builds: usize,
    /// How often that is repeated.
    pub rounds: usize,
}

/// All figures of one contender.
pub struct Figures {
    /// Whose.
    pub name: String,
    /// One build at a time.
    pub latency: Latency,
    /// Many at once; one item for each round.
    pub dispatch: Vec<Dispatch>,
}

/// From sending the POST to the command's arrival at the worker. Milliseconds.
pub struct Latency {
    pub samples: usize,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub min: f64,
}

/// One round of many builds.
pub struct Dispatch {
    pub builds: usize,
    pub forces_per_second: f64,
    /// Milliseconds of the master.
    pub cpu_per_force: f64,
    pub builds_per_second: f64,
    /// Milliseconds of the master.
    pub cpu_per_build: f64,
    /// MiB of the master, before and after.
    pub memory: (f64, f64),
}

/// Clients that force at the same time.
const CLIENTS: usize = 4;
/// An idle master is meant, so a build's last writes are let go by before the next one.
const PAUSE: Duration = Duration::from_millis(50);

/// Forces builds one at a time.
pub fn latency(contender: &mut dyn Contender, samples: usize) -> Latency {
    let mut sent = Vec::new();
    for number in 0..samples {
        let token = format!("t{number}");
        let done = contender.commands_done();
        let at = SystemTime::now();
        let request = contender.rest().force("latency", json!({ "token": token }));
        // Nothing is asked of the master before the command is over: to answer would be work for it.
        until("the command", || (contender.commands_done() > done).then_some(()));
        contender.rest().builds_of(request);
        sent.push((token, at));
        std::thread::sleep(PAUSE);
    }
    let starts = contender.starts();
    let mut times: Vec<f64> =
        sent.iter().map(|(token, at)| milliseconds(starts[token].duration_since(*at).unwrap())).collect();
    times.sort_by(f64::total_cmp);
    let quantile = |share: f64| times[((samples as f64 * share) as usize).min(samples - 1)];
    Latency { samples, p50: quantile(0.5), p90: quantile(0.9), p99: quantile(0.99), min: times[0] }
}

/// Queues builds while every worker is paused, then lets them go.
pub fn dispatch(contender: &mut dyn Contender, sizes: Sizes) -> Vec<Dispatch> {
    (0..sizes.rounds).map(|_| dispatch_once(contender, sizes.builds)).collect()
}

/// The same, once.
pub fn dispatch_once(contender: &dyn Contender, builds: usize) -> Dispatch {
    dispatch_and_tell(contender, builds, || ())
}

/// The same; tells when all builds are forced and none has begun.
pub fn dispatch_and_tell(contender: &dyn Contender, builds: usize, forced: impl FnOnce()) -> Dispatch {
    let (process, memory) = (contender.process(), usage::memory(contender.process()));
    let done = contender.commands_done();
    set_paused(contender, true);
    let forcing = Meter::start(process);
    force_all(contender, builds);
    let (force_seconds, force_cpu) = forcing.stop();
    forced();
    let building = Meter::start(process);
    set_paused(contender, false);
    until("all commands", || (contender.commands_done() >= done + builds).then_some(()));
    until("all requests", || (open_requests(contender) == 0).then_some(()));
    let (build_seconds, build_cpu) = building.stop();
    let count = builds as f64;
    Dispatch {
        builds,
        forces_per_second: count / force_seconds,
        cpu_per_force: force_cpu / count,
        builds_per_second: count / build_seconds,
        cpu_per_build: build_cpu / count,
        memory: (memory, usage::memory(process)),
    }
}

/// Time and CPU time of a process since a moment.
struct Meter {
    process: u32,
    begin: Instant,
    cpu: Duration,
}

impl Meter {
    fn start(process: u32) -> Meter {
        Meter { process, begin: Instant::now(), cpu: usage::cpu(process) }
    }

    /// Seconds, and milliseconds of CPU time.
    fn stop(self) -> (f64, f64) {
        (self.begin.elapsed().as_secs_f64(), milliseconds(usage::cpu(self.process) - self.cpu))
    }
}

fn set_paused(contender: &dyn Contender, paused: bool) {
    let rest = contender.rest();
    let method = if paused { "pause" } else { "unpause" };
    for worker in rest.list("workers") {
        rest.call(&format!("workers/{}", worker["workerid"]), method, json!({})).unwrap();
    }
    let all = || rest.list("workers").iter().all(|worker| worker["paused"] == json!(paused));
    until(&format!("{method} of all workers"), || all().then_some(()));
}

fn force_all(contender: &dyn Contender, builds: usize) {
    let rest = contender.rest();
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            scope.spawn(move || {
                for _ in (client..builds).step_by(CLIENTS) {
                    rest.force("dispatch", json!({}));
                }
            });
        }
    });
}

fn open_requests(contender: &dyn Contender) -> usize {
    contender
        .rest()
        .list("buildrequests?complete=false&limit=1")
        .iter()
        .filter(|request| !is_complete(request))
        .count()
}

fn is_complete(request: &Value) -> bool {
    request["complete"] == json!(true)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
