//! The commands, one module each.

pub mod checkconfig;
pub mod cluster;
pub mod control;
pub mod create_master;
pub mod create_worker;
pub mod master;
pub mod router;
pub mod upgrade_master;
pub mod worker;
mod worker_file;

use std::future::Future;

use anyhow::{Context, Result};

/// Runs `work` to its end on a runtime of its own.
pub fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("the system refuses to start threads")?.block_on(work)
}
