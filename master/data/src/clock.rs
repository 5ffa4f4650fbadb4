//! The clocks of this machine, and what stands in for them in a simulation.

use std::{
    cell::Cell,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use muster_core::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

thread_local! {
    /// When the simulation that runs in this thread began, by the clock of its runtime.
    static SIMULATED_SINCE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// What the clocks show at the beginning of a simulation: the same for each, or a seed would not replay.
const BEGIN: Duration = Duration::from_secs(1_700_000_000);

/// From now on the clocks of this thread go as its runtime's does, which tests may stop. For a runtime that has this thread
/// only; release builds can't be told.
pub fn simulate() {
    if cfg!(debug_assertions) {
        SIMULATED_SINCE.set(Some(Instant::now()));
    }
}

fn simulated() -> Option<Duration> {
    let since = cfg!(debug_assertions).then(|| SIMULATED_SINCE.get()).flatten()?;
    Some(BEGIN + since.elapsed())
}

/// The present second, by this machine's clock.
pub fn now() -> Timestamp {
    let since_epoch =
        simulated().unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
    Timestamp(i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX))
}

/// The time since this machine started, in nanoseconds: it counts on while the machine or the process is suspended.
pub(crate) fn uptime() -> u64 {
    let time = simulated().unwrap_or_else(|| {
        let time = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
        Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
    });
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
