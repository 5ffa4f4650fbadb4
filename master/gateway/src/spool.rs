//! Updates that no engine has confirmed: in memory, and on disk once a command has much to say.
//!
//! They die with the process, as the commands of stock workers do: nothing has to be found again.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use muster_core::CommandId;
use muster_session::{Spool, UpdateBody};

/// Bytes of one command's updates that are kept in memory; what comes on top goes to a file. It is what an engine
/// confirms in a few commits.
const MEMORY_PER_COMMAND: usize = 2 << 20;

/// Bytes of one command's updates on disk. A command that says more while no engine listens is ended: its output
/// could not be kept.
const DISK_PER_COMMAND: u64 = 1 << 30;

/// Bytes of all updates of a gateway, in memory and on disk. When it is full no worker's socket is read until an
/// engine has confirmed something.
const TOTAL: u64 = 16 << 30;

/// Rough size of an update without its text.
const OVERHEAD: usize = 64;

/// How much all spools of a process hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Budget(Arc<AtomicU64>);

impl Budget {
    pub(crate) fn is_full(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= TOTAL
    }

    fn take(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn give_back(&self, bytes: usize) {
        self.0.fetch_sub(bytes as u64, Ordering::Relaxed);
    }
}

/// One worker's updates. Clones are the same spool.
#[derive(Clone)]
pub(crate) struct WorkerSpool(Arc<Inner>);

struct Inner {
    directory: PathBuf,
    budget: Budget,
    commands: Mutex<HashMap<CommandId, Kept>>,
}

/// One command's updates, from `first` on.
struct Kept {
    first: u64,
    updates: VecDeque<Place>,
    in_memory: usize,
    file: Option<File>,
    written: u64,
}

enum Place {
    Memory(UpdateBody, usize),
    Disk { offset: u64, length: usize },
}

impl Place {
    fn length(&self) -> usize {
        match self {
            Place::Memory(_, length) | Place::Disk { length, .. } => *length,
        }
    }
}

/// Why an update was not kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpoolError {
    #[error("it has more than {DISK_PER_COMMAND} bytes that no master has confirmed")]
    Full,
    #[error("the gateway's spool can't be written: {0}")]
    Io(#[from] io::Error),
}

impl WorkerSpool {
    /// An empty one; its files are made in `directory`, without a name.
    pub(crate) fn new(directory: PathBuf, budget: Budget) -> WorkerSpool {
        WorkerSpool(Arc::new(Inner { directory, budget, commands: Mutex::default() }))
    }

    /// Keeps the next update of a command; answers its number.
    pub(crate) fn append(&self, command: CommandId, body: UpdateBody) -> Result<u64, SpoolError> {
        let mut commands = self.commands();
        let kept = commands.entry(command).or_insert_with(|| Kept {
            first: 1,
            updates: VecDeque::new(),
            in_memory: 0,
            file: None,
            written: 0,
        });
        let is_end = matches!(body, UpdateBody::Complete { .. });
        let place = if is_end || kept.in_memory < MEMORY_PER_COMMAND {
            let length = size(&body);
            kept.in_memory += length;
            Place::Memory(body, length)
        } else {
            self.write(kept, &body)?
        };
        self.0.budget.take(place.length());
        kept.updates.push_back(place);
        Ok(kept.first + kept.updates.len() as u64 - 1)
    }

    fn write(&self, kept: &mut Kept, body: &UpdateBody) -> Result<Place, SpoolError> {
        if kept.written >= DISK_PER_COMMAND {
            return Err(SpoolError::Full);
        }
        let bytes = rmp_serde::to_vec_named(body).map_err(io::Error::other)?;
        let file = match kept.file.take() {
            Some(file) => file,
            None => tempfile::tempfile_in(&self.0.directory)?,
        };
        let written = file.write_all_at(&bytes, kept.written);
        kept.file = Some(file);
        written?;
        let place = Place::Disk { offset: kept.written, length: bytes.len() };
        kept.written += bytes.len() as u64;
        Ok(place)
    }

