//! Commands that a msgpack worker may still run when it comes back: it keeps them when its connection breaks.
//!
//! Their ids are in the database, since it may come back to another gateway, and a gateway may be killed at any moment.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::registry::{Ghost, Registry};

/// Rest between two tries while the database is away; commands begin when it is back.
const RETRY: Duration = Duration::from_secs(1);

/// The commands of one worker.
pub(crate) struct Ghosts {
    worker: String,
    registry: Arc<dyn Registry>,
    alive: Vec<Ghost>,
    /// Counts changes of `alive`.
    version: u64,
    /// The last one that is durable.
    noted: u64,
    noting: Option<BoxFuture<'static, Result<u64, TakenOver>>>,
}

/// Another gateway has the worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TakenOver;

impl Ghosts {
    /// Those of an earlier connection, which may have been another gateway's.
    pub(crate) fn new(worker: &str, registry: Arc<dyn Registry>, alive: Vec<Ghost>) -> Ghosts {
        Ghosts { worker: worker.to_owned(), registry, alive, version: 0, noted: 0, noting: None }
    }

    /// A command is about to start; it may as soon as [`has_noted`](Ghosts::has_noted) this number.
    pub(crate) fn begin(&mut self, command: String, lingers: f64) -> u64 {
        self.alive.push(Ghost { command, lingers });
        self.version += 1;
        self.version
    }

    /// A command has ended.
    pub(crate) fn end(&mut self, command: &str) {
        let before = self.alive.len();
        self.alive.retain(|ghost| ghost.command != command);
        self.version += u64::from(self.alive.len() < before);
    }

    /// All of them were told to stop and had time for it.
    pub(crate) fn laid(&mut self) {
        self.version += u64::from(!self.alive.is_empty());
        self.alive.clear();
    }

    pub(crate) fn has_noted(&self, version: u64) -> bool {
        self.noted >= version
    }

    pub(crate) fn is_behind(&self) -> bool {
        self.noted < self.version
    }

    /// Makes the present list durable. Safe to cancel: the next call goes on.
    pub(crate) async fn note(&mut self) -> Result<(), TakenOver> {
        let noting = self.noting.get_or_insert_with(|| {
            let (registry, worker) = (self.registry.clone(), self.worker.clone());
            let (alive, version) = (self.alive.clone(), self.version);
            Box::pin(async move {
                loop {
                    match registry.note(worker.clone(), alive.clone()).await {
                        Ok(true) => return Ok(version),
                        Ok(false) => return Err(TakenOver),
                        Err(error) => {
                            tracing::warn!(worker, error, "can't note what the worker runs; trying again");
                            tokio::time::sleep(RETRY).await;
                        }
                    }
                }
            })
        });
        let noted = noting.await;
        self.noting = None;
        self.noted = noted?;
        Ok(())
    }
}
