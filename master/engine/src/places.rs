//! Room on workers: one build of a builder at a time on each, and no more than its `max_builds` in all.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use muster_core::BuilderId;

/// Places that are taken, by running builds and by requests that are about to become some.
#[derive(Clone, Default)]
pub(crate) struct Reservations(Arc<Mutex<HashMap<String, Vec<BuilderId>>>>);

/// A place on a worker; dropping it makes room again.
pub(crate) struct Reservation {
    reservations: Reservations,
    worker: String,
    builder: BuilderId,
}

impl Reservations {
    /// Whether a worker could take a build of a builder.
    pub(crate) fn has_room(&self, builder: BuilderId, worker: &str, max_builds: Option<u32>) -> bool {
        self.taken().get(worker).is_none_or(|taken| fits(taken, builder, max_builds))
    }

    /// How many places a builder has.
    pub(crate) fn builds_of(&self, builder: BuilderId) -> usize {
        self.taken().values().flatten().filter(|other| **other == builder).count()
    }

    /// Takes a place on a worker, if there is one.
    pub(crate) fn reserve(
        &self,
        builder: BuilderId,
        worker: &str,
        max_builds: Option<u32>,
    ) -> Option<Reservation> {
        let mut taken = self.taken();
        let places = taken.entry(worker.to_owned()).or_default();
        if !fits(places, builder, max_builds) {
            return None;
        }
        places.push(builder);
        drop(taken);
        Some(Reservation { reservations: self.clone(), worker: worker.to_owned(), builder })
    }

    /// Takes a place for a build that runs already, whatever the limits are now.
    pub(crate) fn insist(&self, builder: BuilderId, worker: &str) -> Reservation {
        self.taken().entry(worker.to_owned()).or_default().push(builder);
        Reservation { reservations: self.clone(), worker: worker.to_owned(), builder }
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<String, Vec<BuilderId>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fits(taken: &[BuilderId], builder: BuilderId, max_builds: Option<u32>) -> bool {
    !taken.contains(&builder) && max_builds.is_none_or(|max| taken.len() < max as usize)
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut taken = self.reservations.taken();
        let Some(places) = taken.get_mut(&self.worker) else { return };
        if let Some(place) = places.iter().position(|builder| *builder == self.builder) {
            places.swap_remove(place);
        }
        if places.is_empty() {
            taken.remove(&self.worker);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_takes_one_build_of_a_builder_and_no_more_than_its_limit() {
        let reservations = Reservations::default();
        let first = reservations.reserve(BuilderId(1), "w", Some(2)).unwrap();
        assert!(reservations.reserve(BuilderId(1), "w", Some(2)).is_none());
        let _second = reservations.reserve(BuilderId(2), "w", Some(2)).unwrap();
        assert!(!reservations.has_room(BuilderId(3), "w", Some(2)));
        assert!(reservations.has_room(BuilderId(3), "w", None));
        drop(first);
        assert!(reservations.has_room(BuilderId(1), "w", Some(2)));
    }
}
