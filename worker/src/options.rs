//! What a worker is told when it is started.

use std::path::PathBuf;
use std::time::Duration;

use muster_session::{MasterUrl, Password};

use crate::launch::Launcher;
use crate::spool::SpoolLimits;

/// Bytes of one command's updates that wait in memory for their acknowledgement. A quarter of the session's window:
/// a master that listens keeps them below that.
const SPOOL_MEMORY: usize = 256 * 1024;

/// Bytes of one command's updates that wait on disk; then the command's pipes are not read until the master has
/// acknowledged some. Holds the output of nearly every build.
const SPOOL_DISK: u64 = 64 * 1024 * 1024;

/// Bytes of all spools on disk; when they are used, all commands hold back.
const SPOOL_TOTAL: u64 = 1024 * 1024 * 1024;

/// Commands at once. Each costs at most about 0.7 MB of memory. One more ends at once with an error.
const MAX_COMMANDS: usize = 256;

/// How often followed log files are looked at. Buildbot's worker takes 2 s; a page that is read live wants them sooner.
const LOGFILE_POLL: Duration = Duration::from_millis(500);

/// How long a program may live on after the signal that was meant to end it, as in Buildbot's worker.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// The variable that may hold the worker's password. Commands don't see it: headers of logs list the environment.
pub const PASSWORD_VARIABLE: &str = "MUSTER_WORKER_PASSWORD";

/// Everything a worker needs to know.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// Its directory; created when missing.
    pub dir: PathBuf,
    /// Where masters listen; tried in turn, the last good one first. At least one.
    pub masters: Vec<MasterUrl>,
    /// Its name.
    pub name: String,
    /// Its password.
    pub password: Password,
    /// How commands are started.
    pub launcher: Launcher,
    /// Its bounds.
    pub limits: Limits,
}

impl WorkerOptions {
    /// Options with default bounds.
    pub fn new(
        dir: impl Into<PathBuf>,
        masters: Vec<MasterUrl>,
        name: impl Into<String>,
        password: Password,
    ) -> Self {
        let (launcher, limits) = (Launcher::default(), Limits::default());
        Self { dir: dir.into(), masters, name: name.into(), password, launcher, limits }
    }
}

/// The bounds of a worker.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of one command's unacknowledged updates in memory (default 256 KiB).
    pub spool_memory: usize,
    /// Bytes of one command's unacknowledged updates on disk (default 64 MiB, at least two frames).
    pub spool_disk: u64,
    /// Bytes of all spools on disk (default 1 GiB).
    pub spool_total: u64,
    /// Commands at once (default 256).
    pub commands: usize,
    /// How often followed log files are looked at (default 0.5 s).
    pub logfile_poll: Duration,
    /// How long a program may live on after the signal that was meant to end it (default 5 s); then it is given up.
    pub kill_patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            spool_memory: SPOOL_MEMORY,
            spool_disk: SPOOL_DISK,
            spool_total: SPOOL_TOTAL,
            commands: MAX_COMMANDS,
            logfile_poll: LOGFILE_POLL,
            kill_patience: KILL_PATIENCE,
        }
    }
}

impl Limits {
    /// A spool must take any single update, or its command could never go on.
    pub(crate) fn spool(&self) -> SpoolLimits {
        let least = 2 * muster_session::wire::MAX_FRAME as u64;
        SpoolLimits { memory: self.spool_memory, disk: self.spool_disk.max(least) }
    }
}
