//! Work for the cluster: forced builds, commits, sent changes. Only what was answered with success counts as accepted.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use muster_tests::git::Repository;
use muster_tests::{Site, http, stock};
use serde_json::{Value, json};

use crate::config::BUILDERS;

/// Clients that force at the same time: one that asks a master that stands still waits for it.
const CLIENTS: u64 = 3;
/// Seconds after which a sent change counts as not accepted: its master stands still.
const SEND_PATIENCE: &str = "20";

/// What masters said yes to.
#[derive(Default)]
pub struct Accepted {
    /// Requests of forced builds.
    pub requests: Vec<i64>,
    /// Revisions of commits. They are accepted by nobody, but there for whoever looks.
    pub commits: Vec<String>,
    /// Revisions of sent changes.
    pub sent: Vec<String>,
    /// Calls without success: the master was away.
    pub refused: usize,
}

/// Where work can be brought, how fast, and until when.
#[derive(Clone)]
pub struct Doors {
    /// Web ports.
    pub web: Vec<SocketAddr>,
    /// Ports for sent changes.
    pub pb: Vec<SocketAddr>,
    /// Between two forced builds of one client.
    pub pace: Duration,
    /// Ends the load.
    pub stop: Arc<AtomicBool>,
}

/// Threads that bring work.
pub struct Load {
    doors: Doors,
    accepted: Arc<Mutex<Accepted>>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts all of them.
    pub fn start(seed: u64, doors: Doors, site: &Site, repository: Repository) -> Load {
        let accepted = Arc::new(Mutex::new(Accepted::default()));
        let mut threads = Vec::new();
        for client in 0..CLIENTS {
            let (doors, accepted) = (doors.clone(), accepted.clone());
            let mut random = fastrand::Rng::with_seed(seed ^ (client + 1) << 32);
            threads.push(std::thread::spawn(move || {
                while doors.rests(doors.pace.mul_f64(random.f64() * 2.0)) {
                    force(&doors, &accepted, &mut random);
                }
            }));
        }
        let (mine, told) = (doors.clone(), accepted.clone());
        threads.push(std::thread::spawn(move || {
            let mut number = 0;
            while mine.rests(Duration::from_secs(4)) {
                number += 1;
                let revision = repository.commit("file", &number.to_string(), &format!("change {number}"));
                told.lock().unwrap().commits.push(revision);
            }
        }));
        let (mine, told) = (doors.clone(), accepted.clone());
        let commands = send_commands(&doors, site);
        threads.push(std::thread::spawn(move || {
            let mut commands = commands.into_iter();
            while mine.rests(Duration::from_secs(7)) {
                let Some((revision, mut command)) = commands.next() else { return };
                let sent = command.output().unwrap();
                let mut told = told.lock().unwrap();
                match sent.status.success() {
                    true => told.sent.push(revision),
                    false => told.refused += 1,
                }
            }
        }));
        Load { doors, accepted, threads }
    }

    /// Brings no more; answers what was accepted.
    pub fn stop(self) -> Accepted {
        self.doors.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
        std::mem::take(&mut self.accepted.lock().unwrap())
    }
}

impl Doors {
    /// Waits; `false` when the load is over.
    fn rests(&self, time: Duration) -> bool {
        const SLICE: Duration = Duration::from_millis(50);
        for _ in 0..time.as_millis() / SLICE.as_millis() + 1 {
            if self.stop.load(Ordering::Relaxed) {
                return false;
            }
            std::thread::sleep(SLICE);
        }
        true
    }
}

fn force(doors: &Doors, accepted: &Mutex<Accepted>, random: &mut fastrand::Rng) {
    // `commits` is left to the scheduler; `plain` runs most.
    let builder = BUILDERS[[0, 0, 0, 1, 1, 2][random.usize(..6)]];
    let door = doors.web[random.usize(..doors.web.len())];
    let call =
        json!({"jsonrpc": "2.0", "method": "force", "params": {"reason": "torture"}, "id": 1}).to_string();
    let path = format!("/api/v2/forceschedulers/force-{builder}");
    let answer = http::request(door, "POST", &path, Some(&call)).ok().filter(|answer| answer.status == 200);
    let result = answer.and_then(|answer| serde_json::from_slice::<Value>(&answer.body).ok());
    let request =
        result.as_ref().and_then(|answer| answer["result"][1].as_object()?.values().next()?.as_i64());
    let mut accepted = accepted.lock().unwrap();
    match request {
        Some(request) => accepted.requests.push(request),
        None => accepted.refused += 1,
    }
}

/// `buildbot sendchange`, a few hundred times, each with a revision of its own.
fn send_commands(doors: &Doors, site: &Site) -> Vec<(String, Command)> {
    let one = |number: usize| {
        let (revision, door) = (format!("sent-{number}"), doors.pb[number % doors.pb.len()].to_string());
        let arguments = ["sendchange", "--master", &door, "--auth", "change:changepw", "--branch", "main"];
        let more = ["--who", "Ada <ada@example.org>", "--revision", &revision, "file"];
        let send = stock::buildbot_command(site, &[&arguments[..], &more].concat());
        let mut command = Command::new("timeout");
        command.arg(SEND_PATIENCE).arg(send.get_program()).args(send.get_args());
        command.current_dir(site.path(""));
        (revision, command)
    };
    (0..400).map(one).collect()
}
