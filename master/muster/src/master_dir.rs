//! A master's directory: what lies where.

use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};
use muster_config::{MasterDirectory, find_config};

use crate::interpreter::interpreter;

/// Bytes of a log file after which the next one is begun, unless `buildbot.tac` says otherwise.
const ROTATE_LENGTH: u64 = 10_000_000;
/// Older log files that are kept, unless `buildbot.tac` says otherwise.
const MAX_ROTATED_FILES: u64 = 10;

/// Rights of what a master makes: it holds passwords of workers and what builds say.
pub const PRIVATE_DIR: u32 = 0o700;
pub const PRIVATE_FILE: u32 = 0o600;
/// Rights of others than the user.
const OTHERS: u32 = 0o077;

/// Makes a directory for its user alone; one that is there already stays as it is.
pub fn make_private_dir(path: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(PRIVATE_DIR).create(path)
}

/// Whether others than its user may read or write a file.
pub fn is_open_to_others(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.permissions().mode() & OTHERS != 0)
}

/// A directory in which a master lives.
#[derive(Clone, Debug)]
pub struct MasterDir(MasterDirectory);

impl MasterDir {
    /// The directory at `path`, which must hold a configuration.
    pub fn open(path: &Path) -> Result<MasterDir> {
        let dir = MasterDir::at(path)?;
        if path.is_file() {
            bail!("{} is a file, not a master's directory", path.display());
        }
        if !dir.path().is_dir() {
            bail!("{} is not a directory; create it with `muster create-master {0}`", dir.path().display());
        }
        dir.require_config()
    }

    /// The configuration that `path` means: a file, or a master's directory. As in Buildbot, a file below the current
    /// directory is read as one of a master that lives here: modules and files are looked for here.
    pub fn of_config(path: &Path) -> Result<MasterDir> {
        let mut found = MasterDir::at(path)?.require_config()?;
        if path.is_file()
            && let Ok(here) = std::env::current_dir()
            && let Some(below) = found.config_file().strip_prefix(&here).ok().and_then(Path::to_str)
        {
            found.0.config_file = below.to_owned();
            found.0.basedir = here;
        }
        Ok(found)
    }

    /// The directory at `path`, whatever it holds.
    pub fn at(path: &Path) -> Result<MasterDir> {
        let absolute =
            std::path::absolute(path).with_context(|| format!("can't make {} absolute", path.display()))?;
        let path = normalised(&absolute);
        if path.exists() {
            let found = find_config(&path, &interpreter()).map_err(anyhow::Error::msg)?;
            return Ok(MasterDir(found));
        }
        let (config_file, rotate_length, max_rotated_files, umask) =
            ("master.cfg".to_owned(), None, None, None);
        Ok(MasterDir(MasterDirectory { basedir: path, config_file, rotate_length, max_rotated_files, umask }))
    }

    fn require_config(self) -> Result<MasterDir> {
        let (config, dir) = (self.config_file(), self.path().display());
        if !config.exists() {
            bail!(
                "{} does not exist; write it (`muster create-master {dir}` makes an example, master.cfg.sample)",
                config.display()
            );
        }
        Ok(self)
    }

    /// Absolute, without `.` and `..`.
    pub fn path(&self) -> &Path {
        &self.0.basedir
    }

    /// The configuration's name, relative to the directory.
    pub fn config_name(&self) -> &str {
        &self.0.config_file
    }

    /// The configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.path().join(&self.0.config_file)
    }

    /// Holds the process id and the lock of the running master.
    pub fn pid_file(&self) -> PathBuf {
        self.path().join("muster.pid")
    }

    /// Names the life that last ran here: whoever holds the lock knows that it is over.
    pub fn incarnation_file(&self) -> PathBuf {
        self.path().join("muster.incarnation")
    }

    /// What the running master says.
    pub fn log_file(&self) -> PathBuf {
        self.path().join("muster.log")
    }

    /// When a log file is full, and how many full ones are kept.
    pub fn log_rotation(&self) -> (u64, u64) {
        (self.0.rotate_length.unwrap_or(ROTATE_LENGTH), self.0.max_rotated_files.unwrap_or(MAX_ROTATED_FILES))
    }

    /// The name under which this master owns things in the database: `HOST:DIRECTORY`, as Buildbot's.
    pub fn master_name(&self) -> String {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        format!("{host}:{}", self.path().display())
    }
}

/// Resolves `.` and `..` by name only, so that a path through a link stays as the user wrote it.
fn normalised(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut done, component| {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                done.pop();
            }
            other => done.push(other),
        }
        done
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_absolute_and_plain() {
        assert_eq!(normalised(Path::new("/srv/./a/../master")), Path::new("/srv/master"));
    }

    #[test]
    fn a_directory_without_configuration_says_what_to_write() {
        let dir = tempfile::tempdir().unwrap();
        let error = MasterDir::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("master.cfg does not exist") && error.contains("create-master"), "{error}");
        let missing = MasterDir::open(&dir.path().join("no")).unwrap_err().to_string();
        assert!(missing.contains("is not a directory"), "{missing}");
    }
}
