//! What never happens in a cluster, however masters, workers, routers and databases fail.
//!
//! Pure functions over plain facts. The model checker asks them in every state it reaches, the simulations after every
//! step, the torture test of what it finds in the database and on the workers' disks, and debug builds where the facts
//! are made. So each rule is written down once.

use std::{collections::BTreeMap, time::Duration};

use crate::{CommandId, Epoch, lock::Queued};

/// A rule that was broken, in words for whoever reads the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation(pub String);

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Violation {}

/// Whether a rule holds.
pub type Verdict = Result<(), Violation>;

fn rule(holds: bool, broken: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(Violation(broken())) }
}

/// Panics with the rule that is broken. Only debug builds look.
#[track_caller]
pub fn debug_check(verdict: impl FnOnce() -> Verdict) {
    if cfg!(debug_assertions)
        && let Err(violation) = verdict()
    {
        panic!("an invariant of the cluster is broken: {violation}");
    }
}

/// A master stops acting before anybody may take over: the time it trusts itself after it asked for a renewal is shorter
/// than the standstill after which an observer expires it.
pub fn trust_ends_first(trust: Duration, standstill: Duration) -> Verdict {
    rule(trust < standstill, || {
        format!("a master trusts itself for {trust:?}, but is expired after {standstill:?}")
    })
}

/// A master whose lease others have ended does not act: no order, no acknowledgement, no outgoing call.
pub fn expired_acts_no_more(expired: bool, trusts_itself: bool) -> Verdict {
    rule(!(expired && trusts_itself), || "a master acts although others have ended its lease".to_owned())
}

/// A write about a run carries the epoch that the run's row has at that moment.
pub fn write_is_fenced(row: Epoch, writer: Epoch) -> Verdict {
    rule(row == writer, || format!("a write under epoch {} about a run of epoch {}", writer.0, row.0))
}

/// An epoch grows by each change of owner, and by nothing else.
pub fn epoch_rises(before: Epoch, after: Epoch) -> Verdict {
    rule(after.0 == before.0 + 1, || format!("epoch {} follows epoch {}", after.0, before.0))
}

/// A worker takes no order under a lower epoch than one that it has seen for the same command.
pub fn order_is_current(seen: Epoch, order: Epoch) -> Verdict {
    rule(order >= seen, || format!("an order under epoch {} after one under {}", order.0, seen.0))
}

/// No command is executed twice, on whichever worker.
pub fn executed_once(executions: impl IntoIterator<Item = CommandId>) -> Verdict {
    let mut counts = BTreeMap::<CommandId, u32>::new();
    for command in executions {
        *counts.entry(command).or_default() += 1;
    }
    match counts.into_iter().find(|(_, count)| *count > 1) {
        Some((command, count)) => Err(Violation(format!("command {command} was executed {count} times"))),
        None => Ok(()),
    }
}

/// What a commit stores continues what is stored: nothing twice, nothing left out. `first` is the number of the first
/// update that is stored now.
pub fn stores_next(stored: u64, first: u64) -> Verdict {
    rule(first == stored + 1, || format!("update {first} is stored after update {stored}"))
}

/// Only what is stored is acknowledged: the worker drops it then.
pub fn acknowledged_is_stored(acknowledged: u64, stored: u64) -> Verdict {
    rule(acknowledged <= stored, || {
        format!("update {acknowledged} is acknowledged, but only {stored} are stored")
    })
}

/// The holders of a lock fit into it: one exclusive one, or as many units as there are.
pub fn lock_is_not_over_held(queue: &[Queued], max_count: i64) -> Verdict {
    let held = || queue.iter().filter(|claim| claim.held && (claim.exclusive || claim.units > 0));
    let units: i64 = held().map(|claim| claim.units).sum();
    let exclusive = held().any(|claim| claim.exclusive);
    rule(if exclusive { held().count() == 1 } else { units <= max_count }, || {
        format!(
            "{} holders with {units} units of a lock of {max_count} (exclusive: {exclusive})",
            held().count()
        )
    })
}

/// Where a build request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestFacts {
    /// It has its final result.
    pub complete: bool,
    /// A master has claimed it.
    pub claimed: bool,
    /// Builds of it that are being executed.
    pub running: usize,
    /// Builds of it that ended with a result other than RETRY.
    pub final_builds: usize,
}

/// A request is never lost, and never run twice: it is pending, or claimed with exactly one running build, or complete
/// with exactly one final build.
pub fn request_is_kept(facts: RequestFacts) -> Verdict {
    let RequestFacts { complete, claimed, running, final_builds } = facts;
    let holds = match (complete, claimed) {
        (true, _) => running == 0 && final_builds == 1,
        (false, true) => running == 1 && final_builds == 0,
        (false, false) => running == 0 && final_builds == 0,
    };
    rule(holds, || format!("a request stands as no request may: {facts:?}"))
}

