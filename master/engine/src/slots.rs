//! All workers of an engine.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use muster_core::WorkerId;
use muster_data::Trust;
use tokio::sync::watch;

use crate::sessions::{Bells, Missed, Slot};

/// All workers of the configuration.
#[derive(Clone)]
pub(crate) struct Slots(Arc<SlotsInner>);

struct SlotsInner {
    known: Mutex<Known>,
    bells: Bells,
    trust: Trust,
}

#[derive(Default)]
struct Known {
    by_name: BTreeMap<String, Slot>,
    by_id: HashMap<WorkerId, Slot>,
}

impl Slots {
    pub(crate) fn new(trust: Trust) -> Slots {
        Slots(Arc::new(SlotsInner { known: Mutex::default(), bells: Bells::default(), trust }))
    }

    /// Makes the slots what the configuration names; a worker that is gone from it loses its connection.
    pub(crate) fn configure(&self, workers: &BTreeMap<String, WorkerId>) {
        let mut known = self.known();
        let slots = &mut known.by_name;
        slots.retain(|name, slot| {
            let stays = workers.contains_key(name);
            if !stays {
                slot.close("this worker is no longer configured");
            }
            stays
        });
        for (name, id) in workers {
            let slot = || Slot::new(name, *id, self.0.bells.clone(), self.0.trust.clone());
            slots.entry(name.clone()).or_insert_with(slot);
        }
        known.by_id = known.by_name.values().map(|slot| (slot.id(), slot.clone())).collect();
    }

    pub(crate) fn get(&self, name: &str) -> Option<Slot> {
        self.known().by_name.get(name).cloned()
    }

    pub(crate) fn by_id(&self, id: WorkerId) -> Option<Slot> {
        self.known().by_id.get(&id).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Slot> {
        self.known().by_name.values().cloned().collect()
    }

    /// Workers that have builds here and are away.
    pub(crate) fn missed(&self) -> Vec<Missed> {
        self.known().by_name.values().filter_map(Slot::missed).collect()
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

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
