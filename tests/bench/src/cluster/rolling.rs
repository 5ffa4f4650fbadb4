//! All masters are restarted, one after the other, under 200 running builds.

use std::time::Instant;

use muster_tests::until;
use rustix::process::Signal;

use super::{row, sites};

pub fn measure() {
    let mut cluster = sites::symmetric(3, 20, 10, sites::WAITING);
    sites::force_waiting(&cluster, 200);
    let begin = Instant::now();
    for index in 0..cluster.masters.len() {
        let node = &mut cluster.masters[index].node;
        node.signal(Signal::TERM);
        until("the end of a master", || (!node.is_running()).then_some(()));
        cluster.start_master(index);
        cluster.masters[index].node.wait_for("BuildMaster is running");
    }
    let took = begin.elapsed().as_secs_f64();
    let (retried, other) = sites::open_gate(&cluster);
    row("rolling restart of 3 masters under 200 builds", format!("{took:.1} s"));
    row("  builds retried / not well", format!("{retried} / {other}"));
}
