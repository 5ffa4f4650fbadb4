//! Perspective Broker, the protocol of stock workers and of the command line tools: state machines over the broker.

mod changes;
mod login;
#[cfg(test)]
mod replay;
mod worker;

pub(crate) use changes::ChangePort;
pub use changes::SentChange;
pub(crate) use login::{LoggedIn, Login, Outcome};
pub(crate) use worker::PbWorker;

/// Bytes of one message before anybody has logged in; a log-in has less than a hundred.
pub(crate) const STRANGERS_LIMIT: usize = 16 * 1024;

/// Bytes of one message in memory. The longest are lists of files, which count some 150 bytes a name: this is for
/// two hundred thousand of them.
pub(crate) const MESSAGE_LIMIT: usize = 32 * 1024 * 1024;
