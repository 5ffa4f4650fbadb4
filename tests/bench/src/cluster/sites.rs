//! Clusters for measurements, and questions to their database.

use muster_tests::until;
use muster_torture::cluster::{Cluster, Ground, Size};

/// Builders; a builder has one build at a time on a worker.
const BUILDERS: usize = 10;

/// Commands that run until the gate is opened, on all workers.
pub const WAITING: &str = r#"
for number in range(10):
    builder(
        f"wait{number}",
        steps.ShellCommand(command=["sh", "-c", "while [ ! -e %SITE%/gate ]; do sleep 2; done"]),
        workers=own,
    )
"#;

/// A cluster of masters that do everything.
pub fn symmetric(masters: usize, workers: usize, max_builds: usize, builders: &str) -> Cluster {
    let size = Size {
        engines: masters,
        schedulers: 0,
        web: 0,
        gateways: 0,
        own: workers,
        stock: 0,
        max_builds,
        ground: Ground::Direct,
        crossbar: false,
        clocks: false,
    };
    Cluster::start(size, builders)
}

/// The number that a query answers.
pub fn number(cluster: &Cluster, query: &str) -> i64 {
    cluster.ask(query).and_then(|text| text.parse().ok()).unwrap_or(-1)
}

/// Forces builds that wait, and waits until all run their command.
pub fn force_waiting(cluster: &Cluster, count: usize) {
    let rest = cluster.any_rest();
    for number in 0..count {
        rest.force(&format!("wait{}", number % BUILDERS), serde_json::json!({}));
    }
    // A command is written down just before it is ordered.
    let begun = "SELECT count(*) FROM muster_journal WHERE kind = 'command'";
    until(&format!("{count} running commands"), || (number(cluster, begun) == count as i64).then_some(()));
}

/// The id of each master, in the order of the cluster.
pub fn ids(cluster: &Cluster) -> Vec<i64> {
    let id = |name: &str| number(cluster, &format!("SELECT id FROM masters WHERE name LIKE '%/{name}'"));
    cluster.masters.iter().map(|master| id(&master.node.name)).collect()
}

/// Ends all waiting builds and waits until everything is over; answers how many ended with RETRY, and how many otherwise
/// not well.
pub fn open_gate(cluster: &Cluster) -> (i64, i64) {
    cluster.site.write("gate", "");
    until("the end of all builds", || {
        (number(cluster, "SELECT count(*) FROM buildrequests WHERE complete = 0") == 0).then_some(())
    });
    let with = |what: &str| number(cluster, &format!("SELECT count(*) FROM builds WHERE {what}"));
    (with("results = 5"), with("results NOT IN (0, 5)"))
}
