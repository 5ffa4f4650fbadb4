//! `muster upgrade-master`: the database becomes what this version needs.

use std::process::ExitCode;

use anyhow::{Result, bail};
use muster_store::Db;

use crate::cli::UpgradeMaster;
use crate::master_dir::MasterDir;
use crate::{commands, config, logging, pid_file};

/// Migrates the database that the configuration names.
pub fn run(options: &UpgradeMaster) -> Result<ExitCode> {
    logging::warnings_to_terminal();
    let dir = MasterDir::open(&options.target.dir)?;
    if let Some(pid) = pid_file::running(&dir) {
        let dir = dir.path().display();
        bail!("a master runs in {dir} (process {pid}); stop it first with `muster stop {dir}`");
    }
    commands::block_on(async {
        let url = config::database(&dir).await?;
        if options.convert {
            let quiet = options.target.quiet;
            Db::convert(&url, |statement, number, all| {
                if !quiet {
                    println!("{number}/{all} {statement}");
                }
            })
            .await?;
        }
        Ok(Db::upgrade(&url).await?)
    })?;
    if !options.target.quiet {
        println!("upgrade complete");
    }
    Ok(ExitCode::SUCCESS)
}
