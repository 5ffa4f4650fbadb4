//! The session protocol between an engine and a worker: numbered and acknowledged both ways, resumable.

pub mod auth;
pub mod command;
pub mod dial;
pub mod error;
mod link;
pub mod listen;
pub mod liveness;
mod master;
pub mod master_link;
mod opening;
#[cfg(test)]
mod simulation;
pub mod transport;
mod websocket;
pub mod wire;
mod worker;
pub mod worker_link;

pub use auth::Password;
pub use command::{Command, StartCommand, UpdateBody};
pub use dial::{Backoff, MasterUrl, connect};
pub use error::{Disconnect, OrderError, ProtocolError};
pub use listen::{Opening, OpeningError, Passwords, open, serve};
pub use master_link::{MasterEvent, MasterEvents, MasterLink};
pub use transport::{Transport, TransportError};
pub use wire::{BootId, CommandState, Order, Refusal, RefusalCode, Settings, Terms, WorkerInfo};
pub use worker_link::{Identity, Spool, WorkerEvent, WorkerEvents, WorkerLink};
