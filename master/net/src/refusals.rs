//! The lines of a log about peers that are turned away: the first ones as they are, the others as a number a minute. Who
//! guesses passwords must not push everything else out of the log.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Lines in each minute that are written as they are.
const LINES: u32 = 10;
/// How long the others are gathered.
const MINUTE: Duration = Duration::from_secs(60);

/// What one port says about those who don't come in. Clones are the same one.
#[derive(Clone)]
pub struct Refusals(Arc<Inner>);

struct Inner {
    /// What the lines are about, for people.
    port: &'static str,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    since: Option<Instant>,
    lines: u32,
    more: u64,
    /// The last one that has no line.
    last: String,
}

impl Refusals {
    /// For a port, by its name.
    pub fn new(port: &'static str) -> Refusals {
        Refusals(Arc::new(Inner { port, state: Mutex::default() }))
    }

    /// Somebody was turned away.
    pub fn tell(&self, peer: &str, reason: &dyn std::fmt::Display) {
        let mut state = self.state();
        let now = Instant::now();
        if state.since.is_none_or(|since| now - since >= MINUTE) {
            // What was gathered before is told by its own timer.
            state.since = Some(now);
            state.lines = 0;
        }
        if state.lines < LINES {
            state.lines += 1;
            drop(state);
            return tracing::warn!(peer, "a connection to {} was turned away: {reason}", self.0.port);
        }
        state.more += 1;
        state.last = format!("{peer}: {reason}");
        if state.more == 1 {
            let until = state.since.unwrap_or(now) + MINUTE;
            tokio::spawn(self.clone().sum_up(until));
        }
    }

    async fn sum_up(self, until: Instant) {
        tokio::time::sleep_until(until).await;
        let (more, last) = {
            let mut state = self.state();
            (std::mem::take(&mut state.more), std::mem::take(&mut state.last))
        };
        tracing::warn!(
            "{more} more connections to {} were turned away within a minute; the last one: {last}",
            self.0.port
        );
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_a_few_lines() {
        let refusals = Refusals::new("the port");
        let counts = || {
            let state = refusals.state();
            (state.lines, state.more)
        };
        for n in 0..10_000 {
            refusals.tell("192.0.2.1:1", &format!("try {n}"));
        }
        assert_eq!(counts(), (LINES, 10_000 - u64::from(LINES)));
        tokio::time::sleep(MINUTE + Duration::from_millis(1)).await;
        assert_eq!(counts().1, 0, "they were told");
        refusals.tell("192.0.2.1:1", &"once more");
        assert_eq!(counts(), (1, 0));
    }
}
