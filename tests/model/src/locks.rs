//! Builds on two masters that want one lock.
//!
//! A build asks for the lock until it has it, works, and ends; the lock goes with the end, in one transaction. A run may
//! change its owner at any time, and the answer to each transaction may be lost, after which it is done again.

use muster_core::{
    invariants::{self, Verdict, Violation},
    lock::{Queued, is_available},
};
use stateright::{Model, Property};

/// Builds: what they want of the lock.
pub const WISHES: [Queued; 4] = [counting(1), exclusive(), counting(1), counting(2)];
/// Units of the lock.
pub const MAX_COUNT: i64 = 2;

const fn counting(units: i64) -> Queued {
    Queued { exclusive: false, units, held: false }
}

const fn exclusive() -> Queued {
    Queued { exclusive: true, units: 1, held: false }
}

/// A defence that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weakness {
    /// A former owner may still write about its run.
    NoFence,
    /// Whoever decides does not see who else is about to: what two transactions at once are without a lock.
    LooksBeforeItLocks,
}

/// The model.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Locks {
    pub adoptions: u8,
    pub lost_answers: u8,
    pub weakness: Option<Weakness>,
}

/// What a build does, as its owner knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Phase {
    Wants,
    /// It saw that the lock is free; only with [`Weakness::LooksBeforeItLocks`].
    SawItFree,
    Works,
    /// It has ended, and waits for the answer.
    Ends,
    Over,
}

/// One owner's view of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Owner {
    pub epoch: i64,
    pub phase: Phase,
}

/// A claim in the queue, by its build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Claim {
    pub build: usize,
    pub held: bool,
}

/// The table, the runs' epochs, and all who believe that they own a run: the present owner is the last one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub struct State {
    pub queue: Vec<Claim>,
    pub epochs: [i64; WISHES.len()],
    pub over: [bool; WISHES.len()],
    pub owners: [Vec<Owner>; WISHES.len()],
    pub adoptions: u8,
    pub lost_answers: u8,
}

/// One event; `owner` is the place among those who believe that they own the build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Action {
    /// Asks for the lock: takes a place in the queue, and the lock when it is its turn.
    Take { build: usize, owner: usize, lost: bool },
    /// Ends, and gives the lock back.
    End { build: usize, owner: usize, lost: bool },
    /// Another master takes the run.
    Adopt { build: usize },
}

impl Locks {
    fn is_fenced(&self, state: &State, build: usize, owner: usize) -> bool {
        let is_owner = state.owners[build][owner].epoch == state.epochs[build] && !state.over[build];
        self.weakness != Some(Weakness::NoFence) && !is_owner
    }

    fn take(&self, state: &mut State, build: usize, owner: usize) -> Phase {
        if self.is_fenced(state, build, owner) {
            return Phase::Over;
        }
        let phase = state.owners[build][owner].phase;
        let mut queue = state.queue.clone();
        let place = queue.iter().position(|claim| claim.build == build).unwrap_or_else(|| {
            queue.push(Claim { build, held: false });
            queue.len() - 1
        });
        let free =
            phase == Phase::SawItFree || queue[place].held || is_available(&queued(&queue), place, MAX_COUNT);
        if self.weakness == Some(Weakness::LooksBeforeItLocks) && phase == Phase::Wants {
            return if free { Phase::SawItFree } else { phase };
        }
        queue[place].held = free;
        state.queue = queue;
        if free { Phase::Works } else { phase }
    }

    fn end(&self, state: &mut State, build: usize, owner: usize) -> Phase {
        if !self.is_fenced(state, build, owner) {
            state.queue.retain(|claim| claim.build != build);
            state.over[build] = true;
        }
        Phase::Over
    }
}

fn queued(queue: &[Claim]) -> Vec<Queued> {
    queue.iter().map(|claim| Queued { held: claim.held, ..WISHES[claim.build] }).collect()
}

/// Which rule a state breaks: the table's, or that whoever works under a valid epoch is a holder in the table.
///
/// # Errors
/// The rule, in words.
pub fn verdict(state: &State) -> Verdict {
    invariants::lock_is_not_over_held(&queued(&state.queue), MAX_COUNT)?;
    for (build, owners) in state.owners.iter().enumerate() {
        let works = |owner: &&Owner| owner.phase == Phase::Works && owner.epoch == state.epochs[build];
        let holds = state.queue.iter().any(|claim| claim.build == build && claim.held);
        if owners.iter().any(|owner| works(&owner)) && !holds {
            return Err(Violation(format!("build {build} works without its lock")));
        }
    }
    Ok(())
}

impl Model for Locks {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            queue: Vec::new(),
            epochs: [1; WISHES.len()],
            over: [false; WISHES.len()],
            owners: std::array::from_fn(|_| vec![Owner { epoch: 1, phase: Phase::Wants }]),
            adoptions: self.adoptions,
            lost_answers: self.lost_answers,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (build, owners) in state.owners.iter().enumerate() {
            for (owner, view) in owners.iter().enumerate() {
                let both: &[bool] = if state.lost_answers > 0 { &[false, true] } else { &[false] };
                actions.extend(both.iter().filter_map(|&lost| match view.phase {
                    Phase::Wants | Phase::SawItFree => Some(Action::Take { build, owner, lost }),
                    Phase::Works | Phase::Ends => Some(Action::End { build, owner, lost }),
                    Phase::Over => None,
                }));
            }
            if state.adoptions > 0 && !state.over[build] {
                actions.push(Action::Adopt { build });
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        let (build, owner, phase, lost) = match action {
            Action::Take { build, owner, lost } => (build, owner, self.take(&mut state, build, owner), lost),
            Action::End { build, owner, lost } => (build, owner, self.end(&mut state, build, owner), lost),
            Action::Adopt { build } => {
                state.adoptions -= 1;
                state.epochs[build] += 1;
                state.owners[build].push(Owner { epoch: state.epochs[build], phase: Phase::Wants });
                return Some(state);
            }
        };
        if lost {
            // It will do the same again.
            state.lost_answers -= 1;
            if matches!(action, Action::End { .. }) {
                state.owners[build][owner].phase = Phase::Ends;
            }
        } else {
            state.owners[build][owner].phase = phase;
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("the invariants hold", |_, state| verdict(state).is_ok()),
            Property::sometimes("every build ends", |_, state: &State| state.over.iter().all(|over| *over)),
        ]
    }
}
