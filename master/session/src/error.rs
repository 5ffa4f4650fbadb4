//! What ends a connection, and what can't be ordered.

use std::time::Duration;

use muster_core::{CommandId, Epoch};

use crate::transport::TransportError;
use crate::wire::{BootId, FrameError, Refusal};

/// The peer broke a rule; the connection is closed, the session waits for the next one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// Bytes that are no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A frame that has no place here.
    #[error("{0} is not expected now")]
    Unexpected(&'static str),
    /// A number was left out.
    #[error("command {command}: number {got} came where {expected} was due")]
    Gap {
        /// Which command.
        command: CommandId,
        /// What was due.
        expected: u64,
        /// What came.
        got: u64,
    },
    /// Something was acknowledged that was never sent.
    #[error("command {command}: {got} was acknowledged, but only {sent} was sent")]
    Acknowledgement {
        /// Which command.
        command: CommandId,
        /// The last that was sent.
        sent: u64,
        /// What was acknowledged.
        got: u64,
    },
    /// An order of a run that lost its command to another owner.
    #[error("command {command}: an order of epoch {} is older than epoch {}", got.0, known.0)]
    StaleEpoch {
        /// Which command.
        command: CommandId,
        /// The highest one seen.
        known: Epoch,
        /// The order's.
        got: Epoch,
    },
    /// A frame about a command that this side doesn't have.
    #[error("command {0} is not known here")]
    UnknownCommand(CommandId),
    /// More than [`WINDOW`](crate::wire::WINDOW) came without acknowledgement.
    #[error("command {0}: more was sent than its window allows")]
    WindowExceeded(CommandId),
    /// Updates after the last one.
    #[error("command {0}: an update came after its end")]
    AfterEnd(CommandId),
    /// More than [`MAX_COMMANDS`](crate::wire::MAX_COMMANDS).
    #[error("the worker holds {0} commands already, and takes no more")]
    TooManyCommands(usize),
    /// The master's cluster was restored to an older state than one this worker has served.
    #[error("this master is of generation {got}, but the worker has served generation {known}")]
    StaleGeneration {
        /// The highest one seen.
        known: u64,
        /// The master's.
        got: u64,
    },
    /// The master does not know the worker's password.
    #[error("this master could not prove that it knows the worker's password")]
    FalseMaster,
    /// Neither heartbeat nor anything else for too long.
    #[error("nothing was heard for {0:?}")]
    Silent(Duration),
}

/// How a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum Disconnect {
    /// Without a word, or by the transport's own closing.
    #[error("the connection was closed")]
    Closed,
    /// The peer said why.
    #[error("the other side ended the connection: {0}")]
    Goodbye(String),
    /// The master goes, and names others that take this worker.
    #[error("the master sends this worker elsewhere: {reason}")]
    Redirected {
        /// In words.
        reason: String,
        /// Where to.
        elsewhere: Vec<String>,
    },
    /// This side asked for it: [`MasterLink::close`](crate::MasterLink::close) or
    /// [`WorkerLink::close`](crate::WorkerLink::close).
    #[error("this side ended the connection: {0}")]
    Ended(String),
    /// Another connection of the same session took its place.
    #[error("a newer connection took over")]
    Superseded,
    /// The master does not take the worker.
    #[error("{}", .0.reason)]
    Refused(Refusal),
    /// A rule was broken.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// A frame of this side does not fit.
    #[error("a frame can't be sent: {0}")]
    Frame(#[from] FrameError),
    /// The network.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The worker's spool could not be read.
    #[error("the spool can't be read: {0}")]
    Spool(#[from] std::io::Error),
    /// The opening belongs to another life of the worker than the session.
    #[error("the session is with boot {session} of the worker, the opening comes from boot {opening}")]
    WrongBoot {
        /// The session's.
        session: BootId,
        /// The opening's.
        opening: BootId,
    },
    /// Nobody receives the session's events any more.
    #[error("the session's events are not received any more")]
    NoReceiver,
}

/// Why an order was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// The command was started or resumed before.
    #[error("command {0} was already started")]
    AlreadyStarted(CommandId),
    /// The command was never started, or has ended.
    #[error("command {0} is not running")]
    NotRunning(CommandId),
    /// The order does not fit a frame.
    #[error("command {command}: {error}; shorten its arguments")]
    TooLong {
        /// Which command.
        command: CommandId,
        /// How long it is.
        error: FrameError,
    },
}
