//! The table.

use crate::contender::WORKERS;
use crate::measure::{Dispatch, Figures, Latency};

/// Buildbot 4.3.0 on SQLite with workers simulated over PB, measured on 2 cores of an AMD EPYC with CPython 3.11, the
/// better of two rounds. Its memory was not recorded with these.
pub fn recorded_of_buildbot() -> Figures {
    Figures {
        name: "Buildbot (recorded)".to_owned(),
        latency: Latency { samples: 40, p50: 354.0, p90: 620.0, p99: 737.0, min: 296.0 },
        dispatch: vec![Dispatch {
            builds: 80,
            forces_per_second: 23.0,
            cpu_per_force: 21.0,
            builds_per_second: 2.51,
            cpu_per_build: 217.0,
            memory: (f64::NAN, f64::NAN),
        }],
    }
}

/// Prints both side by side. Rounds differ; the median one by its CPU time is shown.
pub fn print(ours: &Figures, theirs: &Figures) {
    println!("{:42}{:>22}{:>22}", "SQLite, one master", ours.name, theirs.name);
    let row = |name: &str, of: &dyn Fn(&Figures) -> f64| {
        println!("{name:42}{:>22}{:>22}", number(of(ours)), number(of(theirs)));
    };
    row("forced builds, one at a time", &|figures| figures.latency.samples as f64);
    row("  POST to command on the worker, p50 ms", &|figures| figures.latency.p50);
    row("  p90 ms", &|figures| figures.latency.p90);
    row("  p99 ms", &|figures| figures.latency.p99);
    row("  least ms", &|figures| figures.latency.min);
    row(&format!("builds in one go, {WORKERS} workers"), &|figures| median(figures).builds as f64);
    row("  forces/s", &|figures| median(figures).forces_per_second);
    row("  master's CPU per force, ms", &|figures| median(figures).cpu_per_force);
    row("  builds/s", &|figures| median(figures).builds_per_second);
    row("  master's CPU per build, ms", &|figures| median(figures).cpu_per_build);
    row("  memory before the first, MiB", &|figures| figures.dispatch[0].memory.0);
    row("  memory after the last, MiB", &|figures| figures.dispatch[figures.dispatch.len() - 1].memory.1);
    for round in &ours.dispatch {
        let Dispatch { builds_per_second, cpu_per_build, forces_per_second, cpu_per_force, .. } = round;
        println!(
            "{}'s round: {builds_per_second:.0} builds/s, {cpu_per_build:.2} ms each; {forces_per_second:.0} forces/s, \
             {cpu_per_force:.2} ms each",
            ours.name
        );
    }
}

fn median(figures: &Figures) -> &Dispatch {
    let mut rounds: Vec<&Dispatch> = figures.dispatch.iter().collect();
    rounds.sort_by(|a, b| a.cpu_per_build.total_cmp(&b.cpu_per_build));
    rounds[rounds.len() / 2]
}

fn number(value: f64) -> String {
    match value {
        value if value.is_nan() => "-".to_owned(),
        value if value.fract() == 0.0 => format!("{value:.0}"),
        value => format!("{value:.2}"),
    }
}
