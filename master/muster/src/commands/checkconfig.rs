//! `muster checkconfig`: all that is wrong with a configuration, in order.

use std::process::ExitCode;

use anyhow::Result;
use muster_config::HostError;

use crate::cli::Checkconfig;
use crate::master_dir::MasterDir;
use crate::{commands, config, logging};

/// Reads a configuration as a start of the master would.
pub fn run(options: &Checkconfig) -> Result<ExitCode> {
    logging::warnings_to_terminal();
    let dir = MasterDir::of_config(&options.target)?;
    if !is_good(&dir)? {
        return Ok(ExitCode::FAILURE);
    }
    if !options.quiet {
        println!("Config file is good!");
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether a configuration can be used; what is wrong with it is told.
pub fn is_good(dir: &MasterDir) -> Result<bool> {
    match commands::block_on(async { Ok(config::evaluate(dir).await) })? {
        Ok(loaded) => {
            for warning in &loaded.snapshot.warnings {
                eprintln!("warning: {warning}");
            }
            Ok(true)
        }
        Err(HostError::Config(errors)) => {
            // As Buildbot prints them, without the program's name: editors and scripts read these lines.
            eprintln!("{errors}");
            Ok(false)
        }
        Err(other) => Err(other.into()),
    }
}
