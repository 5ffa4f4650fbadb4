//! Why a worker can't work at all.

use std::io;
use std::path::PathBuf;

/// Ends a worker at its start. A master that is away or refuses does not: the worker tries again.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The directory can't be made, read or written.
    #[error("can't use {} as the worker's directory: {error}; choose another one or change its permissions", dir.display())]
    Directory {
        /// Which one.
        dir: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Another process has the directory's lock.
    #[error("a worker (process {pid}) already runs in {}; stop it first, or give this one a directory of its own", dir.display())]
    AlreadyRunning {
        /// Which one.
        dir: PathBuf,
        /// Who it is, as the lock file says.
        pid: String,
    },
    /// A counter of the worker's holds something else than a number.
    #[error("{} holds {content:?} where a number must stand; remove the file", path.display())]
    Counter {
        /// The file.
        path: PathBuf,
        /// What it holds.
        content: String,
    },
    /// No master was named.
    #[error("no master is named; give at least one as ws://HOST:PORT")]
    NoMaster,
    /// The name can't be one.
    #[error("{name:?} can't be a worker's name: it must have 1 to {max} characters")]
    Name {
        /// The name.
        name: String,
        /// The longest.
        max: usize,
    },
    /// Signals can't be received.
    #[error("can't listen for signals: {0}")]
    Signals(io::Error),
}
