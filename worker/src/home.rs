//! The worker's directory: its lock, its dial counter, and what it tells about the machine.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use muster_session::{
    WorkerInfo,
    wire::{MAX_AHEAD, MAX_DIAL},
};
use rustix::fs::{FlockOperation, flock};
use serde_json::Value;

use crate::{WorkerError, private};

const LOCK_FILE: &str = "worker.lock";
const DIAL_FILE: &str = "dial-number";
const GENERATION_FILE: &str = "generation";

/// How far a dial's number may be ahead of the clock, in seconds: twice what a master takes, so that what a master tells is never
/// taken for nonsense. A worker counts one for each dial, which is far slower than the clock.
const IMPLAUSIBLE: u64 = 2 * MAX_AHEAD;

/// Largest file of `info/` that is told to the master; larger ones are skipped.
const MAX_INFO_BYTES: u64 = 64 * 1024;

/// The directory of one worker, locked for this process.
#[derive(Debug)]
pub(crate) struct WorkerHome {
    dir: PathBuf,
    /// Held open: the lock goes with the process, however it ends.
    _lock: File,
}

impl WorkerHome {
    /// Creates the directory if needed and takes its lock.
    pub(crate) fn open(dir: &Path) -> Result<Self, WorkerError> {
        let unusable = |error: io::Error| WorkerError::Directory { dir: dir.to_owned(), error };
        private::create_dir(&dir.join("info")).map_err(unusable)?;
        let dir = dir.canonicalize().map_err(unusable)?;
        let mut lock =
            private::options().read(true).truncate(false).open(dir.join(LOCK_FILE)).map_err(unusable)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut pid = String::new();
                lock.read_to_string(&mut pid).map_err(unusable)?;
                return Err(WorkerError::AlreadyRunning { dir, pid: pid.trim().to_owned() });
            }
            Err(error) => return Err(unusable(error.into())),
        }
        write_pid(&mut lock).map_err(unusable)?;
        Ok(Self { dir, _lock: lock })
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The number of this dial: higher than that of any earlier one, also after a crash of the machine. It is never
    /// lower than `now`, the seconds since 1970, so that a worker whose directory was lost is not taken for an old one.
    pub(crate) fn next_dial_number(&self, now: u64) -> Result<u64, WorkerError> {
        let last = self.counter(DIAL_FILE)?;
        if last > now.saturating_add(IMPLAUSIBLE) {
            tracing::warn!(
                last,
                "no worker has dialled so often; the numbers of dials begin with the present second again"
            );
        }
        let last = if last > now.saturating_add(IMPLAUSIBLE) { 0 } else { last };
        let next = last.saturating_add(1).max(now);
        self.keep_counter(DIAL_FILE, next)?;
        Ok(next)
    }

    /// The next dial has a higher number than `highest`: a dial of this name with that number is known already.
    pub(crate) fn count_dials_from(&self, highest: u64) -> Result<(), WorkerError> {
        if highest <= self.counter(DIAL_FILE)? || highest > MAX_DIAL {
            return Ok(());
        }
        self.keep_counter(DIAL_FILE, highest)
    }

    /// The highest generation of a cluster that this worker has served.
    pub(crate) fn generation(&self) -> Result<u64, WorkerError> {
        self.counter(GENERATION_FILE)
    }

    /// Remembers a generation durably.
    pub(crate) fn keep_generation(&self, generation: u64) -> Result<(), WorkerError> {
        if generation <= self.generation()? {
            return Ok(());
        }
        self.keep_counter(GENERATION_FILE, generation)
    }

    fn counter(&self, name: &str) -> Result<u64, WorkerError> {
        let path = self.dir.join(name);
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                let content = text.trim();
                content.parse().map_err(|_| WorkerError::Counter { path, content: content.to_owned() })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(self.unusable(error)),
        }
    }

    fn keep_counter(&self, name: &str, value: u64) -> Result<(), WorkerError> {
        write_durably(&self.dir.join(name), &format!("{value}\n")).map_err(|error| self.unusable(error))
    }

    fn unusable(&self, error: io::Error) -> WorkerError {
        WorkerError::Directory { dir: self.dir.clone(), error }
    }
}

