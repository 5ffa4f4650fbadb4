//! The session protocol between an engine and a worker: numbered and acknowledged both ways, resumable.
//!
//! ```text
//! MasterLink ── link::drive ── Transport ═══ Transport ── link::drive ── WorkerLink
//!     │        (three loops)   (WebSocket or memory)                        │
//! MasterSession               wire: frames, msgpack                  WorkerSession ── Spool
//! ```
//!
//! The sessions are state machines without I/O and without a clock; they outlive connections, and hold all rules. The
//! links drive them over one [`Transport`] at a time. [`serve`] and [`open`] admit workers that prove their password;
//! the engine has the last word on each [`Opening`].
//!
//! What is not acknowledged is sent again: orders by the master's session, updates out of the worker's [`Spool`].

pub mod auth;
pub mod command;
pub mod dial;
pub mod error;
mod event;
mod info;
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
pub use event::{MasterEvent, WorkerEvent};
pub use info::PackedInfo;
pub use listen::{Opening, OpeningError, Passwords, open, serve};
pub use master_link::{Gate, MasterEvents, MasterLink};
pub use transport::{Transport, TransportError};
pub use wire::{BootId, CommandState, Order, Refusal, RefusalCode, Settings, Terms, WorkerInfo};
pub use worker::Identity;
pub use worker_link::{Spool, WorkerEvents, WorkerLink};
