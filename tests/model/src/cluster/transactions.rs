//! What masters do in the database: each function is one transaction.

use muster_core::{Epoch, invariants};

use super::{
    Build, Cluster, Lease, Opening, Outcome, OwnRun, STANDSTILL, Seen, Session, State, VICTIM, Weakness,
};

/// A write about a run by its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Write {
    /// The command is about to be ordered from this life of the worker.
    Intent(u8),
    /// Everything that was received.
    Store,
    /// The run is over.
    Finish(Outcome),
}

/// Starts a build of the pending request.
pub(super) fn start_run(state: &mut State, master: usize) -> OwnRun {
    state.claimed = true;
    state.builds.push(Build { owner: master, epoch: 1, intent: None, log: Vec::new(), ends: Vec::new() });
    own(state, state.builds.len() - 1)
}

/// The run of a build, as a master has it that has just become its owner.
fn own(state: &State, build: usize) -> OwnRun {
    let row = &state.builds[build];
    let stored = row.log.len() as u64;
    OwnRun {
        build,
        epoch: row.epoch,
        intent: row.intent,
        ordered: false,
        attached: false,
        received: stored,
        stored,
    }
}

/// Applies a write and answers the run as its owner has it then; `None` when the run is no longer its.
pub(super) fn write(
    model: &Cluster,
    state: &mut State,
    run: &OwnRun,
    master: usize,
    write: Write,
) -> Option<OwnRun> {
    let row = &mut state.builds[run.build];
    let is_owner = row.owner == master && row.epoch == run.epoch && row.ends.is_empty();
    if model.has(Weakness::NoFence) && !is_owner {
        return None;
    }
    let verdict = invariants::write_is_fenced(Epoch(row.epoch), Epoch(run.epoch));
    let mut run = run.clone();
    match write {
        Write::Intent(boot) => {
            row.intent = Some(boot);
            run.intent = Some(boot);
        }
        Write::Store => {
            row.log.extend(run.stored + 1..=run.received);
            run.stored = run.received;
        }
        Write::Finish(outcome) => {
            row.ends.push(outcome);
            match outcome {
                Outcome::Success => state.complete = true,
                Outcome::Retry => state.claimed = false,
            }
        }
    }
    state.note(verdict);
    match write {
        Write::Finish(_) => None,
        _ => Some(run),
    }
}

/// Makes `master` the owner of every run that `taken` selects.
fn adopt(state: &mut State, master: usize, taken: impl Fn(&Build) -> bool) {
    for build in 0..state.builds.len() {
        let row = &mut state.builds[build];
        if !row.ends.is_empty() || !taken(row) {
            continue;
        }
        let before = row.epoch;
        row.epoch += 1;
        row.owner = master;
        let verdict = invariants::epoch_rises(Epoch(before), Epoch(row.epoch));
        state.note(verdict);
        state.masters[master].run = Some(own(state, build));
        state.masters[master].unsure = None;
    }
}

/// Ends the lease of the victim, which stands still, and takes its runs.
pub(super) fn take_over(state: &mut State) {
    state.leases[VICTIM].expired = true;
    adopt(state, 1 - VICTIM, |build| build.owner == VICTIM);
}

/// A master's new life takes its lease and its own runs.
pub(super) fn start_master(state: &mut State, master: usize) {
    let incarnation = state.masters[master].incarnation;
    state.leases[master] = Lease { incarnation, expired: false };
    moved(state);
    adopt(state, master, |build| build.owner == master);
}

/// Whether a dial wins the session; if it does, the runs on the worker come along.
pub(super) fn dial(model: &Cluster, state: &mut State, opening: Opening) -> bool {
    let Opening { boot, dial, to } = opening;
    let any_new_life = !model.has(Weakness::AnyNewLifeWins);
    let wins =
        state.session.is_none_or(|session| dial > session.dial || (any_new_life && boot != session.boot));
    if wins {
        state.session = Some(Session { boot, dial, holder: to });
        adopt(state, to, |build| build.owner != to);
    }
    wins
}

/// The other master looks at the victim's lease. Answers whether it has stood still for too long.
pub(super) fn observe(state: &mut State) -> bool {
    match &mut state.seen {
        Some(Seen { moved: false, age }) => *age >= STANDSTILL,
        seen => {
            *seen = Some(Seen { moved: false, age: 0 });
            false
        }
    }
}

/// The victim's lease is not as it was.
pub(super) fn moved(state: &mut State) {
    if let Some(seen) = &mut state.seen {
        seen.moved = true;
    }
}
