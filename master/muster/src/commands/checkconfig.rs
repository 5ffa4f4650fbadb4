//! `muster checkconfig`: all that is wrong with a configuration, in order.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use muster_config::{HostError, Loaded};

use crate::cli::Checkconfig;
use crate::master_dir::MasterDir;
use crate::{commands, config, logging};

/// Reads a configuration as a start of the master would.
pub fn run(options: &Checkconfig) -> Result<ExitCode> {
    logging::of_checks();
    let dir = MasterDir::of_config(&options.target)?;
    let Some(loaded) = checked(&dir)? else { return Ok(ExitCode::FAILURE) };
    if options.dump {
        let text = serde_json::to_string_pretty(&*loaded.snapshot).context("the snapshot is no JSON")?;
        // Whoever reads only its beginning has closed the pipe.
        if let Err(error) = writeln!(std::io::stdout(), "{text}")
            && error.kind() != std::io::ErrorKind::BrokenPipe
        {
            return Err(error).context("can't write the snapshot");
        }
    } else if !options.quiet {
        println!("Config file is good!");
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether a configuration can be used; what is wrong with it is told.
pub fn is_good(dir: &MasterDir) -> Result<bool> {
    Ok(checked(dir)?.is_some())
}

fn checked(dir: &MasterDir) -> Result<Option<Loaded>> {
    match commands::block_on(async { Ok(config::evaluate(dir).await) })? {
        Ok(loaded) => {
            for warning in &loaded.snapshot.warnings {
                eprintln!("warning: {warning}");
            }
            Ok(Some(loaded))
        }
        Err(HostError::Config(errors)) => {
            // As Buildbot prints them, without the program's name: editors and scripts read these lines.
            // A traceback is among what the configuration has printed, and there is no log file.
            eprintln!("{}", errors.to_string().replace("(traceback in logfile)", "(traceback above)"));
            Ok(None)
        }
        Err(other) => Err(other.into()),
    }
}