    /// Drops the updates of a command up to `number`.
    pub(crate) fn confirm(&self, command: CommandId, number: u64) {
        let mut commands = self.commands();
        let Some(kept) = commands.get_mut(&command) else { return };
        while kept.first <= number
            && let Some(place) = kept.updates.pop_front()
        {
            kept.first += 1;
            self.0.budget.give_back(place.length());
            if let Place::Memory(_, length) = place {
                kept.in_memory -= length;
            }
        }
        if kept.updates.is_empty() {
            // The next update begins with a new file.
            (kept.file, kept.written) = (None, 0);
        }
    }

    /// Drops all of a command.
    pub(crate) fn forget(&self, command: CommandId) {
        if let Some(kept) = self.commands().remove(&command) {
            self.0.budget.give_back(kept.updates.iter().map(Place::length).sum());
        }
    }

    fn commands(&self) -> MutexGuard<'_, HashMap<CommandId, Kept>> {
        self.0.commands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let commands = std::mem::take(self.commands.get_mut().unwrap_or_else(PoisonError::into_inner));
        for kept in commands.into_values() {
            self.budget.give_back(kept.updates.iter().map(Place::length).sum());
        }
    }
}

impl Spool for WorkerSpool {
    fn load(&self, command: CommandId, number: u64) -> io::Result<UpdateBody> {
        let commands = self.commands();
        let found = commands.get(&command).and_then(|kept| {
            let place = number.checked_sub(kept.first)?;
            Some((kept, kept.updates.get(usize::try_from(place).ok()?)?))
        });
        match found {
            None => Err(io::ErrorKind::NotFound.into()),
            Some((_, Place::Memory(body, _))) => Ok(body.clone()),
            Some((kept, Place::Disk { offset, length })) => {
                let file = kept.file.as_ref().ok_or(io::ErrorKind::NotFound)?;
                let mut bytes = vec![0; *length];
                file.read_exact_at(&mut bytes, *offset)?;
                rmp_serde::from_slice(&bytes).map_err(io::Error::other)
            }
        }
    }
}

fn size(body: &UpdateBody) -> usize {
    let content = match body {
        UpdateBody::Output(outputs) => outputs.iter().map(|output| output.text.len()).sum(),
        UpdateBody::Files(names) => names.iter().map(|name| name.len() + OVERHEAD).sum(),
        UpdateBody::Chunk(bytes) => bytes.len(),
        UpdateBody::FailureReason(text) | UpdateBody::Complete { error: Some(text) } => text.len(),
        _ => 0,
    };
    content + OVERHEAD
}

#[cfg(test)]
mod tests {
    use muster_core::BuildId;

    use super::*;

    fn command() -> CommandId {
        CommandId { build: BuildId(1), step: 2, ordinal: 3 }
    }

    #[test]
    fn what_was_kept_is_loaded_until_it_is_confirmed() {
        let directory = tempfile::tempdir().unwrap();
        let budget = Budget::default();
        let spool = WorkerSpool::new(directory.path().to_owned(), budget.clone());
        let chunk = |byte: u8| UpdateBody::Chunk(vec![byte; 512 * 1024]);
        for number in 1..=10 {
            assert_eq!(spool.append(command(), chunk(number as u8)).unwrap(), number);
        }
        assert!(std::fs::read_dir(directory.path()).unwrap().next().is_none(), "the file has no name");
        for number in 1..=10 {
            assert_eq!(spool.load(command(), number).unwrap(), chunk(number as u8));
        }
        assert!(spool.load(command(), 11).is_err());
        spool.confirm(command(), 7);
        assert!(spool.load(command(), 7).is_err());
        assert_eq!(spool.load(command(), 8).unwrap(), chunk(8));
        spool.confirm(command(), 10);
        assert_eq!(spool.append(command(), chunk(11)).unwrap(), 11);
        assert_eq!(spool.load(command(), 11).unwrap(), chunk(11));
        spool.forget(command());
        assert_eq!(budget.0.load(Ordering::Relaxed), 0);
        spool.append(command(), chunk(1)).unwrap();
        drop(spool);
        assert_eq!(budget.0.load(Ordering::Relaxed), 0, "the end of a worker gives everything back");
    }
}
