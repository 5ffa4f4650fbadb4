//! What every command is given, and how it says that it ended.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::launch::Launcher;
use crate::options::Limits;
use crate::outbox::Outbox;
use crate::records::RecordDir;

/// What commands share: the worker's side of the world.
#[derive(Debug)]
pub(crate) struct Surroundings {
    /// The worker's directory; builders' directories lie in it.
    pub base: PathBuf,
    /// The worker's own environment.
    pub environment: BTreeMap<OsString, OsString>,
    /// Starts programs.
    pub launcher: Launcher,
    /// The worker's bounds.
    pub limits: Limits,
}

/// How a command is asked to end early; each is stronger than the ones before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum StopRequest {
    /// Not at all.
    #[default]
    None,
    /// Its updates and its end are still wanted.
    Interrupt,
    /// Nobody listens any more: kill it at once.
    Abandon,
}

/// The command's view of [`StopRequest`].
#[derive(Clone, Debug)]
pub(crate) struct Stop(pub watch::Receiver<StopRequest>);

impl Stop {
    /// What was asked for so far.
    pub(crate) fn current(&self) -> StopRequest {
        *self.0.borrow()
    }

    /// Waits until anything stronger than `known` is asked for.
    pub(crate) async fn beyond(&self, known: StopRequest) -> StopRequest {
        let mut requests = self.0.clone();
        let asked = requests.wait_for(|request| *request > known).await.map(|request| *request);
        match asked {
            Ok(request) => request,
            // Nobody is left who could ask.
            Err(_) => std::future::pending().await,
        }
    }

    /// Waits until the command shall end.
    pub(crate) async fn requested(&self) -> StopRequest {
        self.beyond(StopRequest::None).await
    }
}

/// The next bytes of a download.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// The order's number.
    pub number: u64,
    /// What to write.
    pub bytes: Vec<u8>,
    /// Nothing follows.
    pub eof: bool,
}

/// The ends of a command that its master sees.
pub(crate) struct CommandIo {
    /// Where its updates go.
    pub outbox: Arc<Outbox>,
    /// Whether it shall end.
    pub stop: Stop,
    /// Chunks of a download; the session's window bounds them.
    pub chunks: mpsc::UnboundedReceiver<Chunk>,
    /// Tells the master that it may send more chunks.
    pub acknowledge: Box<dyn Fn(u64) + Send + Sync>,
    /// Where its process is put on record.
    pub record: RecordDir,
}

impl CommandIo {
    /// All orders up to `number` are done.
    pub(crate) fn acknowledge(&self, number: u64) {
        (self.acknowledge)(number);
    }
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Its exit code, unless it was sent already or there is none.
    pub rc: Option<i64>,
    /// Why it broke, if it did.
    pub error: Option<String>,
}

impl Outcome {
    pub(crate) fn rc(rc: i64) -> Self {
        Self { rc: Some(rc), error: None }
    }

    pub(crate) fn broken(error: String) -> Self {
        Self { rc: None, error: Some(error) }
    }
}
