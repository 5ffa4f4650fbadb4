//! Places for connections that have not proven yet who they are.
//!
//! A peer that connects and says nothing must not keep others out: when all places are taken, the stranger that has
//! been silent for longest leaves. Who means it logs in within milliseconds.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// How long a stranger keeps its place in any case: thousands of workers that come at once need their turn.
const GRACE: Duration = Duration::from_secs(3);

/// The places. Clones are the same ones.
#[derive(Clone)]
pub struct Strangers(Arc<Inner>);

struct Inner {
    places: usize,
    state: Mutex<State>,
    left: Notify,
}

#[derive(Default)]
struct State {
    serial: u64,
    /// In the order in which they came.
    inside: BTreeMap<u64, (Instant, CancellationToken)>,
}

/// A stranger's place, until it is dropped: by leaving, or because it is no stranger any more.
pub struct Place {
    strangers: Strangers,
    serial: u64,
    taken: CancellationToken,
}

impl Strangers {
    /// So many places.
    pub fn new(places: usize) -> Strangers {
        Strangers(Arc::new(Inner { places, state: Mutex::default(), left: Notify::new() }))
    }

    /// A place; when there is none, the one of the oldest stranger that had its time. Safe to cancel.
    pub async fn enter(&self) -> Place {
        loop {
            let left = self.0.left.notified();
            let oldest = {
                let mut state = self.state();
                if state.inside.len() < self.0.places {
                    return self.insert(&mut state);
                }
                match state.inside.first_key_value() {
                    Some((_, (since, _))) if since.elapsed() < GRACE => *since,
                    _ => {
                        if let Some((_, (_, taken))) = state.inside.pop_first() {
                            taken.cancel();
                        }
                        return self.insert(&mut state);
                    }
                }
            };
            tokio::select! {
                () = left => {}
                () = sleep_until(oldest + GRACE) => {}
            }
        }
    }

    fn insert(&self, state: &mut State) -> Place {
        state.serial += 1;
        let taken = CancellationToken::new();
        state.inside.insert(state.serial, (Instant::now(), taken.clone()));
        Place { strangers: self.clone(), serial: state.serial, taken }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Waits until somebody else needs the place: close the connection.
    pub async fn taken(&self) {
        self.taken.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.strangers.state().inside.remove(&self.serial).is_some() {
            self.strangers.0.left.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_oldest_stranger_leaves_when_a_place_is_needed() {
        let strangers = Strangers::new(2);
        let (first, second) = (strangers.enter().await, strangers.enter().await);
        let begun = Instant::now();
        let third = strangers.enter().await;
        assert_eq!(begun.elapsed(), GRACE, "everybody has its time");
        first.taken().await;
        assert!(!second.taken.is_cancelled());
        drop(first);
        drop(third);
        let begun = Instant::now();
        let _fourth = strangers.enter().await;
        assert_eq!(begun.elapsed(), Duration::ZERO, "who left has made room");
        assert!(!second.taken.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_becomes_free_is_taken_at_once() {
        let strangers = Strangers::new(1);
        let place = strangers.enter().await;
        let begun = Instant::now();
        let (next, ()) = tokio::join!(strangers.enter(), async {
            tokio::task::yield_now().await;
            drop(place);
        });
        assert_eq!(begun.elapsed(), Duration::ZERO);
        drop(next);
        assert!(strangers.state().inside.is_empty());
    }
}
