//! What both stock protocols have in common, seen from a session: orders in, news out, no I/O.

use std::sync::Arc;
use std::time::Duration;

use muster_core::CommandId;
use muster_session::WorkerInfo;

use crate::broker::BrokerError;
use crate::translate::StockCommand;
use crate::value::Value;

/// One builder as a worker knows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BuilderDir {
    /// The builder's name.
    pub name: String,
    /// Its directory, below the worker's base directory. Builders may share one.
    pub dir: String,
}

/// Names a call of the worker that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(pub(crate) Option<u64>);

/// What a call of the worker is answered with. Never an error: some of them end a worker, or a command for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// An update was taken.
    Counted,
    /// Anything else was.
    Done,
    /// The next bytes of a file; none at its end.
    Bytes(Vec<u8>),
}

/// What a worker says.
#[derive(Debug, PartialEq)]
pub(crate) enum News {
    /// It is ready for commands, after a while in which left-over processes die.
    Ready {
        /// About itself.
        info: WorkerInfo,
        /// How long to wait.
        settle: Duration,
    },
    /// About a command: pairs of a key and a value.
    Update { command: CommandId, fields: Vec<(String, Value)>, ticket: Ticket },
    /// A command has ended; an error means that it broke, or never began.
    Complete { command: CommandId, error: Option<String> },
    /// The next bytes of an upload.
    Write { command: CommandId, bytes: Vec<u8>, ticket: Ticket },
    /// It wants the next bytes of a download, at most so many.
    Read { command: CommandId, length: usize, ticket: Ticket },
    /// Times of an uploaded file.
    Times { command: CommandId, accessed: f64, modified: f64 },
    /// The answer to a ping.
    Pong,
    /// Its operator asks for a graceful stop.
    WantsShutdown,
}

/// Why a connection is closed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Breach {
    /// PB.
    #[error(transparent)]
    Pb(#[from] BrokerError),
    /// msgpack.
    #[error("not a message of this protocol: {0}")]
    Malformed(String),
    /// It refused what every worker has to do.
    #[error("the worker refuses {what}: {error}")]
    Refuses { what: &'static str, error: String },
}

/// A worker's protocol as a state machine.
pub(crate) trait Stock: Send {
    /// Takes bytes of the worker.
    fn receive(&mut self, bytes: &[u8]) -> Result<(), Breach>;

    /// The next news.
    fn news(&mut self) -> Option<News>;

    /// The next bytes for the worker.
    fn output(&mut self) -> Option<Vec<u8>>;

    /// An engine has taken the worker.
    fn accepted(&mut self) -> Result<(), Breach>;

    /// The builders that it serves are these from now on.
    fn configure(&mut self, builders: &Arc<[BuilderDir]>) -> Result<(), Breach>;

    /// Starts a command, as soon as none of the same builder runs.
    fn start(&mut self, id: CommandId, command: StockCommand) -> Result<(), Breach>;

    /// Asks a command to end early; nothing happens when it has ended.
    fn interrupt(&mut self, id: CommandId, why: &str) -> Result<(), Breach>;

    /// Answers a call.
    fn answer(&mut self, ticket: Ticket, answer: Answer) -> Result<(), Breach>;

    /// Asks for a sign of life: [`News::Pong`].
    fn ping(&mut self, words: &str) -> Result<(), Breach>;

    /// Asks the worker's process to end.
    fn shut_down(&mut self) -> Result<(), Breach>;
}
