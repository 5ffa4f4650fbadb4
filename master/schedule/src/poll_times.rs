//! When a poller polls (`docs/compat/behaviour-3-changes-schedulers.md` 3.2).

use std::time::Duration;

use muster_config::snapshot::GitPollerConfig;
use tokio::time::Instant;

/// Polls come at multiples of the interval since the start, each delayed a little by chance, so that many pollers of one
/// server don't ask at the same moment.
#[derive(Clone, Debug)]
pub(crate) struct PollTimes {
    start: Instant,
    interval: Duration,
    delay_min: Duration,
    delay_max: Duration,
}

impl PollTimes {
    pub(crate) fn new(config: &GitPollerConfig, start: Instant) -> PollTimes {
        let seconds = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or_default();
        PollTimes {
            start,
            interval: seconds(config.poll_interval),
            delay_min: seconds(config.poll_random_delay_min),
            delay_max: seconds(config.poll_random_delay_max),
        }
    }

    /// The first poll, at once or after one interval. `None`: it never polls by itself.
    pub(crate) fn first(&self, at_launch: bool, chance: f64) -> Option<Instant> {
        if self.interval.is_zero() {
            return None;
        }
        let base = if at_launch { self.start } else { self.start + self.interval };
        Some(base + self.delay(chance))
    }

    /// The poll after one that ended at `now`; multiples that went by meanwhile are left out.
    pub(crate) fn next(&self, now: Instant, chance: f64) -> Option<Instant> {
        if self.interval.is_zero() {
            return None;
        }
        let passed = now.duration_since(self.start).as_nanos() / self.interval.as_nanos();
        let multiple = u32::try_from(passed + 1).unwrap_or(u32::MAX);
        Some(self.start + self.interval * multiple + self.delay(chance))
    }

    /// `chance` is between 0 and 1.
    fn delay(&self, chance: f64) -> Duration {
        self.delay_min + self.delay_max.saturating_sub(self.delay_min).mul_f64(chance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn times(interval: u64, delay: (u64, u64)) -> PollTimes {
        let (delay_min, delay_max) = (seconds(delay.0), seconds(delay.1));
        PollTimes { start: Instant::now(), interval: seconds(interval), delay_min, delay_max }
    }

    #[test]
    fn polls_keep_to_multiples_of_the_interval() {
        let times = times(60, (0, 0));
        let start = times.start;
        assert_eq!(times.first(true, 0.0), Some(start));
        assert_eq!(times.first(false, 0.0), Some(start + seconds(60)));
        assert_eq!(times.next(start + seconds(1), 0.0), Some(start + seconds(60)));
        assert_eq!(
            times.next(start + seconds(150), 0.0),
            Some(start + seconds(180)),
            "a long poll skips multiples"
        );
    }

    #[test]
    fn chance_delays_within_its_bounds() {
        let times = times(60, (5, 15));
        assert_eq!(times.first(true, 0.0), Some(times.start + seconds(5)));
        assert_eq!(times.first(true, 1.0), Some(times.start + seconds(15)));
    }

    #[test]
    fn an_interval_of_zero_never_polls() {
        let times = times(0, (0, 0));
        assert_eq!(times.first(true, 0.0), None);
        assert_eq!(times.next(times.start, 0.0), None);
    }
}
