//! Pending requests in memory, in the order in which they want to be built.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use muster_core::{BuilderId, RequestId, Timestamp};
use muster_store::buildsets::Pending;

/// Of each builder, best first: by priority, then by id.
#[derive(Default)]
pub(super) struct Waiting {
    builders: BTreeMap<BuilderId, OfBuilder>,
    /// Where each request stands: it is there once, also when its priority has changed.
    places: BTreeMap<RequestId, (BuilderId, Place)>,
}

#[derive(Default)]
struct OfBuilder {
    requests: BTreeMap<Place, Pending>,
    ages: BTreeSet<(Timestamp, RequestId)>,
}

type Place = (Reverse<i64>, RequestId);

fn place(pending: &Pending) -> Place {
    (Reverse(pending.priority), pending.id)
}

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Builders that have something to do.
    pub(super) fn builders(&self) -> impl Iterator<Item = BuilderId> {
        self.builders.keys().copied()
    }

    pub(super) fn insert(&mut self, pending: Pending) {
        self.remove(pending.id);
        self.places.insert(pending.id, (pending.builder, place(&pending)));
        let queue = self.builders.entry(pending.builder).or_default();
        queue.ages.insert((pending.submitted_at, pending.id));
        queue.requests.insert(place(&pending), pending);
    }

    pub(super) fn remove(&mut self, request: RequestId) {
        let Some((builder, place)) = self.places.remove(&request) else { return };
        let Some(queue) = self.builders.get_mut(&builder) else { return };
        if let Some(pending) = queue.requests.remove(&place) {
            queue.ages.remove(&(pending.submitted_at, request));
        }
        if queue.requests.is_empty() {
            self.builders.remove(&builder);
        }
    }

    /// The requests of one builder.
    pub(super) fn of(&self, builder: BuilderId) -> impl Iterator<Item = &Pending> {
        self.builders.get(&builder).into_iter().flat_map(|queue| queue.requests.values())
    }

    /// When the oldest request of a builder was made.
    pub(super) fn oldest(&self, builder: BuilderId) -> Option<Timestamp> {
        self.builders.get(&builder)?.ages.first().map(|(at, _)| *at)
    }

    /// Builders that have something to do and are able to: by their best request's priority, then by the age of their oldest
    /// one, then by name (`docs/compat/behaviour-2-builds.md` 2.2).
    pub(super) fn in_order<'a>(
        &self,
        is_able: impl Fn(BuilderId) -> bool,
        name: impl Fn(BuilderId) -> Option<&'a str>,
    ) -> Vec<BuilderId> {
        let mut ranked: Vec<_> = self
            .builders
            .iter()
            .filter(|(builder, _)| is_able(**builder))
            .filter_map(|(builder, queue)| {
                let best = queue.requests.keys().next()?.0;
                let oldest = queue.ages.first()?.0;
                Some((best, oldest, name(*builder), *builder))
            })
            .collect();
        ranked.sort_unstable();
        ranked.into_iter().map(|(.., builder)| builder).collect()
    }
}

impl FromIterator<Pending> for Waiting {
    fn from_iter<I: IntoIterator<Item = Pending>>(requests: I) -> Waiting {
        let mut waiting = Waiting::default();
        requests.into_iter().for_each(|pending| waiting.insert(pending));
        waiting
    }
}

#[cfg(test)]
mod tests {
    use muster_core::BuildsetId;

    use super::*;

    fn pending(id: i64, builder: i64, priority: i64, at: i64) -> Pending {
        Pending {
            id: RequestId(id),
            buildset: BuildsetId(1),
            builder: BuilderId(builder),
            priority,
            submitted_at: Timestamp(at),
            waited_for: false,
        }
    }

    #[test]
    fn the_builder_with_the_best_request_goes_first_then_the_one_that_waits_longest() {
        let rows = [(1, 1, 0, 50), (2, 1, 0, 10), (3, 2, 5, 99), (4, 3, 0, 20), (5, 4, 0, 20)];
        let mut waiting: Waiting =
            rows.into_iter().map(|(id, builder, priority, at)| pending(id, builder, priority, at)).collect();
        let name = |builder: BuilderId| Some(if builder == BuilderId(4) { "a" } else { "b" });
        let order = |waiting: &Waiting, of: &[i64]| {
            waiting
                .in_order(|builder| of.contains(&builder.0), name)
                .into_iter()
                .map(|builder| builder.0)
                .collect::<Vec<_>>()
        };
        assert_eq!(order(&waiting, &[1, 2, 3, 4, 9]), [2, 1, 4, 3]);
        assert_eq!(order(&waiting, &[3]), [3]);
        waiting.remove(RequestId(2));
        assert_eq!(order(&waiting, &[1, 2, 3, 4]), [2, 4, 3, 1]);
    }

    #[test]
    fn a_builders_own_requests_go_by_priority_and_id() {
        let mut waiting: Waiting =
            [pending(7, 1, 0, 1), pending(3, 1, 0, 9), pending(9, 1, 2, 9)].into_iter().collect();
        let ids =
            |waiting: &Waiting| waiting.of(BuilderId(1)).map(|pending| pending.id.0).collect::<Vec<_>>();
        assert_eq!(ids(&waiting), [9, 3, 7]);
        waiting.insert(pending(3, 1, 0, 9));
        assert_eq!((ids(&waiting).as_slice(), waiting.len()), ([9, 3, 7].as_slice(), 3), "it is there once");
        waiting.insert(pending(7, 1, 5, 1));
        assert_eq!(ids(&waiting), [7, 9, 3], "also when its priority has changed");
        for id in [9, 3, 7, 7] {
            waiting.remove(RequestId(id));
        }
        assert_eq!(waiting.len(), 0);
        assert_eq!(waiting.builders().count(), 0);
    }
}
