//! Waiting for states that nobody announces.

use std::time::{Duration, Instant};

/// Nothing that is waited for takes longer, also on a busy machine; what hangs shall fail.
pub const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// Looks until there is something to see.
///
/// # Panics
/// When there is nothing within [`PATIENCE`].
#[track_caller]
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    until_ok(|| look().ok_or_else(|| what.to_owned()))
}

/// Tries until it succeeds.
///
/// # Panics
/// With the last error, when it fails for longer than [`PATIENCE`].
#[track_caller]
pub fn until_ok<T>(mut attempt: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Ok(seen) => return seen,
            Err(missing) => assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain: {missing}"),
        }
        std::thread::sleep(POLL);
    }
}
