//! `muster master`: the master in this process.

use std::process::ExitCode;

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::cli::RunMaster;
use crate::master::{self, said};
use crate::master_dir::MasterDir;
use crate::pid_file::PidFile;
use crate::{commands, logging};

/// Runs until the master is told to stop or fails.
pub fn run(options: &RunMaster) -> Result<ExitCode> {
    if options.detached {
        // The process that `muster start` made leads no group, so this can only fail when somebody else runs it so.
        rustix::process::setsid().context("can't leave the terminal")?;
    }
    raise_file_limit();
    muster_net::take_handed_sockets();
    let dir = MasterDir::open(&options.dir)?;
    // Before the log: a second master must not write into the first one's.
    let lock = PidFile::take(&dir)?;
    logging::of_master(&dir, !options.detached)?;
    logging::on_panic(|said| tracing::error!("{said}"));
    let outcome = commands::block_on(async {
        let running = match master::start(&dir, lock, &options.serving).await {
            Ok(running) => running,
            Err(error) => {
                // The reason first: `muster start` reads no further than the line that it waits for.
                tracing::error!("{error:#}");
                tracing::error!("{}", said::START_FAILED);
                return Ok(ExitCode::FAILURE);
            }
        };
        running.until_told().await?;
        Ok(ExitCode::SUCCESS)
    });
    outcome.or_else(|error| {
        tracing::error!("{error:#}");
        Ok(ExitCode::FAILURE)
    })
}

/// Every worker and every browser holds a socket, and shells give their programs a thousand files; the system allows more.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if limit.current != limit.maximum && setrlimit(Resource::Nofile, raised).is_err() {
        eprintln!("muster: can't raise the limit of open files (ulimit -n); it stays at {:?}", limit.current);
    }
}
