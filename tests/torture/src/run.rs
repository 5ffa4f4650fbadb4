//! One torture from its beginning to its verdict.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use muster_tests::git::Repository;

use crate::checker::{self, Reading};
use crate::clock::MAX_STEP;
use crate::cluster::{Cluster, Ground, Master, Size};
use crate::config;
use crate::facts;
use crate::history::{History, QUEUE};
use crate::load::{Accepted, Doors, Load};
use crate::nemesis::Nemesis;

/// What is done to whom, and for how long.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Of everything that is left to chance, except for the timing of the processes themselves.
    pub seed: u64,
    /// Processes.
    pub size: Size,
    /// How long faults go on.
    pub rage: Duration,
    /// Between two blows.
    pub gap: Duration,
    /// Between two forced builds of a client.
    pub pace: Duration,
    /// Within this time everything must be over after the last fault.
    pub drain: Duration,
}

impl Plan {
    /// The one of `make torture`. The seed also chooses the router and whether clocks are stepped, which makes the times
    /// that masters write down vague.
    pub fn long(seed: u64, rage: Duration) -> Plan {
        let size = Size {
            engines: 3,
            schedulers: 2,
            web: 2,
            gateways: 1,
            own: 28,
            stock: 12,
            max_builds: 2,
            ground: Ground::Namespaces,
            crossbar: seed % 4 >= 2,
            clocks: seed % 2 == 1,
        };
        let gap = Duration::from_secs(4);
        Plan { seed, size, rage, gap, pace: Duration::from_millis(1500), drain: Duration::from_secs(240) }
    }

    /// Makes the fleet smaller or larger, in the same proportion of kinds, and the load with it.
    pub fn have_workers(&mut self, workers: usize) {
        let all = self.size.own + self.size.stock;
        self.pace = self.pace.mul_f64(all as f64 / workers as f64);
        self.size.stock = workers * self.size.stock / all;
        self.size.own = workers - self.size.stock;
    }

    /// The one of `make test`: fewer processes, three minutes of faults. Masters that do everything, and a gateway of its own.
    pub fn short(seed: u64) -> Plan {
        let size = Size {
            engines: 2,
            schedulers: 0,
            web: 0,
            gateways: 1,
            own: 4,
            stock: 4,
            max_builds: 2,
            ground: Ground::Namespaces,
            crossbar: false,
            clocks: false,
        };
        let (gap, rage) = (Duration::from_secs(3), Duration::from_secs(175));
        Plan { seed, size, rage, gap, pace: Duration::from_secs(4), drain: Duration::from_secs(120) }
    }
}

/// Runs a plan; answers what was violated, and prints the history and the verdict.
pub fn torture(plan: &Plan) -> Vec<String> {
    eprintln!("{plan:?}");
    let mut cluster = Cluster::start(plan.size, config::TORTURE);
    let ground = if cluster.network.is_some() { "network namespaces" } else { "wires" };
    eprintln!("partitions by {ground}");
    let repository = Repository::open(&cluster.site.path("repository"));
    let doors = Doors {
        web: cluster.masters.iter().filter_map(Master::rest).map(|rest| rest.0).collect(),
        pb: cluster.masters.iter().filter(|master| master.takes_changes()).map(|master| master.pb).collect(),
        pace: plan.pace,
        stop: Arc::new(AtomicBool::new(false)),
    };
    let mut history = History::begin();
    let load = Load::start(plan.seed, doors, &cluster.site, repository);
    let mut nemesis = Nemesis::new(plan.seed, plan.gap);
    nemesis.rage(&mut cluster, &mut history, plan.rage);
    nemesis.mend_all(&mut cluster, &mut history);
    let accepted = load.stop();
    history.note("faults are over", "", cluster.ask(QUEUE));
    let mut violations = drain(&mut cluster, &mut nemesis, &mut history, &accepted, plan.drain);
    history.note("drained", "", cluster.ask(QUEUE));
    let reading = Reading {
        accepted: &accepted,
        vague: if plan.size.clocks { MAX_STEP as f64 } else { 0.0 },
        losses: &nemesis.losses,
        max_builds: plan.size.max_builds,
        facts: facts::read(&cluster),
        lines: Box::new(facts::lines_of(&cluster)),
    };
    violations.extend(checker::check(&reading));
    violations.extend(facts::panics(&cluster.site));
    println!("seed {}, partitions by {ground}", plan.seed);
    println!("{}", history.table());
    println!("{}", checker::summary(&reading));
    println!("seed {}: {} violations", plan.seed, violations.len());
    for violation in &violations {
        println!("  {violation}");
    }
    if !violations.is_empty() {
        println!("{}", facts::rare_words(&cluster.site));
        // The site is kept when a test fails; here the words must be saved before it goes.
        facts::keep(&cluster.site, plan.seed);
    }
    violations
}

fn drain(
    cluster: &mut Cluster,
    nemesis: &mut Nemesis,
    history: &mut History,
    accepted: &Accepted,
    patience: Duration,
) -> Vec<String> {
    let deadline = Instant::now() + patience;
    let mut told = Instant::now();
    loop {
        nemesis.look_after(cluster, history);
        let left = facts::left_to_do(cluster, accepted);
        if left.is_empty() {
            return Vec::new();
        }
        if Instant::now() > deadline {
            return left.into_iter().map(|what| format!("not over after {patience:?}: {what}")).collect();
        }
        if told.elapsed() > Duration::from_secs(10) {
            told = Instant::now();
            history.note("draining", &left[0].chars().take(40).collect::<String>(), cluster.ask(QUEUE));
        }
        std::thread::sleep(Duration::from_millis(300));
    }
}
