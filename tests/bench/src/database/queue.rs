//! The next claim of a master that has much to do.

use muster_tests::{http, until};

use crate::{contender::Contender, muster::Muster};

/// Builders of the master, with so many pending requests on them.
const BUILDERS: usize = 500;
const PENDING: usize = 25_000;
/// Builds of the one worker, during which it is watched.
const BUILDS: usize = 1_000;
/// From the look at requests and workers until builds have begun.
const SECONDS: &str = "muster_distributor_seconds";

/// Lets a master with one worker, which is always through at once, work on a long queue. `sequence` is a query for the
/// numbers from 1 to so many, as `n`; `sql` runs a statement.
pub fn next_claim(engine: &str, url: &str, sequence: impl Fn(usize) -> String, sql: impl Fn(&str) -> String) {
    let more = format!(
        r#"
many = [f"b{{number}}" for number in range({BUILDERS})]
factory = util.BuildFactory([steps.ShellCommand(command=["true"])])
c["builders"] += [util.BuilderConfig(name=name, workernames=names, factory=factory) for name in many]
c["schedulers"].append(schedulers.ForceScheduler(name="many", builderNames=many))
"#
    );
    let master = Muster::start_with(Some(url), 1, &more);
    let first = sql("SELECT MIN(id) FROM builders WHERE name LIKE 'b%'");
    let numbers = sequence(PENDING);
    sql(&format!(
        "INSERT INTO buildsets (id, reason, submitted_at, complete, results) SELECT n, 'bench', 1, 0, -1 FROM {numbers}"
    ));
    sql(&format!(
        "INSERT INTO buildrequests (id, buildsetid, builderid, priority, complete, results, submitted_at, waited_for) \
         SELECT n, n, {} + n % {BUILDERS}, 0, 0, -1, 1, 0 FROM {numbers}",
        first.trim()
    ));
    // The first ones wait until the master looks by itself.
    wait_for_builds(&master, 1);
    let before = Histogram::read(&master);
    wait_for_builds(&master, 1 + BUILDS);
    let after = Histogram::read(&master);
    let claims = after.count - before.count;
    println!(
        "{engine}, a master with {PENDING} pending requests on {BUILDERS} builders: {claims} next claims took {:.2} ms each, \
         {:.1} % of them less than 5 ms and {:.1} % less than 10 ms",
        (after.sum - before.sum) / claims * 1e3,
        (after.within_5_ms - before.within_5_ms) / claims * 100.0,
        (after.within_10_ms - before.within_10_ms) / claims * 100.0,
    );
}

fn wait_for_builds(master: &Muster, builds: usize) {
    until("the builds", || (master.commands_done() >= builds).then_some(()));
}

struct Histogram {
    count: f64,
    sum: f64,
    within_5_ms: f64,
    within_10_ms: f64,
}

impl Histogram {
    fn read(master: &Muster) -> Histogram {
        let answer = http::request(master.rest().0, "GET", "/metrics", None).unwrap();
        let text = String::from_utf8(answer.body).unwrap();
        let figure = |name: &str| {
            let name = format!("{SECONDS}_{name} ");
            text.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap_or_default()
        };
        Histogram {
            count: figure("count"),
            sum: figure("sum"),
            within_5_ms: figure("bucket{le=\"0.005\"}"),
            within_10_ms: figure("bucket{le=\"0.01\"}"),
        }
    }
}
