//! One engine of two leaves, with 50 builds that would run for an hour.

use std::time::Instant;

use muster_tests::until;
use rustix::process::Signal;

use super::{row, sites};

pub fn measure() {
    let mut cluster = sites::symmetric(2, 25, 4, sites::WAITING);
    sites::force_waiting(&cluster, 100);
    let leaves = sites::ids(&cluster)[0];
    let owned = format!("SELECT count(*) FROM muster_runs WHERE owner = {leaves}");
    let builds = sites::number(&cluster, &owned);
    let begin = Instant::now();
    cluster.masters[0].node.signal(Signal::TERM);
    until("the end of the engine", || (!cluster.masters[0].node.is_running()).then_some(()));
    let ended = begin.elapsed().as_secs_f64();
    until("other owners", || (sites::number(&cluster, &owned) == 0).then_some(()));
    let moved = begin.elapsed().as_secs_f64();
    let (retried, other) = sites::open_gate(&cluster);
    row(&format!("drain, {builds} long builds: the process has ended"), format!("{ended:.2} s"));
    row("  all of them have another owner", format!("{moved:.2} s"));
    row("  builds retried / not well", format!("{retried} / {other}"));
}
