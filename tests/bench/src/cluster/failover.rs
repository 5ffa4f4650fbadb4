//! `kill -9` of the master that owns the schedulers, again and again.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use muster_tests::{Rest, until};
use muster_torture::cluster::{Cluster, ask};
use serde_json::json;

use super::{quantiles, sites};

/// Kills; `MUSTER_BENCH_KILLS` makes them fewer.
const KILLS: usize = 50;
const MASTERS: usize = 3;
const WORKERS: usize = 6;
/// How often the database is asked.
const LOOK: Duration = Duration::from_millis(50);
/// After the kill, a running build is watched for so long at least.
const WATCH: Duration = Duration::from_secs(3);

/// A builder for each worker, one that ticks and one that says when it began.
const BUILDERS: &str = r#"
def script(lines, seconds):
    command = ["sh", "%SITE%/step.sh", util.Interpolate("%(prop:buildername)s"),
               util.Interpolate("%(prop:buildnumber)s"), "one", lines, seconds]
    return steps.ShellCommand(command=command, name="one")


for name in own:
    builder("tick-" + name, script("100000", "0.1"), workers=[name])
    builder("once-" + name, script("1", "0"), workers=[name])
c["schedulers"].append(schedulers.Periodic(name="owned", builderNames=["once-own0"], periodicBuildTimer=86400))
"#;

struct Sample {
    start: f64,
    take_over: f64,
    stall: f64,
}

pub fn measure() {
    let kills = std::env::var("MUSTER_BENCH_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    let mut cluster = sites::symmetric(MASTERS, WORKERS, 4, BUILDERS);
    let samples: Vec<Sample> = (0..kills).filter_map(|_| kill_once(&mut cluster)).collect();
    let of = |value: &dyn Fn(&Sample) -> f64| samples.iter().map(value).collect::<Vec<f64>>();
    quantiles("kill -9: pending request to its command", of(&|sample| sample.start));
    quantiles("kill -9: scheduler has another owner", of(&|sample| sample.take_over));
    quantiles("kill -9: a running build's log stands still", of(&|sample| sample.stall));
    let retried = sites::number(&cluster, "SELECT count(*) FROM builds WHERE results = 5");
    super::row("  builds retried", format!("{retried}"));
}

const OWNER: &str = "SELECT m.masterid FROM scheduler_masters m JOIN schedulers s ON s.id = m.schedulerid WHERE s.name = 'owned'";

/// `None` when no worker is connected to the master whose turn it is.
fn kill_once(cluster: &mut Cluster) -> Option<Sample> {
    let owner = until("an owner of the scheduler", || match sites::number(cluster, OWNER) {
        -1 => None,
        owner => Some(owner),
    });
    let ids = sites::ids(cluster);
    let victim = ids.iter().position(|id| *id == owner).expect("one of ours");
    let connected = format!(
        "SELECT w.name FROM connected_workers c JOIN workers w ON w.id = c.workerid WHERE c.masterid = {owner} LIMIT 1"
    );
    let worker = cluster.ask(&connected).filter(|name| !name.is_empty())?;
    let other = cluster.masters[(victim + 1) % MASTERS].rest().expect("all have pages");
    let ticking = tick(cluster, other, &worker);

    let (killed, killed_at) = (Instant::now(), SystemTime::now());
    cluster.masters[victim].node.kill();
    let port = cluster.database.port;
    let stall = std::thread::spawn(move || stall(port, ticking, killed));
    let owned = std::thread::spawn(move || {
        let other_owner =
            || ask(port, OWNER).is_some_and(|text| text.parse().is_ok_and(|id: i64| id != owner));
        until("another owner of the scheduler", || other_owner().then_some(()));
        killed.elapsed().as_secs_f64()
    });
    let request = other.force(&format!("once-{worker}"), json!({}));
    let build = other.builds_of(request).pop().expect("it is complete");
    let journal = format!("journal/once-{worker}.{}.one", build["number"]);
    let begun = std::fs::read_to_string(cluster.site.path(&journal)).unwrap();
    let begun: f64 = begun.split(' ').next().unwrap().parse().unwrap();
    let start = begun - killed_at.duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let sample = Sample { start, take_over: owned.join().unwrap(), stall: stall.join().unwrap() };
    other.call(&format!("builds/{ticking}"), "stop", json!({"reason": "measured"})).unwrap();
    cluster.start_master(victim);
    cluster.masters[victim].node.wait_for("BuildMaster is running");
    let running = "SELECT count(*) FROM muster_runs";
    until("the end of the stopped build", || (sites::number(cluster, running) == 0).then_some(()));
    Some(sample)
}

/// A build that writes ten lines a second.
fn tick(cluster: &Cluster, rest: Rest, worker: &str) -> i64 {
    let request = rest.force(&format!("tick-{worker}"), json!({}));
    let build = rest.running_build(request);
    until("the first lines", || (lines(cluster.database.port, build)? > 5).then_some(()));
    build
}

fn lines(port: u16, build: i64) -> Option<i64> {
    let query = format!(
        "SELECT sum(l.num_lines) FROM logs l JOIN steps s ON s.id = l.stepid WHERE s.buildid = {build}"
    );
    ask(port, &query)?.parse().ok()
}

/// The longest time after the kill in which no new line was stored.
fn stall(port: u16, build: i64, killed: Instant) -> f64 {
    let (mut known, mut since, mut longest) = (lines(port, build), Instant::now(), Duration::ZERO);
    loop {
        std::thread::sleep(LOOK);
        let now = lines(port, build);
        longest = longest.max(since.elapsed());
        if now != known {
            (known, since) = (now, Instant::now());
            if killed.elapsed() > WATCH && longest < since.duration_since(killed) {
                return longest.as_secs_f64();
            }
        }
        assert!(longest < Duration::from_secs(120), "build {build} stands still for ever");
    }
}
