//! A master's directory: what lies where, and what an old `buildbot.tac` in it says.

use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Bytes of a log file after which the next one is begun, unless `buildbot.tac` says otherwise.
const ROTATE_LENGTH: u64 = 10_000_000;
/// Older log files that are kept, unless `buildbot.tac` says otherwise.
const MAX_ROTATED_FILES: u32 = 10;
/// Largest `buildbot.tac` that is read; a longer one is none.
const MAX_TAC_BYTES: u64 = 256 * 1024;

/// A directory in which a master lives.
#[derive(Clone, Debug)]
pub struct MasterDir {
    path: PathBuf,
    tac: Tac,
}

impl MasterDir {
    /// The directory at `path`, which must hold a configuration.
    pub fn open(path: &Path) -> Result<MasterDir> {
        let dir = MasterDir::at(path)?;
        if !dir.path.is_dir() {
            bail!("{} is not a directory; create it with `muster create-master {0}`", dir.path.display());
        }
        let config = dir.config_file();
        if !config.exists() {
            let dir = dir.path.display();
            bail!(
                "{} does not exist; write it (`muster create-master {dir}` makes an example, master.cfg.sample)",
                config.display()
            );
        }
        Ok(dir)
    }

    /// The directory at `path`, whatever it holds.
    pub fn at(path: &Path) -> Result<MasterDir> {
        let path = std::path::absolute(path).with_context(|| format!("can't make {} absolute", path.display()))?;
        let path = normalised(&path);
        let tac = Tac::read(&path.join("buildbot.tac"))?;
        Ok(MasterDir { path, tac })
    }

    /// Absolute, without `.` and `..`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.path.join(self.tac.configfile.as_deref().unwrap_or("master.cfg"))
    }

    /// Holds the process id and the lock of the running master.
    pub fn pid_file(&self) -> PathBuf {
        self.path.join("muster.pid")
    }

    /// What the running master says.
    pub fn log_file(&self) -> PathBuf {
        self.path.join("muster.log")
    }

    /// When a log file is full, and how many full ones are kept.
    pub fn log_rotation(&self) -> (u64, u32) {
        (self.tac.rotate_length.unwrap_or(ROTATE_LENGTH), self.tac.max_rotated_files.unwrap_or(MAX_ROTATED_FILES))
    }

    /// The name under which this master owns things in the database: `HOST:DIRECTORY`, as Buildbot's.
    pub fn master_name(&self) -> String {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        format!("{host}:{}", self.path.display())
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

/// The names in a `buildbot.tac` that mean something here; the rest of the file is Twisted's.
#[derive(Clone, Debug, Default, PartialEq)]
struct Tac {
    configfile: Option<String>,
    rotate_length: Option<u64>,
    max_rotated_files: Option<u32>,
}

impl Tac {
    fn read(path: &Path) -> Result<Tac> {
        match std::fs::metadata(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Tac::default()),
            Err(error) => return Err(error).with_context(|| format!("can't read {}", path.display())),
            Ok(found) if found.len() > MAX_TAC_BYTES => bail!("{} is too long to be a tac file", path.display()),
            Ok(_) => {}
        }
        let text = std::fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))?;
        Ok(Tac::parse(&text))
    }

    /// Plain assignments of literals at the beginning of a line; the last one counts, as in Python.
    fn parse(text: &str) -> Tac {
        let mut tac = Tac::default();
        for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
            let value = value.trim();
            match name.trim_end() {
                "configfile" => tac.configfile = string_literal(value),
                "rotateLength" => tac.rotate_length = value.replace('_', "").parse().ok(),
                "maxRotatedFiles" => tac.max_rotated_files = value.parse().ok(),
                _ => {}
            }
        }
        tac
    }
}

fn string_literal(value: &str) -> Option<String> {
    let quoted = |quote| value.strip_prefix(quote).and_then(|rest: &str| rest.split_once(quote));
    quoted('\'').or_else(|| quoted('"')).map(|(content, _)| content.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tac_gives_the_names_it_is_asked_for() {
        let text = "import os\nbasedir = '.'\nrotateLength = 10_000\nmaxRotatedFiles = None\n  configfile = 'no.cfg'\n\
                    configfile = 'main.cfg'  # ours\numask = None\n";
        let expected =
            Tac { configfile: Some("main.cfg".to_owned()), rotate_length: Some(10_000), max_rotated_files: None };
        assert_eq!(Tac::parse(text), expected);
    }

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
