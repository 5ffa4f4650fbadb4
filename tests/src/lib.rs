//! The ground that tests and benchmarks of whole processes stand on: a directory, the `muster` binary, masters,
//! workers, REST, the database, git.
//!
//! Everything here waits for a state by looking at it until a deadline, and panics with what the processes said.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

pub mod attack;
pub mod binary;
pub mod certificates;
pub mod crossbar;
pub mod database;
pub mod git;
pub mod http;
pub mod master;
pub mod process;
pub mod rest;
pub mod router;
pub mod servers;
pub mod site;
pub mod stock;
pub mod template;
pub mod wait;
pub mod worker;

pub use certificates::Authority;
pub use database::Database;
pub use master::Master;
pub use process::Process;
pub use rest::{Rest, Results};
pub use router::Router;
pub use servers::{MariaDb, Postgres};
pub use site::Site;
pub use wait::{until, until_ok};
pub use worker::Worker;
