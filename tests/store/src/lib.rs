//! Database servers and a Buildbot, started for tests: in temporary directories, on free ports, as a user without
//! rights, and gone with the test.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

pub mod buildbot;
pub mod data;
pub mod proxy;
pub mod servers;
mod template;

pub use servers::{MariaDb, Postgres};
