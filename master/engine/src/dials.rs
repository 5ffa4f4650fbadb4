//! Dials of workers, many in one transaction: thousands may come at once.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use muster_core::MasterId;
use muster_data::{Data, Dialled, WorkerDial};
use tokio::sync::oneshot;

/// Dials in one transaction. It is what fits into its statements comfortably; more of them take the next one.
const BATCH: usize = 256;

/// Dials that wait for a transaction. Who comes while one is under way goes with the next one; nobody waits for others to
/// come.
#[derive(Default)]
pub(crate) struct Dials {
    waiting: Mutex<VecDeque<Waiting>>,
    /// Held by the one who carries dials to the database.
    carrier: tokio::sync::Mutex<()>,
}

struct Waiting {
    dial: WorkerDial,
    answer: oneshot::Sender<Result<Dialled, String>>,
}

impl Dials {
    /// Settles whether a dial wins its session.
    ///
    /// # Errors
    /// When the database is away: nothing was changed then, as far as is known, and the worker dials again.
    pub(crate) async fn settle(
        &self,
        data: &Data,
        master: MasterId,
        dial: WorkerDial,
    ) -> Result<Dialled, String> {
        let (answer, mut answered) = oneshot::channel();
        self.waiting().push_back(Waiting { dial, answer });
        loop {
            tokio::select! {
                biased;
                // Who carried it was stopped in the middle.
                answer = &mut answered => return answer.unwrap_or_else(|_| Err("it was not heard to its end".into())),
                _carries = self.carrier.lock() => self.carry(data, master).await,
            }
        }
    }

    async fn carry(&self, data: &Data, master: MasterId) {
        let (dials, answers): (Vec<_>, Vec<_>) =
            self.next_batch().into_iter().map(|waiting| (waiting.dial, waiting.answer)).unzip();
        // Whoever asked may be gone meanwhile.
        match data.workers_dial(master, &dials).await {
            Ok(dialled) => {
                answers.into_iter().zip(dialled).for_each(|(answer, dialled)| drop(answer.send(Ok(dialled))));
            }
            Err(error) => {
                answers.into_iter().for_each(|answer| drop(answer.send(Err(error.to_string()))));
            }
        }
    }

    /// The oldest dials, each worker once. Their number is a power of two, so that statements come in few lengths and are
    /// prepared once.
    fn next_batch(&self) -> Vec<Waiting> {
        let mut waiting = self.waiting();
        let most = waiting.len().min(BATCH).checked_ilog2().map_or(0, |power| 1 << power);
        let mut batch = Vec::with_capacity(most);
        let mut workers = HashSet::with_capacity(most);
        while batch.len() < most
            && waiting.front().is_some_and(|next| workers.insert(next.dial.worker))
            && let Some(next) = waiting.pop_front()
        {
            batch.push(next);
        }
        batch
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
