//! `make torture`: `muster-torture [SEED [MINUTES [WORKERS]]]`.
//!
//! Fewer workers than the usual 40 are for a machine that has other things to do.

use std::process::ExitCode;
use std::time::Duration;

use muster_torture::run::{self, Plan};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let mut number = |name: &str| {
        arguments
            .next()
            .map(|text| text.parse::<u64>().unwrap_or_else(|_| panic!("{name}: {text} is no number")))
    };
    let seed = number("SEED").unwrap_or_else(|| fastrand::u64(..1_000_000));
    let minutes = number("MINUTES").unwrap_or(10);
    let mut plan = Plan::long(seed, Duration::from_secs(minutes * 60));
    if let Some(workers) = number("WORKERS") {
        plan.have_workers(workers as usize);
    }
    let violations = run::torture(&plan);
    if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
