//! What a run hears of its worker.

use muster_session::{OrderError, UpdateBody};

/// A worker's session is over, and with it every command that ran in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Gone {
    /// It did not come back in time.
    #[error("lost connection")]
    Away,
    /// It came back as another process: its commands are gone for good.
    #[error("the worker was restarted")]
    Restarted,
    /// It has forgotten the command.
    #[error("the worker no longer knows the command")]
    Forgotten,
}

/// What a command's run hears.
#[derive(Debug)]
pub(crate) enum CommandNews {
    /// News, numbered.
    Update(u64, UpdateBody),
    /// There will be none any more.
    Lost,
}

/// Why a command could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// The session is over.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// It doesn't fit the protocol: too long, for instance.
    #[error(transparent)]
    Order(#[from] OrderError),
}
