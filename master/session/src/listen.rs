//! The master's side of an opening: who dials, and may it come in?

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::auth::Password;
use crate::transport::Transport;
use crate::wire::{BootId, CommandState, Refusal, WorkerInfo};

/// Looks up a worker's password; `None` for a name that is not configured.
pub type Passwords = Arc<dyn Fn(&str) -> Option<Password> + Send + Sync>;

/// A worker that proved its password and waits for the engine's word: [`MasterLink::converse`](crate::MasterLink::converse) accepts it,
/// [`Opening::refuse`] doesn't. Decide within [`OPENING_TIMEOUT`](crate::liveness::OPENING_TIMEOUT), or the worker gives up.
pub struct Opening;

impl Opening {
    /// The worker's name.
    pub fn worker(&self) -> &str {
        todo!()
    }

    /// The life of its process.
    pub fn boot_id(&self) -> &BootId {
        todo!()
    }

    /// Of this dial. The engine accepts only one that is higher than the stored one, by compare-and-set.
    pub fn dial_no(&self) -> u64 {
        todo!()
    }

    /// What the worker tells about itself.
    pub fn info(&self) -> &WorkerInfo {
        todo!()
    }

    /// The commands it holds, running or ended.
    pub fn commands(&self) -> &[CommandState] {
        todo!()
    }

    /// Where it dials from, for people.
    pub fn peer(&self) -> &str {
        todo!()
    }

    /// Sends it away.
    pub async fn refuse(self, refusal: Refusal) {
        todo!()
    }
}

/// Accepts connections for ever, and hands out those that open well. Strangers, silence and garbage are turned away
/// here, with a line in the log. When `openings` is full, new connections wait; when its receiver is gone, this ends.
pub async fn serve(listener: TcpListener, passwords: Passwords, openings: mpsc::Sender<Opening>) {
    todo!()
}

/// The same for one transport, whatever it is.
///
/// # Errors
/// When the peer is not let in; it was told why where that was possible.
pub async fn open(transport: Transport, passwords: &Passwords) -> Result<Opening, OpeningError> {
    todo!()
}

/// Why nobody came in.
#[derive(Debug, thiserror::Error)]
pub enum OpeningError {
    /// It said nothing for too long.
    #[error("it said nothing for {0:?}")]
    Silent(std::time::Duration),
    /// It went away.
    #[error("it went away")]
    Closed,
    /// It was refused.
    #[error("{0}")]
    Refused(String),
    /// The network, or no WebSocket at all.
    #[error(transparent)]
    Transport(#[from] crate::transport::TransportError),
}