fn write_pid(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}

/// On disk when this returns: a dial number must not come twice even after a power cut.
fn write_durably(path: &Path, content: &str) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = private::options().truncate(true).open(&temporary)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// What the worker tells about itself and its machine (`docs/compat/worker-protocol.md`, 4.4). The environment is left out:
/// it holds secrets, and the master has not proven anything when this is sent.
pub(crate) fn worker_info(dir: &Path) -> WorkerInfo {
    let mut info: WorkerInfo =
        info_files(dir).into_iter().map(|(name, text)| (name, Value::from(text))).collect();
    // Missing on systems that have none.
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    info.extend(os_release(&release).into_iter().map(|(key, value)| (key, Value::from(value))));
    info.insert("system".into(), "posix".into());
    info.insert("basedir".into(), dir.to_string_lossy().into());
    info.insert("numcpus".into(), std::thread::available_parallelism().map_or(1, |count| count.get()).into());
    info.insert("version".into(), env!("CARGO_PKG_VERSION").into());
    info
}

/// Text files of `DIR/info/` by name; undecodable and oversized ones are skipped, as users may put anything there.
fn info_files(dir: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(dir.join("info")).into_iter().flatten().flatten() {
        let small = entry.metadata().is_ok_and(|found| found.is_file() && found.len() <= MAX_INFO_BYTES);
        if let (true, Ok(name), Ok(text)) =
            (small, entry.file_name().into_string(), std::fs::read_to_string(entry.path()))
        {
            files.insert(name, text);
        }
    }
    files
}

/// `/etc/os-release` with keys lower-cased and prefixed by `os_`; quotes are taken off.
fn os_release(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs
        .filter(|(key, _)| !key.trim_start().starts_with('#'))
        .map(|(key, value)| (format!("os_{}", key.trim().to_lowercase()), unquote(value.trim()).to_owned()))
        .collect()
}

fn unquote(value: &str) -> &str {
    let quoted = |quote| value.strip_prefix(quote).and_then(|rest: &str| rest.strip_suffix(quote));
    quoted('"').or_else(|| quoted('\'')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dial_numbers_grow_over_lives_of_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let home = WorkerHome::open(dir.path()).unwrap();
        assert_eq!(home.next_dial_number(0).unwrap(), 1);
        assert_eq!(home.next_dial_number(0).unwrap(), 2);
        assert_eq!(home.next_dial_number(1000).unwrap(), 1000);
        drop(home);
        let home = WorkerHome::open(dir.path()).unwrap();
        assert_eq!(home.next_dial_number(900).unwrap(), 1001);
        home.count_dials_from(5000).unwrap();
        home.count_dials_from(2000).unwrap();
        assert_eq!(home.next_dial_number(900).unwrap(), 5001);
    }

    #[test]
    fn a_number_that_nobody_reaches_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(DIAL_FILE), format!("{}\n", 1_u64 << 62)).unwrap();
        let home = WorkerHome::open(dir.path()).unwrap();
        assert_eq!(home.next_dial_number(1_800_000_000).unwrap(), 1_800_000_000);
        assert_eq!(home.next_dial_number(1_800_000_000).unwrap(), 1_800_000_001);
    }

    #[test]
    fn a_damaged_dial_number_is_told_not_guessed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(DIAL_FILE), "what\n").unwrap();
        let error = WorkerHome::open(dir.path()).unwrap().next_dial_number(0).unwrap_err();
        assert!(error.to_string().contains("dial-number"), "{error}");
    }

    #[test]
    fn a_second_worker_in_the_same_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let _first = WorkerHome::open(dir.path()).unwrap();
        let error = WorkerHome::open(dir.path()).unwrap_err();
        assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
    }

    #[test]
    fn os_release_becomes_prefixed_keys() {
        let parsed = os_release("NAME=\"Debian GNU/Linux\"\n# X=1\nVERSION_ID='12'\nID=debian\nbroken\n");
        assert_eq!(parsed["os_name"], "Debian GNU/Linux");
        assert_eq!(parsed["os_version_id"], "12");
        assert_eq!(parsed["os_id"], "debian");
        assert_eq!(parsed.len(), 3);
    }
}
