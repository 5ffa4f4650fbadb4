//! Requests whose builds end with RETRY at once are not built again at once, over and over: each wait is about twice as long as
//! the one before.
//!
//! The waits follow from the rows of builds alone, so every engine and every later life of one comes to the same. What is told
//! about workers follows from the same rule: several requests may lose their builds on one broken worker.

use std::time::Duration;

use crate::{BuildId, Results, Timestamp};

/// A build that ended with RETRY within this time from its beginning was of no use to anybody. One that ran for longer makes
/// no storm, whatever comes of it.
pub const AT_ONCE: Duration = Duration::from_secs(30);
/// The wait before the third build in a row; there is none before the second one: mostly a worker was lost, and another
/// takes the build. It doubles with each further one.
pub const FIRST: Duration = Duration::from_secs(2);
/// The longest wait: so long, at most, a request goes on waiting after its trouble is over.
pub const LAST: Duration = Duration::from_secs(300);
/// Builds that are looked at, newest first: more than it takes to come to the longest wait.
pub const LOOKED_AT: usize = 12;

const _: () =
    assert!(FIRST.as_secs() << (LOOKED_AT - 3) >= LAST.as_secs(), "the longest wait is never reached");

/// What a build's row says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Past {
    /// Which one.
    pub build: BuildId,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub completed: Option<Timestamp>,
    /// How.
    pub results: Option<Results>,
}

impl Past {
    /// Whether it ended with RETRY at once. Clocks of two masters may have told its beginning and its end.
    fn ended_at_once(&self) -> Option<Timestamp> {
        let completed = self.completed.filter(|_| self.results == Some(Results::Retry))?;
        (completed.0 - self.started.0 <= AT_ONCE.as_secs() as i64).then_some(completed)
    }
}

/// Builds in a row that ended with RETRY at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streak {
    /// How many there are; [`LOOKED_AT`] may stand for more.
    pub builds: u32,
    /// The last one.
    pub last: BuildId,
    /// When it ended.
    pub ended: Timestamp,
}

/// The streak with which the past of a request ends, newest build first. One that runs still says nothing yet.
pub fn of_request(newest_first: impl IntoIterator<Item = Past>) -> Option<Streak> {
    streak(newest_first, |_, _| true)
}

/// The same of a worker. Builds that ran there at the same time count once: one accident took them.
pub fn of_worker(newest_first: impl IntoIterator<Item = Past>) -> Option<Streak> {
    streak(newest_first, |later, past| past.completed.is_some_and(|ended| ended <= later.started))
}

/// `counts` tells whether a build counts beside the later one that was counted last.
fn streak(
    newest_first: impl IntoIterator<Item = Past>,
    counts: impl Fn(&Past, &Past) -> bool,
) -> Option<Streak> {
    let mut found: Option<(Streak, Past)> = None;
    for past in newest_first.into_iter().skip_while(|past| past.results.is_none()) {
        let Some(ended) = past.ended_at_once() else { break };
        match &mut found {
            None => found = Some((Streak { builds: 1, last: past.build, ended }, past)),
            Some((streak, later)) if counts(later, &past) => {
                streak.builds += 1;
                *later = past;
            }
            Some(_) => {}
        }
    }
    found.map(|(streak, _)| streak)
}

impl Streak {
    /// How long nothing begins after its end. Requests (and workers) that were hit together don't come back together:
    /// between three quarters and five quarters of the doubled time, by `id`, and the same everywhere.
    pub fn pause(&self, id: i64) -> Duration {
        let Some(doublings) = self.builds.checked_sub(2) else { return Duration::ZERO };
        let full = FIRST.saturating_mul(1 << doublings.min(20)).min(LAST);
        full * (75 + spread(id, self.builds)) / 100
    }

    /// Until when nothing begins.
    pub fn until(&self, id: i64) -> Timestamp {
        Timestamp(self.ended.0.saturating_add(self.pause(id).as_millis().div_ceil(1000) as i64))
    }

