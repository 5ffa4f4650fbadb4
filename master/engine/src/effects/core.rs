//! What a run works with: the build, its writes, its worker, the orders it gets.

use std::{path::PathBuf, sync::Arc, time::Duration};

use muster_core::Properties;
use muster_data::Data;
use muster_store::runs::{self, JournalRow, RunKey};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{callables::Callables, facts::Facts, halt::Halt, recorder::Recorder};
use crate::sessions::Slot;

/// The wait before a database that refused is asked again.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// An order to stop a build. A later one has a higher number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StopOrder {
    pub(crate) number: i64,
    pub(crate) reason: String,
}

/// Where orders to stop show up. Steps that always run come after one was carried out, and only the next one stops them.
#[derive(Clone)]
pub(crate) struct StopReceiver {
    newest: watch::Receiver<Option<Arc<StopOrder>>>,
    carried_out: Option<Arc<StopOrder>>,
}

impl StopReceiver {
    /// `carried_out` is the newest order that an earlier execution of the run has carried out.
    pub(crate) fn new(
        newest: watch::Receiver<Option<Arc<StopOrder>>>,
        carried_out: Option<StopOrder>,
    ) -> StopReceiver {
        StopReceiver { newest, carried_out: carried_out.map(Arc::new) }
    }

    /// The order that is to be carried out.
    pub(crate) fn order(&self) -> Option<Arc<StopOrder>> {
        self.newest.borrow().clone().filter(|order| self.is_open(order))
    }

    /// The newest order, carried out or not.
    pub(crate) fn newest(&self) -> Option<Arc<StopOrder>> {
        self.order().or_else(|| self.carried_out.clone())
    }

    /// What has come until now is carried out.
    pub(crate) fn carry_out(&mut self) {
        self.carried_out = self.newest();
    }

    fn is_open(&self, order: &StopOrder) -> bool {
        self.carried_out.as_ref().is_none_or(|done| done.number < order.number)
    }
}

/// Waits for an order to stop; for ever, when none can come any more.
pub(crate) async fn ordered(stop: &mut StopReceiver) {
    let StopReceiver { newest, carried_out } = stop;
    let done = carried_out.as_ref().map(|order| order.number);
    if newest.wait_for(|order| order.as_ref().map(|order| order.number) > done).await.is_err() {
        std::future::pending().await
    }
}

/// What a run works with.
pub(crate) struct RunCore {
    pub(crate) data: Data,
    pub(crate) key: RunKey,
    pub(crate) facts: Facts,
    pub(crate) properties: Properties,
    pub(crate) recorder: Recorder,
    pub(crate) slot: Slot,
    pub(crate) stop: StopReceiver,
    /// This master goes: put everything down, leave the rows.
    pub(crate) leaving: CancellationToken,
    /// Tells whoever waits for locks that some were released.
    pub(crate) releases: watch::Sender<u64>,
    pub(crate) basedir: PathBuf,
    pub(crate) callables: Callables,
}

impl RunCore {
    pub(crate) fn stop_order(&self) -> Option<Arc<StopOrder>> {
        self.stop.order()
    }

    /// What an earlier execution of a step has done. A database that refuses is asked again.
    pub(crate) async fn journal_of(&self, step: u32) -> Result<Vec<JournalRow>, Halt> {
        let build = self.key.build;
        loop {
            let read =
                self.data.db().look("journal", |tx| async move { runs::journal_of(&tx, build, step).await });
            match read.await {
                Ok(rows) => return Ok(rows),
                Err(error) => tracing::error!(%build, %error, "can't read the journal; trying again"),
            }
            tokio::select! {
                () = tokio::time::sleep(READ_AGAIN) => {}
                () = self.leaving.cancelled() => return Err(Halt::Leaving),
            }
        }
    }
}
