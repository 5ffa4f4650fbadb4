//! What masters cost that have nothing to do.

use std::time::Duration;

use muster_torture::cluster::Cluster;

use super::{row, sites};
use crate::usage;

const IDLE: Duration = Duration::from_secs(20);
const TRANSACTIONS: &str =
    "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = 'buildbot'";

pub fn measure() {
    for masters in [1, 4] {
        let cluster = sites::symmetric(masters, 1, 1, sites::WAITING);
        let cpu = |cluster: &Cluster| -> f64 {
            cluster.masters.iter().map(|master| usage::cpu(master.node.id()).as_secs_f64()).sum()
        };
        let (cpu_before, before) = (cpu(&cluster), sites::number(&cluster, TRANSACTIONS));
        // The time itself is what is measured over.
        std::thread::sleep(IDLE);
        let (cpu_after, after) = (cpu(&cluster), sites::number(&cluster, TRANSACTIONS));
        let each = |value: f64| value / IDLE.as_secs_f64() / masters as f64;
        row(
            &format!("idle, {masters} masters: CPU of each, ms per second"),
            format!("{:.2}", each(cpu_after - cpu_before) * 1000.0),
        );
        row(
            &format!("idle, {masters} masters: transactions of each, per second"),
            format!("{:.1}", each((after - before) as f64)),
        );
    }
}
