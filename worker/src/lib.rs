//! Muster's own worker: runs commands, spools their output, survives its master.
//!
//! [`run`] is a worker's whole life. It keeps one session with whatever master it reaches; commands run on while no
//! master is there, their updates wait in a bounded spool until they are acknowledged, and every process is on record
//! before it starts, so that a later life of the worker can end what an earlier one left behind. Runs on Linux: what
//! is known about processes comes from `/proc`.
//!
//! ```text
//! run ── link (dial, converse, back off) ── muster_session
//!  └──── commands ── execute ─┬─ shell (supervise, logfiles, env, text), dirs
//!             │               ├─ transfer, archive
//!             │               └─ files
//!             └── outbox ─► spool
//! ```

mod archive;
mod commands;
mod context;
mod dirs;
mod error;
mod execute;
mod files;
mod home;
pub mod launch;
mod link;
mod options;
mod outbox;
mod private;
mod process;
mod pty;
mod records;
mod run;
mod shell;
mod spool;
mod transfer;

pub use error::WorkerError;
pub use launch::Launcher;
pub use options::{Limits, PASSWORD_VARIABLE, WorkerOptions};
pub use run::{Exit, Stops, run, run_until_signal};
