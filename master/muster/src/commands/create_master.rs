//! `muster create-master`: a directory, an example of a configuration, a database.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use muster_store::{Db, DbUrl};

use crate::cli::CreateMaster;
use crate::config::{DEFAULT_DB_URL, FIRST_CONFIG};
use crate::{
    commands::{
        self,
        upgrade_master::{bury_buildbots, refuse_running},
    },
    logging,
    master_dir::{MasterDir, PRIVATE_FILE, make_private_dir},
};

/// Creates what is missing; nothing of the user's is overwritten.
pub fn run(options: &CreateMaster) -> Result<ExitCode> {
    if options.target.dir.is_file() {
        bail!("{} is a file; choose another directory", options.target.dir.display());
    }
    let dir = MasterDir::at(&options.target.dir)?;
    let path = dir.path();
    let url = DbUrl::parse(&options.db, path)?;
    logging::warnings_to_terminal();
    // What is there already may be in use.
    let left = refuse_running(&dir)?;
    let is_new = !path.exists();
    prepare(path, options.force)?;
    let kept = match &url {
        DbUrl::Sqlite(file) if std::fs::metadata(file).is_ok_and(|found| found.len() > 0) => {
            Some(file.display().to_string())
        }
        _ => None,
    };
    commands::block_on(async {
        bury_buildbots(&url, &dir, left, false).await?;
        Ok(Db::upgrade(&url).await?)
    })?;
    write_sample(&path.join("master.cfg.sample"), &options.db)?;
    if !options.target.quiet {
        let path = path.display();
        println!("{}{path}", if is_new { "created " } else { "completed what was missing in " });
        if let Some(file) = kept {
            println!("{file} was there already and is kept, with all its builds; it was brought up to date");
        }
        match dir.config_file().exists() {
            true => println!("next:"),
            false => println!("next: copy {path}/master.cfg.sample to {path}/master.cfg, adapt it, and run"),
        }
        println!("  muster checkconfig {path}\n  muster start {path}");
    }
    Ok(ExitCode::SUCCESS)
}

fn prepare(path: &Path, force: bool) -> Result<()> {
    make_private_dir(path)
        .with_context(|| format!("can't create {}; choose another directory", path.display()))?;
    let mut entries = fs::read_dir(path).with_context(|| format!("can't read {}", path.display()))?;
    // A directory that already is a master's is completed, so that the command can be repeated.
    let is_masters = path.join("master.cfg").exists() || path.join("master.cfg.sample").exists();
    if entries.next().is_some() && !force && !is_masters {
        bail!("{} is not empty; choose another directory, or add -f to use it anyway", path.display());
    }
    Ok(())
}

/// The example holds passwords by its nature, so nobody else may read it.
fn write_sample(path: &Path, db: &str) -> Result<()> {
    let quoted = serde_json::to_string(db).context("the database's URL can't be written")?;
    let text = FIRST_CONFIG.replace(&format!("\"{DEFAULT_DB_URL}\""), &quoted);
    let write = || -> std::io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        File::options().write(true).create_new(true).mode(PRIVATE_FILE).open(path)?.write_all(text.as_bytes())
    };
    write().with_context(|| format!("can't write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_sample_names_the_database_and_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.cfg.sample");
        for url in [DEFAULT_DB_URL, "sqlite:////srv/other.sqlite"] {
            write_sample(&path, url).unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.contains(&format!("{{\"db_url\": \"{url}\"}}")), "{text}");
        }
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn somebody_elses_directory_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        assert!(prepare(dir.path(), false).is_ok());
        std::fs::write(dir.path().join("mine"), "").unwrap();
        let error = prepare(dir.path(), false).unwrap_err().to_string();
        assert!(error.contains("not empty") && error.contains("-f"), "{error}");
        assert!(prepare(dir.path(), true).is_ok());
    }
}
