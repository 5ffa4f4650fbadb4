//! `muster checkconfig`: all that is wrong with a configuration, in order.

use std::process::ExitCode;

use anyhow::Result;

use crate::cli::Checkconfig;
use crate::config::{self, Refused};
use crate::master_dir::MasterDir;
use crate::commands;

/// Reads a configuration as a start of the master would.
pub fn run(options: &Checkconfig) -> Result<ExitCode> {
    let (dir, file) = if options.target.is_dir() {
        let dir = MasterDir::open(&options.target)?;
        let file = dir.config_file();
        (dir, file)
    } else {
        let file = std::path::absolute(&options.target)?;
        (MasterDir::at(file.parent().unwrap_or(&file))?, file)
    };
    match commands::block_on(async { Ok(config::load_file(&dir, &file).await) })? {
        Ok(loaded) => {
            for warning in &loaded.snapshot.warnings {
                eprintln!("warning: {warning}");
            }
            if !options.quiet {
                println!("Config file is good!");
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(Refused { problems }) => {
            eprintln!("Configuration Errors:");
            for problem in problems {
                eprintln!("  {problem}");
            }
            Ok(ExitCode::FAILURE)
        }
    }
}
