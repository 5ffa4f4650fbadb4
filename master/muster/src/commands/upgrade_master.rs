//! `muster upgrade-master`: the database becomes what this version needs.

use std::process::ExitCode;

use anyhow::{Result, bail};
use muster_data::Data;
use muster_store::{Db, DbUrl};

use crate::buildbot_pid::Seen;
use crate::cli::UpgradeMaster;
use crate::master::said;
use crate::master_dir::MasterDir;
use crate::{buildbot_pid, commands, config, logging, pid_file};

/// Migrates the database that the configuration names.
pub fn run(options: &UpgradeMaster) -> Result<ExitCode> {
    logging::warnings_to_terminal();
    let dir = MasterDir::open(&options.target.dir)?;
    // Whatever is said: a process that lives isn't gone.
    let left = refuse_running(&dir)?;
    let adopted = commands::block_on(async {
        let (url, names_method) = config::database(&dir).await?;
        bury_buildbots(&url, &dir, left, options.buildbot_is_gone).await?;
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

/// Refuses a directory in which a master runs, of either kind.
pub(super) fn refuse_running(dir: &MasterDir) -> Result<Seen> {
    if let Some(pid) = pid_file::running(dir) {
        let dir = dir.path().display();
        bail!("a master runs in {dir} (process {pid}); stop it first with `muster stop {dir}`");
    }
    buildbot_pid::refuse_live(dir)
}

/// Marks Buildbots as down that are gone, as the directory or whoever is asked shows; refuses one that may live.
pub(super) async fn bury_buildbots(
    url: &DbUrl,
    dir: &MasterDir,
    left: Seen,
    all_are_gone: bool,
) -> Result<()> {
    let before = Db::before_upgrade(url).await?;
    let name = dir.master_name();
    for (buildbot, heard) in Data::live_buildbots(&before, &name).await? {
        // A file tells of the Buildbot of this directory only.
        let is_gone = all_are_gone || (left == Seen::Stale && buildbot == name);
        if !is_gone {
            bail!("{}; nothing was changed", said::buildbot_lives(&name, &buildbot, heard));
        }
        Data::bury_buildbot(&before, &buildbot).await?;
    }
    Ok(())
}
