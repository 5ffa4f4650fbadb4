//! Several masters on one PostgreSQL: what a lost one costs, how one leaves, how many dispatch how fast.

mod dispatch;
mod drain;
mod failover;
mod heartbeat;
mod rolling;
mod sites;

/// The measurements by name. Each starts a cluster of its own and prints its lines. `MUSTER_BENCH_CLUSTER` names the only
/// one that is wanted.
const MEASUREMENTS: [(&str, fn()); 5] = [
    ("heartbeat", heartbeat::measure),
    ("dispatch", dispatch::measure),
    ("drain", drain::measure),
    ("rolling", rolling::measure),
    ("failover", failover::measure),
];

/// All of them, or the one.
pub fn run() {
    println!("cluster on {}", machine());
    let wanted = std::env::var("MUSTER_BENCH_CLUSTER").ok();
    for (name, measure) in MEASUREMENTS {
        if wanted.as_deref().is_none_or(|wanted| wanted == name) {
            measure();
        }
    }
}

fn machine() -> String {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let names: Vec<&str> = cpus
        .lines()
        .filter_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name))
        .collect();
    format!("{} cores of {}", names.len(), names.first().unwrap_or(&"an unknown CPU"))
}

/// A row of the table.
fn row(name: &str, value: impl std::fmt::Display) {
    println!("{name:58}{value:>22}");
}

/// Median, 99th percentile and maximum of times in seconds.
fn quantiles(name: &str, mut seconds: Vec<f64>) {
    seconds.sort_by(f64::total_cmp);
    let Some(most) = seconds.last().copied() else { return row(name, "no sample") };
    let quantile = |share: f64| seconds[((seconds.len() as f64 * share) as usize).min(seconds.len() - 1)];
    let (p50, p99) = (quantile(0.5), quantile(0.99));
    row(
        &format!("{name}, p50 / p99 / max of {}", seconds.len()),
        format!("{p50:.2} / {p99:.2} / {most:.2} s"),
    );
}