/// A build is stopped if that was ordered, and for no other reason: no order is lost, whoever owns the build by then. `ordered`
/// is how long before its end the order was given, `hearing` how long its owner may take to hear of it.
pub fn stopped_as_ordered(ordered: Option<Duration>, hearing: Duration, cancelled: bool) -> Verdict {
    match ordered {
        None => rule(!cancelled, || "a build was stopped that nobody ordered to stop".to_owned()),
        Some(before) => rule(cancelled || before <= hearing, || {
            format!("a build ended otherwise {before:?} after it was ordered to stop")
        }),
    }
}

/// A build that was ordered to stop ends soon. `took` is the time since the order, or since its worker and its owner can be
/// reached.
pub fn stopped_build_ends(took: Duration, bound: Duration) -> Verdict {
    rule(took <= bound, || format!("a build ended only {took:?} after it was ordered to stop"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BuildId;

    fn claim(exclusive: bool, units: i64, held: bool) -> Queued {
        Queued { exclusive, units, held }
    }

    #[test]
    fn a_lock_is_over_held_by_too_many_units_or_by_company_of_an_exclusive_claim() {
        let holds = |queue: &[Queued]| lock_is_not_over_held(queue, 2).is_ok();
        assert!(holds(&[claim(false, 1, true), claim(false, 1, true), claim(false, 1, false)]));
        assert!(!holds(&[claim(false, 1, true), claim(false, 2, true)]));
        assert!(holds(&[claim(true, 1, true), claim(false, 0, true)]));
        assert!(!holds(&[claim(true, 1, true), claim(false, 1, true)]));
        assert!(!holds(&[claim(true, 1, true), claim(true, 1, true)]));
    }

    #[test]
    fn a_request_is_pending_running_or_complete() {
        let holds = |complete, claimed, running, final_builds| {
            request_is_kept(RequestFacts { complete, claimed, running, final_builds }).is_ok()
        };
        assert!(holds(false, false, 0, 0) && holds(false, true, 1, 0) && holds(true, true, 0, 1));
        assert!(!holds(false, true, 0, 0), "an orphaned claim");
        assert!(!holds(false, true, 2, 0), "two builds at once");
        assert!(!holds(false, false, 0, 1), "complete, and pending again");
        assert!(!holds(true, true, 0, 2), "two final builds");
    }

    #[test]
    fn builds_are_stopped_as_ordered() {
        let seconds = Duration::from_secs;
        let holds = |ordered, cancelled| stopped_as_ordered(ordered, seconds(10), cancelled).is_ok();
        assert!(holds(None, false) && !holds(None, true), "nobody ordered that");
        assert!(holds(Some(seconds(60)), true) && holds(Some(seconds(10)), false));
        assert!(!holds(Some(seconds(11)), false), "the order was lost");
        assert!(stopped_build_ends(seconds(5), seconds(5)).is_ok());
        assert!(stopped_build_ends(seconds(6), seconds(5)).is_err());
    }

    #[test]
    fn executions_are_counted_over_all_workers() {
        let command = |ordinal| CommandId { build: BuildId(1), step: 0, ordinal };
        assert_eq!(executed_once([command(1), command(2)]), Ok(()));
        assert!(executed_once([command(1), command(2), command(1)]).is_err());
    }

    #[test]
    fn numbers_are_compared_the_right_way() {
        assert!(stores_next(3, 4).is_ok() && stores_next(3, 3).is_err() && stores_next(3, 5).is_err());
        assert!(acknowledged_is_stored(3, 3).is_ok() && acknowledged_is_stored(4, 3).is_err());
        assert!(epoch_rises(Epoch(1), Epoch(2)).is_ok() && epoch_rises(Epoch(2), Epoch(2)).is_err());
        assert!(
            order_is_current(Epoch(2), Epoch(2)).is_ok() && order_is_current(Epoch(2), Epoch(1)).is_err()
        );
        assert!(write_is_fenced(Epoch(2), Epoch(2)).is_ok() && write_is_fenced(Epoch(2), Epoch(1)).is_err());
        let seconds = Duration::from_secs;
        assert!(trust_ends_first(seconds(4), seconds(8)).is_ok());
        assert!(trust_ends_first(seconds(8), seconds(8)).is_err());
        assert!(expired_acts_no_more(true, false).is_ok() && expired_acts_no_more(true, true).is_err());
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "an invariant of the cluster is broken")]
    fn a_debug_build_stops_at_a_broken_rule() {
        debug_check(|| stores_next(1, 1));
    }
}
