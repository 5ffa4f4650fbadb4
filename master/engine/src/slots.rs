//! All workers of an engine.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use muster_core::WorkerId;
use tokio::sync::watch;

use crate::sessions::{Bells, Slot};

/// All workers of the configuration.
#[derive(Clone)]
pub(crate) struct Slots(Arc<SlotsInner>);

struct SlotsInner {
    by_name: Mutex<BTreeMap<String, Slot>>,
    bells: Bells,
}

impl Slots {
    pub(crate) fn new() -> Slots {
        Slots(Arc::new(SlotsInner { by_name: Mutex::default(), bells: Bells::default() }))
    }

    /// Makes the slots what the configuration names; a worker that is gone from it loses its connection.
    pub(crate) fn configure(&self, workers: &BTreeMap<String, WorkerId>) {
        let mut slots = self.slots();
        slots.retain(|name, slot| {
            let stays = workers.contains_key(name);
            if !stays {
                slot.close("this worker is no longer configured");
            }
            stays
        });
        for (name, id) in workers {
            slots.entry(name.clone()).or_insert_with(|| Slot::new(name, *id, self.0.bells.clone()));
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<Slot> {
        self.slots().get(name).cloned()
    }

    pub(crate) fn by_id(&self, id: WorkerId) -> Option<Slot> {
        self.slots().values().find(|slot| slot.id() == id).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Slot> {
        self.slots().values().cloned().collect()
    }

    /// Tells when any worker came, went or became free.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.0.bells.changed.subscribe()
    }

    /// Tells when a worker has connected.
    pub(crate) fn arrivals(&self) -> watch::Receiver<u64> {
        self.0.bells.come.subscribe()
    }

    /// Tells when a worker has come with commands of which nobody here knows.
    pub(crate) fn strangers(&self) -> watch::Receiver<u64> {
        self.0.bells.strange.subscribe()
    }

    fn slots(&self) -> MutexGuard<'_, BTreeMap<String, Slot>> {
        self.0.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
