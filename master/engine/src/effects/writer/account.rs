//! What a run has of the writer.

use std::sync::Arc;

use tokio::sync::watch;

use super::{MAX_OF_RUN, MAX_WAITING, Outcome, Shared, State};
use crate::effects::{end::Halt, gathered::Gathered};

/// Where one run hands over what it has done.
pub(crate) struct Account(Waiter);

/// Waits for what a run has handed over until now. It holds nothing of the run.
#[derive(Clone)]
pub(crate) struct Waiter {
    shared: Arc<Shared>,
    id: u64,
    posted: u64,
    outcome: watch::Receiver<Outcome>,
    room: watch::Receiver<u64>,
}

impl Account {
    pub(super) fn new(shared: Arc<Shared>, id: u64, outcome: watch::Receiver<Outcome>) -> Account {
        let room = shared.room.subscribe();
        Account(Waiter { shared, id, posted: 0, outcome, room })
    }

    /// Waits for what was handed over until now.
    pub(crate) fn waiter(&self) -> Waiter {
        self.0.clone()
    }

    /// Hands over; it is committed soon.
    pub(crate) fn post(&mut self, gathered: Gathered) {
        if gathered.is_empty() {
            return;
        }
        let mut state = self.0.shared.state();
        let bytes = gathered.text_bytes();
        let Some(queue) = state.accounts.get_mut(&self.0.id) else { return };
        if queue.outcome.borrow().over.is_some() {
            return;
        }
        queue.gathered.merge(gathered);
        queue.posted += 1;
        self.0.posted = queue.posted;
        state.waiting += bytes;
        state.make_due(self.0.id);
        drop(state);
        self.0.shared.wake.notify_one();
    }
}

impl Waiter {
    pub(crate) fn has_room(&self) -> bool {
        let state = self.shared.state();
        let mine = state.accounts.get(&self.id).map_or(0, |queue| queue.gathered.text_bytes());
        mine < MAX_OF_RUN && state.waiting < MAX_WAITING
    }

    /// Waits until the run is over here, or, when it was `full` as its run has seen it, until there is room. It is not for
    /// this to look whether it is full: the room that came since the run looked would be waited for once more.
    pub(crate) async fn attend(&mut self, full: bool) -> Result<(), Halt> {
        loop {
            if let Some(halt) = self.outcome.borrow_and_update().over.clone() {
                return Err(halt);
            }
            self.room.mark_unchanged();
            if full && self.has_room() {
                return Ok(());
            }
            tokio::select! {
                changed = self.outcome.changed() => changed.map_err(|_| Halt::Leaving)?,
                changed = self.room.changed(), if full => changed.map_err(|_| Halt::Leaving)?,
            }
        }
    }

    /// Has everything that was handed over committed at once, and waits for it.
    pub(crate) async fn durable(&mut self) -> Result<(), Halt> {
        loop {
            let outcome = self.outcome.borrow_and_update().clone();
            if let Some(halt) = outcome.over {
                return Err(halt);
            }
            if outcome.durable >= self.posted {
                return Ok(());
            }
            self.hurry();
            self.outcome.changed().await.map_err(|_| Halt::Leaving)?;
        }
    }

    /// The same, but a database that refuses is not waited for.
    pub(crate) async fn durable_if_accepted(&mut self) -> Result<(), Halt> {
        let mut refused = self.shared.refused.subscribe();
        tokio::select! {
            biased;
            durable = self.durable() => durable,
            _ = refused.wait_for(|refused| *refused) => Err(Halt::Leaving),
        }
    }

    fn hurry(&self) {
        self.shared.state().urgent = true;
        self.shared.wake.notify_one();
    }
}

/// What was handed over is still written.
impl Drop for Account {
    fn drop(&mut self) {
        let mut state = self.0.shared.state();
        let State { accounts, waiting, .. } = &mut *state;
        let Some(queue) = accounts.get_mut(&self.0.id) else { return };
        queue.orphaned = true;
        let is_done = {
            let outcome = queue.outcome.borrow();
            outcome.over.is_some() || outcome.durable >= queue.posted
        };
        if is_done {
            *waiting -= queue.gathered.text_bytes();
            accounts.remove(&self.0.id);
        }
    }
}
