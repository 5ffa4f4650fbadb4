//! The lock on a master's directory: `muster.pid`, locked as long as its process lives.
//!
//! The kernel lets go of the lock however the process ends, so a file that was left behind means nothing, and a
//! process id that somebody else has got since is never taken for the master.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};
use rustix::process::Pid;

use crate::master_dir::{MasterDir, PRIVATE_FILE};

/// How long a start tries to get the lock: somebody may just be looking at it, or a restart's old process is ending.
const PATIENCE: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(20);

/// The lock, held by this process; it removes the file when it goes.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    _locked: File,
}

impl PidFile {
    /// Takes the directory for this process.
    pub fn take(dir: &MasterDir) -> Result<PidFile> {
        let path = dir.pid_file();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let file = open(&path).with_context(|| {
                format!(
                    "can't write {}; the master needs the right to write in its directory",
                    path.display()
                )
            })?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                // A process that just ended removed the file between our opening and our locking: begin anew.
                Ok(()) if !is_still_at(&file, &path) => continue,
                Ok(()) => return PidFile::write(file, path),
                Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < deadline => std::thread::sleep(POLL),
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    let dir = dir.path().display();
                    let who = holder_of(&path).map_or_else(String::new, |pid| format!(" (process {pid})"));
                    bail!("a master already runs in {dir}{who}; stop it with `muster stop {dir}`");
                }
                Err(error) => return Err(error).with_context(|| format!("can't lock {}", path.display())),
            }
        }
    }

    fn write(mut file: File, path: PathBuf) -> Result<PidFile> {
        let mut written = || -> io::Result<()> {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        written().with_context(|| format!("can't write {}", path.display()))?;
        Ok(PidFile { path, _locked: file })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Left behind it does no harm: nobody holds its lock.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The process that runs a master in `dir`.
pub fn running(dir: &MasterDir) -> Option<Pid> {
    holder_of(&dir.pid_file())
}

fn holder_of(path: &Path) -> Option<Pid> {
    let mut file = File::open(path).ok()?;
    if flock(&file, FlockOperation::NonBlockingLockShared) != Err(rustix::io::Errno::WOULDBLOCK) {
        return None;
    }
    let mut pid = String::new();
    file.read_to_string(&mut pid).ok()?;
    pid.trim().parse().ok().and_then(Pid::from_raw)
}

fn open(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create(true).truncate(false).mode(PRIVATE_FILE).open(path)
}

fn is_still_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(held), Ok(named)) => held.ino() == named.ino() && held.dev() == named.dev(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_master_in_a_directory() {
        let home = tempfile::tempdir().unwrap();
        let dir = MasterDir::at(home.path()).unwrap();
        assert_eq!(running(&dir), None);
        let held = PidFile::take(&dir).unwrap();
        assert_eq!(running(&dir).map(Pid::as_raw_pid), i32::try_from(std::process::id()).ok());
        let error = PidFile::take(&dir).unwrap_err().to_string();
        assert!(error.contains("already runs") && error.contains("muster stop"), "{error}");
        drop(held);
        assert!(!dir.pid_file().exists());
        drop(PidFile::take(&dir).unwrap());
    }

    #[test]
    fn a_file_left_behind_means_nothing() {
        let home = tempfile::tempdir().unwrap();
        let dir = MasterDir::at(home.path()).unwrap();
        std::fs::write(dir.pid_file(), "1\n").unwrap();
        assert_eq!(running(&dir), None);
        assert!(PidFile::take(&dir).is_ok());
    }
}
