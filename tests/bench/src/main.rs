//! `make bench`: how long a forced build takes to reach its worker, and what a build costs the master.
//!
//! The master is the release binary as a process of its own, driven over REST; the workers are simulated in this
//! process and answer every command at once, so that what is measured is the master. The same calls drive a Buildbot
//! master when `MUSTER_BENCH_BUILDBOT` names a virtualenv with `buildbot` and `MUSTER_BENCH_SIMWORKER` a program that
//! simulates its workers; otherwise figures that were recorded on another day stand beside ours.

#![allow(clippy::unwrap_used, reason = "a benchmark that can't go on shall stop")]

mod buildbot;
mod contender;
mod fleet;
mod measure;
mod muster;
mod report;
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

fn main() {
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
