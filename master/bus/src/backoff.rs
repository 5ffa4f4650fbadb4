//! How long to wait before the router is tried again.

use std::time::Duration;

/// The first pause.
const FIRST: Duration = Duration::from_millis(100);
/// The longest pause while the router can't be reached: short, because masters should be fresh soon after its return,
/// and a dial costs next to nothing.
const LONGEST_UNREACHABLE: Duration = Duration::from_millis(1500);
/// The longest pause when the router refuses this master: that needs a person.
const LONGEST_REFUSED: Duration = Duration::from_secs(30);

/// Growing pauses, each shortened at random by up to a half so that masters don't come in step.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    attempts: u32,
    was_refused: bool,
}

impl Backoff {
    /// It worked.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }

    /// The pause after a failure; `random` is from 0 to 1. A failure of the other kind begins anew: a router that has just
    /// come back may refuse everybody for a moment, as Crossbar does before its realms are there.
    pub fn next(&mut self, was_refused: bool, random: f64) -> Duration {
        if std::mem::replace(&mut self.was_refused, was_refused) != was_refused {
            self.attempts = 0;
        }
        let longest = if was_refused { LONGEST_REFUSED } else { LONGEST_UNREACHABLE };
        let doubled = FIRST.saturating_mul(1 << self.attempts.min(16));
        self.attempts = self.attempts.saturating_add(1);
        doubled.min(longest).mul_f64(1.0 - random.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_are_scattered() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u128> = (0..6).map(|_| backoff.next(false, 0.0).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1500, 1500]);
        assert_eq!(backoff.next(false, 1.0).as_millis(), 750);
        assert_eq!(backoff.next(true, 0.0), FIRST);
        for _ in 0..100 {
            backoff.next(true, 0.0);
        }
        assert_eq!(backoff.next(true, 0.0), LONGEST_REFUSED);
        backoff.reset();
        assert_eq!(backoff.next(true, 0.0), FIRST);
    }
}
