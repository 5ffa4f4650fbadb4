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

/// An order to stop a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StopOrder {
    pub(crate) reason: String,
}

/// Where an order to stop shows up. Cloned receivers see the same orders.
pub(crate) type StopReceiver = watch::Receiver<Option<Arc<StopOrder>>>;

/// Waits for an order to stop; for ever, when none can come any more.
pub(crate) async fn ordered(stop: &mut StopReceiver) {
    if stop.wait_for(Option::is_some).await.is_err() {
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
        self.stop.borrow().clone()
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

    /// The order was carried out: steps that always run must not be stopped by it, too.
    pub(crate) fn forget_stop(&mut self) {
        let (sender, receiver) = watch::channel(None);
        drop(sender);
        self.stop = receiver;
    }
}
