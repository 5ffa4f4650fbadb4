//! `master.cfg` to snapshot: the Python host, the package `buildbot` that configurations import, and the data that comes
//! out of it.
//!
//! ```text
//! Host::start ─► load(file) ─► Snapshot ─► everything else
//!                    │
//!                call(handle, …), secret(name): answered by the same Python process as long as it is needed
//! ```

pub mod argument;
mod directory;
mod errors;
mod host;
mod package;
mod process;
pub mod python;
pub mod snapshot;
mod wire;

pub use directory::{MasterDirectory, find_config};
pub use errors::{ConfigError, ConfigErrors, HostError};
pub use host::{Host, HostDriver, Loaded, MAX_WAITING, evaluate};
pub use snapshot::Snapshot;
pub use wire::CallFailure;
