//! Explores the models, and sees that the absence of each defence is found.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{HashSet, VecDeque};

use muster_model::{
    cluster::{self, Cluster, Faults, Weakness},
    locks::{self, Locks},
};
use stateright::{Checker, HasDiscoveries, Model};

const INVARIANTS: &str = "the invariants hold";

/// Which faults come together. Each line is explored completely.
const FAULTS: [Faults; 6] = [
    // A master is killed in the middle of a transaction, and its answer is lost.
    Faults { kills: 1, lost_answers: 1, ..NONE },
    // A master stands still for as long as it takes.
    Faults { ticks: 5, pauses: 1, ..NONE },
    // A master loses the database, and gets it back.
    Faults { ticks: 5, partitions: 1, ..NONE },
    // The worker's connection breaks, and frames come twice.
    Faults { cuts: 2, duplicates: 1, ..NONE },
    // The worker is killed while its connection breaks.
    Faults { cuts: 1, worker_restarts: 1, ..NONE },
    // The worker and its master are killed, and an answer is lost.
    Faults { kills: 1, lost_answers: 1, worker_restarts: 1, ..NONE },
];
const NONE: Faults = Faults {
    ticks: 0,
    kills: 0,
    pauses: 0,
    partitions: 0,
    lost_answers: 0,
    duplicates: 0,
    cuts: 0,
    worker_restarts: 0,
};

fn explore(faults: Faults, weakness: Option<Weakness>) -> impl Checker<Cluster> {
    // The way of the first violation, or everything.
    let until = HasDiscoveries::AnyFailures;
    Cluster { faults, weakness }.checker().threads(2).finish_when(until).spawn_bfs().join()
}

#[test]
fn no_combination_of_faults_breaks_an_invariant() {
    for faults in FAULTS {
        let checker = explore(faults, None);
        eprintln!("{faults:?}: {} states", checker.unique_state_count());
        if let Some(path) = checker.discovery(INVARIANTS) {
            let verdict = cluster::verdict(checker.model(), path.last_state());
            panic!("{verdict:?} after {:#?}", path.into_actions());
        }
        assert!(
            checker.discovery("a request is completed").is_some(),
            "{faults:?}: nothing is ever completed"
        );
        let retried = checker.discovery("by a second build").is_some();
        assert_eq!(
            retried,
            faults.worker_restarts > 0,
            "{faults:?}: a second build is for a worker that was lost"
        );
        let moved = checker.discovery("after its run was taken over").is_some();
        assert!(moved, "{faults:?}: no run was ever taken over");
    }
}

fn found(weakness: Weakness, faults: Faults, words: &str) {
    let checker = explore(faults, Some(weakness));
    let path = checker.discovery(INVARIANTS).unwrap_or_else(|| panic!("{weakness:?} was not found"));
    let said = cluster::verdict(checker.model(), path.last_state()).unwrap_err().to_string();
    assert!(said.contains(words), "{weakness:?} was found by another rule: {said}");
    // Without the weakness the same faults do no harm.
    let healthy = explore(faults, None);
    assert!(healthy.discovery(INVARIANTS).is_none(), "{faults:?}");
}

#[test]
fn a_broken_check_of_epochs_is_found() {
    found(Weakness::NoFence, Faults { cuts: 1, ..NONE }, "a write under epoch 1 about a run of epoch 2");
}

#[test]
fn a_broken_trust_deadline_is_found() {
    let still = Faults { ticks: 4, pauses: 1, ..NONE };
    let words = "a master acts although others have ended its lease";
    found(Weakness::LongTrust, still, words);
    found(Weakness::ClockStandsStill, still, words);
    found(Weakness::TrustFromAnswer, Faults { ticks: 5, pauses: 1, ..NONE }, words);
}

#[test]
fn every_other_missing_defence_is_found() {
    found(Weakness::BlindRetry, Faults { lost_answers: 1, ..NONE }, "is stored after update");
    found(Weakness::EarlyAcknowledgement, Faults { cuts: 1, ..NONE }, "is acknowledged, but only");
    found(Weakness::TrustingWorker, Faults { cuts: 1, duplicates: 1, ..NONE }, "an order under epoch");
    found(Weakness::NoBootId, Faults { worker_restarts: 1, ..NONE }, "was executed 2 times");
    found(Weakness::AnyNewLifeWins, Faults { worker_restarts: 1, ..NONE }, "holds its session");
}

/// Whether the request can be completed without further faults.
fn recovers(model: &Cluster, from: &cluster::State) -> bool {
    let mut from = from.clone();
    // Time goes on, and the worker may dial; nothing breaks any more.
    let model = &Cluster { faults: Faults { cuts: 50, ..model.faults }, ..model.clone() };
    from.left = Faults { ticks: cluster::STANDSTILL + 2, ..NONE };
    let (mut seen, mut next) = (HashSet::from([from.clone()]), VecDeque::from([from]));
    // Depth first, last action first: the later ones of the list are the ones that lead on.
    while let Some(state) = next.pop_back() {
        if state.complete {
            return true;
        }
        let mut actions = Vec::new();
        model.actions(&state, &mut actions);
        for action in actions.into_iter().filter(|action| !action.is_fault()) {
            let state = model.next_state(&state, action).unwrap();
            if seen.insert(state.clone()) {
                next.push_back(state);
            }
        }
    }
    false
}

#[test]
fn from_wherever_faults_lead_the_request_can_be_completed() {
    const WALKS: u64 = 400;
    const STEPS: usize = 40;
    let all = Faults {
        ticks: 5,
        kills: 1,
        pauses: 1,
        partitions: 1,
        lost_answers: 1,
        duplicates: 1,
        cuts: 2,
        worker_restarts: 1,
    };
    let model = Cluster { faults: all, weakness: None };
    for seed in 0..WALKS {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut state = model.init_states().remove(0);
        let mut taken = Vec::new();
        for _ in 0..STEPS {
            let mut actions = Vec::new();
            model.actions(&state, &mut actions);
            let Some(action) = random.choice(actions) else { break };
            state = model.next_state(&state, action).unwrap();
            taken.push(action);
            let verdict = cluster::verdict(&model, &state);
            assert!(verdict.is_ok(), "seed {seed}: {verdict:?} after {taken:#?}");
        }
        assert!(recovers(&model, &state), "seed {seed}: the request is stuck after {taken:#?}\n{state:#?}");
    }
}

fn explore_locks(adoptions: u8, lost_answers: u8, weakness: Option<locks::Weakness>) -> impl Checker<Locks> {
    let model = Locks { adoptions, lost_answers, weakness };
    model.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join()
}

#[test]
fn a_lock_is_never_over_held_and_every_build_gets_it() {
    let checker = explore_locks(2, 2, None);
    eprintln!("{} states", checker.unique_state_count());
    assert!(checker.discovery(INVARIANTS).is_none());
    assert!(checker.discovery("every build ends").is_some());
}

#[test]
fn a_lock_without_fence_or_taken_in_two_steps_is_found_over_held() {
    for weakness in [locks::Weakness::NoFence, locks::Weakness::LooksBeforeItLocks] {
        let path = explore_locks(1, 0, Some(weakness)).discovery(INVARIANTS);
        assert!(path.is_some(), "{weakness:?} was not found");
    }
}
