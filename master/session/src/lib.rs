//! The session protocol between an engine and a worker: numbered and acknowledged both ways, resumable.
#![allow(unused)]

pub mod auth;
pub mod command;
pub mod dial;
pub mod error;
pub mod listen;
pub mod liveness;
pub mod master_link;
pub mod transport;
pub mod wire;
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