    /// How long that is from now on. A clock that was wrong when the build ended makes no wait longer.
    pub fn left(&self, id: i64, now: Timestamp) -> Duration {
        let left = self.until(id).0.saturating_sub(now.0);
        Duration::from_secs(u64::try_from(left).unwrap_or_default()).min(self.pause(id))
    }
}

/// A number from 0 to 50 that looks like chance.
fn spread(id: i64, builds: u32) -> u32 {
    let mixed = (id as u64 ^ u64::from(builds) << 32).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ((mixed >> 32) % 51) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(id: i64, started: i64, ended: i64, results: Results) -> Past {
        Past {
            build: BuildId(id),
            started: Timestamp(started),
            completed: Some(Timestamp(ended)),
            results: Some(results),
        }
    }

    fn retried(count: i64) -> Option<Streak> {
        of_request((0..count).rev().map(|id| build(id, 100 + id, 100 + id, Results::Retry)))
    }

    #[test]
    fn each_wait_is_longer_than_the_one_before_up_to_a_limit() {
        assert_eq!(retried(0), None);
        let pause = |count| retried(count).unwrap().pause(7);
        assert_eq!(pause(1), Duration::ZERO, "the first time it is built again at once");
        let waits: Vec<Duration> = (2..=LOOKED_AT as i64).map(pause).collect();
        assert!(waits[0] >= FIRST * 3 / 4 && waits[0] <= FIRST * 5 / 4);
        assert!(waits[..7].windows(2).all(|pair| pair[0] < pair[1]), "{waits:?}");
        assert!(waits.iter().all(|wait| *wait <= LAST * 5 / 4) && waits[waits.len() - 1] >= LAST * 3 / 4);
        // A minute has few of them, wherever one begins.
        assert!(waits[..5].iter().sum::<Duration>() >= Duration::from_secs(46));
    }

    #[test]
    fn requests_that_were_hit_together_come_back_one_after_the_other() {
        let pauses: std::collections::BTreeSet<Duration> =
            (0..50).map(|id| retried(8).unwrap().pause(id)).collect();
        assert!(pauses.len() > 20, "{pauses:?}");
    }

    #[test]
    fn a_build_that_ran_for_a_while_or_ended_otherwise_begins_anew() {
        let lost = |id| build(id, 100, 101, Results::Retry);
        let while_later = build(2, 100, 100 + 1 + AT_ONCE.as_secs() as i64, Results::Retry);
        assert_eq!(of_request([while_later, lost(1)]), None);
        assert_eq!(of_request([build(2, 100, 101, Results::Failure), lost(1)]), None);
        assert_eq!(of_request([lost(3), while_later, lost(1)]).unwrap().builds, 1);
        let runs = Past { completed: None, results: None, ..lost(4) };
        assert_eq!(of_request([runs, lost(3)]).unwrap().last, BuildId(3), "one that runs says nothing yet");
        assert_eq!(of_request([runs]), None);
    }

    #[test]
    fn builds_that_were_lost_together_count_once() {
        let together = (1..=4).rev().map(|id| build(id, 100 + id, 110, Results::Retry));
        assert_eq!(of_worker(together).unwrap().builds, 1);
        let twice = [build(9, 110, 120, Results::Retry), build(8, 111, 120, Results::Retry)]
            .into_iter()
            .chain([build(2, 100, 110, Results::Retry), build(1, 101, 110, Results::Retry)]);
        assert_eq!(of_worker(twice).unwrap().builds, 2);
    }

    #[test]
    fn a_clock_that_was_wrong_makes_no_wait_longer() {
        let streak = retried(4).unwrap();
        let pause = streak.pause(1);
        assert_eq!(streak.left(1, Timestamp(streak.ended.0 - 1000)), pause);
        assert_eq!(streak.left(1, Timestamp(streak.ended.0 + 1000)), Duration::ZERO);
        assert!(streak.left(1, streak.ended) <= pause.max(Duration::from_secs(1)));
    }
}
