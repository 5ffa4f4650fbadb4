//! `master.cfg` to snapshot: the Python host, the package `buildbot` that configurations import, and the data that comes
//! out of it.
//!
//! ```text
//! Host::new ─► load(file) ─► Snapshot ─► everything else
//!                  │
//!              call(function, …), secret(name): answered by a Python process as long as there are any
//! ```

pub mod argument;
mod conversation;
mod directory;
mod errors;
mod host;
mod package;
mod process;
pub mod python;
pub mod snapshot;
mod spawner;
mod wire;

pub use conversation::{Conversation, StepNews, StepOrder, Teller};
pub use directory::{MasterDirectory, find_config};
pub use errors::{ConfigError, ConfigErrors, HostError};
pub use host::{Check, Host, HostDriver, LOAD_LIMIT, Loaded, MAX_WAITING, evaluate};
pub use snapshot::Snapshot;
pub use wire::CallFailure;
