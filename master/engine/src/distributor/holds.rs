//! Requests and workers whose last builds ended with RETRY at once: nothing of them begins until their wait is over
//! ([`retries`]). Whatever loses builds, it can't make a storm of them.
//!
//! The rows of builds say how long each waits, so another engine and another life of this one come to the same. Here it is
//! noted when that is, by the clock of the machine.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use muster_core::{
    BuildId, RequestId, WorkerId,
    retries::{self, Streak},
};
use tokio::time::Instant;

/// Notes that are kept of each kind. With more of them the oldest go, and are made again when their requests are looked at.
const KEPT: usize = 10_000;

/// What waits, and until when. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Holds(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    requests: BTreeMap<RequestId, Held>,
    workers: BTreeMap<WorkerId, Held>,
}

/// A wait after a build. It is kept for a while after its end, so that it isn't begun once more.
struct Held {
    after: BuildId,
    until: Instant,
}

impl Holds {
    pub(super) fn has_request(&self, id: RequestId) -> bool {
        self.known().requests.get(&id).is_some_and(|held| held.until > Instant::now())
    }

    pub(super) fn has_worker(&self, id: WorkerId) -> bool {
        self.known().workers.get(&id).is_some_and(|held| held.until > Instant::now())
    }

    /// Notes how the last builds of a request ended; whether it has to wait.
    pub(super) fn note_request(&self, id: RequestId, streak: Option<Streak>) -> bool {
        let begun = note(&mut self.known().requests, id, id.0, streak);
        if let (Some(left), Some(streak)) = (begun, streak) {
            tracing::warn!(
                request = %id, builds = streak.builds, "the last builds of a request ended with RETRY at once; it waits for {left:?}"
            );
        }
        self.has_request(id)
    }

    /// The same of a worker.
    pub(super) fn note_worker(&self, id: WorkerId, name: &str, streak: Option<Streak>) -> bool {
        let begun = note(&mut self.known().workers, id, id.0, streak);
        if let (Some(left), Some(streak)) = (begun, streak) {
            tracing::warn!(
                worker = name,
                builds = streak.builds,
                "the last builds on a worker ended with RETRY at once; it gets none for {left:?}"
            );
        }
        self.has_worker(id)
    }

    /// When the next wait is over.
    pub(super) fn next(&self) -> Option<Instant> {
        let (known, now) = (self.known(), Instant::now());
        let all = known.requests.values().chain(known.workers.values());
        all.map(|held| held.until).filter(|until| *until > now).min()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes a streak; answers the wait that begins with it. One that has begun already goes on as it is.
fn note<K: Ord + Copy>(
    notes: &mut BTreeMap<K, Held>,
    key: K,
    id: i64,
    streak: Option<Streak>,
) -> Option<Duration> {
    let Some(streak) = streak else {
        notes.remove(&key);
        return None;
    };
    if notes.get(&key).is_some_and(|held| held.after == streak.last) {
        return None;
    }
    let (now, left) = (Instant::now(), streak.left(id, muster_data::now()));
    if notes.len() >= KEPT {
        // By then their rows say that they wait no longer.
        notes.retain(|_, held| now < held.until + retries::LAST);
    }
    if notes.len() >= KEPT
        && let Some(first) = notes.iter().min_by_key(|(_, held)| held.until).map(|(key, _)| *key)
    {
        notes.remove(&first);
    }
    notes.insert(key, Held { after: streak.last, until: now + left });
    (!left.is_zero()).then_some(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn streak(builds: u32) -> Option<Streak> {
        Some(Streak { builds, last: BuildId(builds.into()), ended: muster_data::now() })
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_waits_longer_each_time_and_each_wait_ends() {
        let (holds, request) = (Holds::default(), RequestId(1));
        assert!(!holds.note_request(request, None));
        assert!(!holds.note_request(request, streak(1)), "the first time it is built again at once");
        let mut longest = Duration::ZERO;
        for builds in 2..7 {
            assert!(holds.note_request(request, streak(builds)));
            let wait = holds.next().unwrap() - Instant::now();
            assert!(wait > longest, "{wait:?}");
            longest = wait;
            tokio::time::advance(wait).await;
            assert!(!holds.has_request(request) && holds.next().is_none());
            assert!(!holds.note_request(request, streak(builds)), "it has waited for this one");
        }
        assert!(holds.note_request(request, streak(9)));
        assert!(!holds.note_request(request, None), "a build of it ended otherwise");
        assert!(
            !holds.note_worker(WorkerId(1), "w", streak(1)) && holds.note_worker(WorkerId(1), "w", streak(2))
        );
    }

    #[test]
    fn there_are_not_more_notes_than_there_is_room_for() {
        let mut notes = BTreeMap::new();
        for id in 0..=KEPT as i64 {
            note(&mut notes, id, id, streak(5));
        }
        assert_eq!(notes.len(), KEPT);
    }
}
