//! The next claim of a master that has much to do.

use muster_tests::{http, until};

use crate::{contender::Contender, muster::Muster};

/// Builders of the master, with so many pending requests on them.
const BUILDERS: usize = 500;
const PENDING: usize = 25_000;
/// Builds of the one worker, during which it is watched.
const BUILDS: usize = 1_000;
/// What is measured: the name of a histogram of the master, its label, and its meaning.
const PARTS: [(&str, &str, &str); 3] = [
    ("muster_distributor_seconds", "part=\"choose\"", "choose the next one"),
    ("muster_transaction_seconds", "transaction=\"start_runs\"", "claim it and make its build"),
    (
        "muster_distributor_seconds",
        "part=\"start\"",
        "the same, with the reading of what it asks for and the beginning",
    ),
];

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
    let read = || PARTS.map(|(name, label, _)| Histogram::read(&master, name, label));
    let before = read();
    wait_for_builds(&master, 1 + BUILDS);
    for ((after, before), (_, _, meaning)) in read().iter().zip(&before).zip(PARTS) {
        println!(
            "{engine}, {PENDING} pending requests on {BUILDERS} builders, {meaning}: {}",
            after.since(before)
        );
    }
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
    fn read(master: &Muster, name: &str, label: &str) -> Histogram {
        let answer = http::request(master.rest().0, "GET", "/metrics", None).unwrap();
        let text = String::from_utf8(answer.body).unwrap();
        let figure = |name: String| {
            text.lines().find_map(|line| line.strip_prefix(&name)?.trim().parse().ok()).unwrap_or_default()
        };
        let within = |bound: &str| figure(format!("{name}_bucket{{{label},le=\"{bound}\"}} "));
        Histogram {
            count: figure(format!("{name}_count{{{label}}} ")),
            sum: figure(format!("{name}_sum{{{label}}} ")),
            within_5_ms: within("0.005"),
            within_10_ms: within("0.01"),
        }
    }

    /// What came between, in words.
    fn since(&self, before: &Histogram) -> String {
        let count = self.count - before.count;
        format!(
            "{:.2} ms ({count} of them; {:.1} % took less than 5 ms, {:.1} % less than 10 ms)",
            (self.sum - before.sum) / count * 1e3,
            (self.within_5_ms - before.within_5_ms) / count * 100.0,
            (self.within_10_ms - before.within_10_ms) / count * 100.0,
        )
    }
}
