//! `muster upgrade-master`: the database becomes what this version needs.

use std::process::ExitCode;

use anyhow::{Result, bail};
use muster_data::Data;
use muster_store::Db;

use crate::cli::UpgradeMaster;
use crate::master::said;
use crate::master_dir::MasterDir;
use crate::{buildbot_pid, commands, config, logging, pid_file};

/// Migrates the database that the configuration names.
pub fn run(options: &UpgradeMaster) -> Result<ExitCode> {
    logging::warnings_to_terminal();
    let dir = MasterDir::open(&options.target.dir)?;
    if let Some(pid) = pid_file::running(&dir) {
        let dir = dir.path().display();
        bail!("a master runs in {dir} (process {pid}); stop it first with `muster stop {dir}`");
    }
    let gone = options.buildbot_is_gone || buildbot_pid::refuse_live(&dir)? == buildbot_pid::Seen::Stale;
    let adopted = commands::block_on(async {
        let (url, names_method) = config::database(&dir).await?;
        let before = Db::before_upgrade(&url).await?;
        let name = dir.master_name();
        if let Some(heard) = Data::live_buildbot(&before, &name).await? {
            if !gone {
                bail!("{}; nothing was changed", said::buildbot_lives(&name, heard));
            }
            Data::bury_buildbot(&before, &name).await?;
        }
        drop(before);
        if options.convert {
            let quiet = options.target.quiet;
            Db::convert(&url, |statement, number, all| {
                if !quiet {
                    println!("{number}/{all} {statement}");
                }
            })
            .await?;
        }
        let adopted = Db::upgrade(&url).await?.is_adopted().await?;
        Ok(adopted && !names_method)
    })?;
    if !options.target.quiet {
        if adopted {
            println!(
                "new logs are compressed with gz, which every Buildbot can read, until c['logCompressionMethod'] names another"
            );
        }
        println!("upgrade complete");
    }
    Ok(ExitCode::SUCCESS)
}
