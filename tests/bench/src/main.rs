//! `make bench`: how long a forced build takes to reach its worker, and what a build costs the master; what an event costs
//! the router.
//!
//! The master is the release binary as a process of its own, driven over REST; the workers are simulated in this
//! process and answer every command at once, so that what is measured is the master. The same calls drive a Buildbot
//! master when `MUSTER_BENCH_BUILDBOT` names a virtualenv with `buildbot` and `MUSTER_BENCH_SIMWORKER` a program that
//! simulates its workers; otherwise figures that were recorded on another day stand beside ours.

#![allow(clippy::unwrap_used, reason = "a benchmark that can't go on shall stop")]

mod attack;
mod buildbot;
mod cluster;
mod contender;
mod database;
mod fleet;
mod gateway;
mod measure;
mod muster;
mod report;
mod router;
mod usage;

use std::path::PathBuf;

use buildbot::Buildbot;
use contender::Contender;
use measure::{Figures, Sizes};
use muster::Muster;

/// What is measured here.
const OURS: Sizes = Sizes { samples: 200, builds: 300, rounds: 3 };
/// Buildbot needs a hundred times as long, so it gets smaller samples.
const BUILDBOTS: Sizes = Sizes { samples: 40, builds: 80, rounds: 2 };

/// What is measured, by name; all of it, if the command line names nothing (`make bench ARGS=router`).
const PARTS: [(&str, fn()); 6] = [
    ("master", measure_masters),
    ("gateway", gateway::run),
    ("router", router::run),
    ("cluster", cluster::run),
    ("database", database::measure),
    ("attack", attack::run),
];

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let unknown = wanted.iter().find(|name| !PARTS.iter().any(|(known, _)| known == name));
    assert!(
        unknown.is_none(),
        "nothing is named {}; there are {:?}",
        unknown.unwrap(),
        PARTS.map(|(name, _)| name)
    );
    for (name, measure) in PARTS {
        if wanted.is_empty() || wanted.iter().any(|one| one == name) {
            measure();
        }
    }
}

fn measure_masters() {
    let ours = measure_one("Muster", &mut Muster::start(), OURS);
    let buildbots = match (path_in("MUSTER_BENCH_BUILDBOT"), path_in("MUSTER_BENCH_SIMWORKER")) {
        (Some(venv), Some(simworker)) => {
            measure_one("Buildbot", &mut Buildbot::start(&venv, &simworker), BUILDBOTS)
        }
        _ => report::recorded_of_buildbot(),
    };
    report::print(&ours, &buildbots);
}

fn path_in(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from)
}

fn measure_one(name: &'static str, contender: &mut dyn Contender, sizes: Sizes) -> Figures {
    eprintln!("{name}: {} forced builds, one at a time ...", sizes.samples);
    let latency = measure::latency(contender, sizes.samples);
    eprintln!("{name}: {} x {} builds in one go ...", sizes.rounds, sizes.builds);
    let dispatch = measure::dispatch(contender, sizes);
    Figures { name: name.to_owned(), latency, dispatch }
}
