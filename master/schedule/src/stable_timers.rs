//! The tree-stable timers: a build waits until no further change has come for a while.

use std::{collections::HashMap, time::Duration};

use muster_core::Change;
use tokio::time::Instant;

/// What one timer waits for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TimerKey {
    /// The one timer of a scheduler for a single branch.
    Only,
    /// One line of development.
    Line { codebase: String, project: String, repository: String, branch: Option<String> },
}

impl TimerKey {
    /// The key of the line that a change belongs to.
    pub(crate) fn of_line(change: &Change) -> TimerKey {
        TimerKey::Line {
            codebase: change.codebase.clone(),
            project: change.project.clone(),
            repository: change.repository.clone(),
            branch: change.branch.clone(),
        }
    }
}

/// Running timers. They live in memory; the changes they wait with are kept in the database, and at a start
/// [`StableTimers::observe`] is told about all of them again, which starts the waiting anew.
#[derive(Debug)]
pub(crate) struct StableTimers {
    wait: Duration,
    running: HashMap<TimerKey, Instant>,
}

impl StableTimers {
    /// Timers that fire `wait` after the last change.
    pub(crate) fn new(wait: Duration) -> StableTimers {
        StableTimers { wait, running: HashMap::new() }
    }

    /// A change was kept. An important one starts its timer; an unimportant one only restarts it.
    pub(crate) fn observe(&mut self, key: TimerKey, important: bool, now: Instant) {
        if important || self.running.contains_key(&key) {
            self.running.insert(key, now + self.wait);
        }
    }

    /// Timers that have run out. They go on being due until [`StableTimers::done`].
    pub(crate) fn due(&self, now: Instant) -> Vec<TimerKey> {
        self.running.iter().filter(|(_, end)| **end <= now).map(|(key, _)| key.clone()).collect()
    }

    /// What the timer waited for was built.
    pub(crate) fn done(&mut self, key: &TimerKey) {
        self.running.remove(key);
    }

    /// Nobody waits any longer.
    pub(crate) fn clear(&mut self) {
        self.running.clear();
    }

    /// When the next timer runs out.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.running.values().min().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(60);

    fn line(branch: &str) -> TimerKey {
        TimerKey::Line {
            codebase: String::new(),
            project: String::new(),
            repository: String::new(),
            branch: Some(branch.to_owned()),
        }
    }

    #[test]
    fn every_change_prolongs_the_wait() {
        let begin = Instant::now();
        let mut timers = StableTimers::new(WAIT);
        timers.observe(TimerKey::Only, true, begin);
        timers.observe(TimerKey::Only, false, begin + WAIT / 2);
        assert!(timers.due(begin + WAIT).is_empty());
        assert_eq!(timers.due(begin + WAIT / 2 + WAIT), [TimerKey::Only]);
        timers.done(&TimerKey::Only);
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn an_unimportant_change_starts_nothing() {
        let now = Instant::now();
        let mut timers = StableTimers::new(WAIT);
        timers.observe(TimerKey::Only, false, now);
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn lines_wait_for_themselves() {
        let now = Instant::now();
        let mut timers = StableTimers::new(WAIT);
        timers.observe(line("a"), true, now);
        timers.observe(line("b"), true, now + WAIT / 2);
        assert_eq!(timers.due(now + WAIT), [line("a")]);
        timers.done(&line("a"));
        assert_eq!(timers.next(), Some(now + WAIT / 2 + WAIT));
    }
}
