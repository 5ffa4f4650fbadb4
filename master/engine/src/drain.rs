//! An engine that goes: it takes nothing new, and hands over what others can take.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use muster_core::WorkerId;
use muster_store::buildsets::Pending;
use tokio::time::Instant;

use crate::Engine;

/// How long the list of other engines is used before it is read again: hundreds of workers may come at once.
const OTHERS_LAST: Duration = Duration::from_secs(3);

/// What an engine still takes. It only goes forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Going {
    /// Everything: it stays.
    No,
    /// What its running builds wait for, and nothing else: it finishes them. Idle workers go to other engines.
    Finishing,
    /// The same, and its workers are to go to other engines.
    HandingOff,
}

/// What an engine has to do yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Builds on workers that can go to another engine: others can go on with them.
    pub movable: usize,
    /// Builds whose commands end with this process.
    pub bound: usize,
}

impl Load {
    /// All of them.
    pub fn total(self) -> usize {
        self.movable + self.bound
    }
}

/// How long a worker that was sent away may take to leave, before it is told again.
const SENT_AGAIN: Duration = Duration::from_secs(3);

/// Idle workers that were told to leave, and when.
#[derive(Default)]
pub struct SentAway(HashMap<WorkerId, Instant>);

/// Where other engines take workers, as far as it was read lately.
#[derive(Default)]
pub(crate) struct Others(Mutex<Option<(Instant, Vec<String>)>>);

impl Engine {
    /// From now on this engine takes less.
    pub fn go(&self, going: Going) {
        self.0.going.send_if_modified(|now| {
            let further = going > *now;
            *now = going.max(*now);
            further
        });
        self.0.runs.poke();
    }

    pub(crate) fn going(&self) -> Going {
        *self.0.going.borrow()
    }

    /// Whether a request may be claimed here.
    pub(crate) fn takes(&self, pending: &Pending) -> bool {
        self.data().trust().is_held() && (self.going() == Going::No || pending.waited_for)
    }

    /// What is under way here.
    pub fn load(&self) -> Load {
        let mut load = Load::default();
        for key in self.0.runs.keys() {
            match self.0.runs.worker_of(&key).is_some_and(|slot| slot.is_bound()) {
                true => load.bound += 1,
                false => load.movable += 1,
            }
        }
        load
    }

    /// Sends the workers that are connected to other engines; their builds follow them. `false`: there are no others.
    pub async fn send_workers_away(&self, reason: &str) -> bool {
        // Not what was read lately: an engine that has just come may be the only other one.
        let others = self.read_others().await;
        if others.is_empty() {
            return false;
        }
        for slot in self.slots().all() {
            // Each worker its own order, so that not all of them come to the same engine.
            let mut elsewhere = others.clone();
            fastrand::shuffle(&mut elsewhere);
            slot.redirect(reason, &elsewhere);
        }
        true
    }

    /// Sends the connected workers without a build to other engines, if there are any: new builds begin there, and none here.
    /// Without others they stay: what is finished here may wait for a build that needs them.
    pub async fn send_idle_workers_away(&self, sent: &mut SentAway, reason: &str) {
        let others = self.others().await;
        sent.0.retain(|_, at| at.elapsed() < SENT_AGAIN);
        if others.is_empty() {
            return;
        }
        for slot in self.slots().all() {
            if slot.is_busy() || !slot.is_connected() || sent.0.contains_key(&slot.id()) {
                continue;
            }
            sent.0.insert(slot.id(), Instant::now());
            let mut elsewhere = others.clone();
            fastrand::shuffle(&mut elsewhere);
            slot.redirect(reason, &elsewhere);
        }
    }

    /// Gives up the builds whose commands end with this process: their requests are pending again.
    pub fn give_up_bound(&self) {
        for slot in self.slots().all() {
            if slot.is_bound() && slot.is_busy() {
                slot.give_up();
            }
        }
    }

    /// Where other engines take workers, as far as it was read lately.
    pub(crate) async fn others(&self) -> Vec<String> {
        let known = self.0.others.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, others)) = known.filter(|(at, _)| at.elapsed() < OTHERS_LAST) {
            return others;
        }
        self.read_others().await
    }

    /// The same, as it is now.
    async fn read_others(&self) -> Vec<String> {
        match self.data().live_engines().await {
            Ok(engines) => {
                let others = engines.into_iter().filter(|engine| engine.master != self.master());
                let others: Vec<String> = others.flat_map(|engine| engine.sessions).collect();
                let read = Some((Instant::now(), others.clone()));
                *self.0.others.0.lock().unwrap_or_else(PoisonError::into_inner) = read;
                others
            }
            Err(error) => {
                tracing::debug!(%error, "can't read where other engines are");
                Vec::new()
            }
        }
    }
}
