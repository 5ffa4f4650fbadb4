//! The spool of one command: its numbered updates until the master has acknowledged them.
//!
//! The first updates wait in memory, so a command whose master listens never touches the disk. What exceeds that goes
//! to a ring in a file, so the size is bounded by construction. The file is read and written through the page cache,
//! in microseconds, therefore on the caller's thread. A spool does not outlive the worker's process: a command of an
//! earlier life is gone for its master, whatever it wrote.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// Spool bytes that all commands of a worker share.
#[derive(Debug)]
pub(crate) struct SpoolBudget {
    limit: u64,
    used: AtomicU64,
    freed: Notify,
}

impl SpoolBudget {
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicU64::new(0), freed: Notify::new() })
    }

    /// Wakes when some spool has given bytes back. Create the future before looking for room.
    pub(crate) fn freed(&self) -> tokio::sync::futures::Notified<'_> {
        self.freed.notified()
    }

    fn take(&self, bytes: u64) -> bool {
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(bytes).filter(|used| *used <= self.limit)
        });
        taken.is_ok()
    }

    fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        self.freed.notify_waiters();
    }
}

/// One update that was not acknowledged yet.
#[derive(Debug)]
enum Entry {
    Memory(Vec<u8>),
    /// In bytes since the ring was last empty; the position in the file is the remainder.
    Ring {
        offset: u64,
        length: u64,
    },
}

/// How much one spool may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SpoolLimits {
    /// Bytes in memory.
    pub memory: usize,
    /// Bytes in the file.
    pub disk: u64,
}

/// Updates that were not acknowledged yet.
#[derive(Debug)]
pub(crate) struct Spool {
    path: PathBuf,
    /// Made when the memory is full for the first time.
    file: Option<File>,
    limits: SpoolLimits,
    budget: Arc<SpoolBudget>,
    /// Number of the first update in `entries`.
    first: u64,
    entries: VecDeque<Entry>,
    memory_used: usize,
    /// Where the oldest update of the ring begins, and where the next one goes.
    ring: std::ops::Range<u64>,
}

/// Why an update could not be spooled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpoolError {
    /// No room until the master acknowledges something; try again when room is announced.
    #[error("the spool is full")]
    Full,
    /// The update is larger than a whole spool.
    #[error("an update of {0} bytes does not fit into a spool of {1}")]
    TooLarge(u64, u64),
    /// The disk refused.
    #[error("can't write {0}: {1}")]
    Io(PathBuf, io::Error),
}

impl Spool {
    /// A new, empty spool whose first update gets the number 1. The file appears at `path` when it is needed.
    pub(crate) fn new(path: PathBuf, limits: SpoolLimits, budget: Arc<SpoolBudget>) -> Self {
        let entries = VecDeque::new();
        Self { path, file: None, limits, budget, first: 1, entries, memory_used: 0, ring: 0..0 }
    }

    /// Number that the next appended update gets.
    pub(crate) fn next_number(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Appends one update and returns its number. An error changes nothing.
    pub(crate) fn append(&mut self, update: &[u8]) -> Result<u64, SpoolError> {
        let number = self.next_number();
        if self.memory_used + update.len() <= self.limits.memory {
            self.memory_used += update.len();
            self.entries.push_back(Entry::Memory(update.to_vec()));
            return Ok(number);
        }
        let length = update.len() as u64;
        if length > self.limits.disk {
            return Err(SpoolError::TooLarge(length, self.limits.disk));
        }
        let used = self.ring.end - self.ring.start;
        if used + length > self.limits.disk || !self.budget.take(length) {
            return Err(SpoolError::Full);
        }
        if let Err(error) = self.write_ring(update) {
            self.budget.give_back(length);
            return Err(SpoolError::Io(self.path.clone(), error));
        }
        self.entries.push_back(Entry::Ring { offset: self.ring.end, length });
        self.ring.end += length;
        Ok(number)
    }

    /// The bytes of an update; `None` if it was acknowledged or does not exist yet.
    pub(crate) fn read(&self, number: u64) -> io::Result<Option<Vec<u8>>> {
        let Some(index) = number.checked_sub(self.first) else { return Ok(None) };
        let entry = usize::try_from(index).ok().and_then(|index| self.entries.get(index));
        match entry {
            None => Ok(None),
            Some(Entry::Memory(update)) => Ok(Some(update.clone())),
            Some(Entry::Ring { offset, length }) => self.read_ring(*offset, *length).map(Some),
        }
    }

    /// Drops all updates up to and including `number`; when no update is left in the file, it shrinks to nothing.
    pub(crate) fn acknowledge(&mut self, number: u64) -> io::Result<()> {
        while self.first <= number
            && let Some(entry) = self.entries.pop_front()
        {
            self.first += 1;
            match entry {
                Entry::Memory(update) => self.memory_used -= update.len(),
                Entry::Ring { offset, length } => {
                    self.ring.start = offset + length;
                    self.budget.give_back(length);
                }
            }
        }
        if self.ring.is_empty() && self.ring.end > 0 {
            self.ring = 0..0;
            if let Some(file) = &self.file {
                file.set_len(0)?;
            }
        }
        Ok(())
    }

    /// Position in the file, and how many bytes lie before the ring's wrap.
    fn ring_position(&self, offset: u64, length: u64) -> (u64, usize) {
        let position = offset % self.limits.disk;
        (position, length.min(self.limits.disk - position) as usize)
    }

    fn read_ring(&self, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        let file = self.file.as_ref().ok_or_else(|| io::Error::other("the spool has no file"))?;
        let mut update = vec![0; length as usize];
        let (position, split) = self.ring_position(offset, length);
        file.read_exact_at(&mut update[..split], position)?;
        file.read_exact_at(&mut update[split..], 0)?;
        Ok(update)
    }

    fn write_ring(&mut self, update: &[u8]) -> io::Result<()> {
        let (position, split) = self.ring_position(self.ring.end, update.len() as u64);
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(create(&self.path)?),
        };
        file.write_all_at(&update[..split], position)?;
        file.write_all_at(&update[split..], 0)
    }
}

fn create(path: &Path) -> io::Result<File> {
    crate::private::options().read(true).truncate(true).open(path)
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.budget.give_back(self.ring.end - self.ring.start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A spool that keeps nothing in memory.
    fn on_disk(dir: &tempfile::TempDir, disk: u64, budget: &Arc<SpoolBudget>) -> Spool {
        let path = dir.path().join(uuid::Uuid::new_v4().to_string());
        Spool::new(path, SpoolLimits { memory: 0, disk }, budget.clone())
    }

    #[test]
    fn updates_come_back_byte_for_byte_across_the_wrap() {
        let dir = tempfile::tempdir().unwrap();
        let budget = SpoolBudget::new(1000);
        let mut spool = on_disk(&dir, 10, &budget);
        spool.append(&[0; 4]).unwrap();
        for round in 1..30_u8 {
            // One update always stays behind, so the ring is never empty and really wraps.
            let number = spool.append(&[round; 4]).unwrap();
            spool.acknowledge(number - 1).unwrap();
            assert_eq!(spool.read(number).unwrap(), Some(vec![round; 4]));
            assert_eq!(spool.read(number - 1).unwrap(), None);
        }
        assert!(spool.ring.end > 100);
        assert!(std::fs::metadata(&spool.path).unwrap().len() <= 10);
    }

    #[test]
    fn a_full_spool_refuses_and_takes_again_after_an_acknowledgement() {
        let dir = tempfile::tempdir().unwrap();
        let budget = SpoolBudget::new(1000);
        let mut spool = on_disk(&dir, 10, &budget);
        let first = spool.append(b"123456").unwrap();
        let second = spool.append(b"abcd").unwrap();
        assert!(matches!(spool.append(b"x"), Err(SpoolError::Full)));
        assert!(matches!(spool.append(&[0; 11]), Err(SpoolError::TooLarge(11, 10))));
        spool.acknowledge(first).unwrap();
        let third = spool.append(b"wraps!").unwrap();
        assert_eq!(spool.read(first).unwrap(), None);
        assert_eq!(spool.read(second).unwrap().unwrap(), b"abcd");
        assert_eq!(spool.read(third).unwrap().unwrap(), b"wraps!");
    }

    #[test]
    fn the_budget_is_shared_and_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let budget = SpoolBudget::new(10);
        let mut one = on_disk(&dir, 100, &budget);
        let mut two = on_disk(&dir, 100, &budget);
        one.append(&[1; 8]).unwrap();
        assert!(matches!(two.append(&[2; 3]), Err(SpoolError::Full)));
        drop(one);
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);
        two.append(&[2; 3]).unwrap();
        assert_eq!(budget.used.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn the_disk_is_used_only_when_the_memory_is_full_and_emptied_when_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spool");
        let limits = SpoolLimits { memory: 10, disk: 100 };
        let mut spool = Spool::new(path.clone(), limits, SpoolBudget::new(1000));
        spool.append(b"in memory").unwrap();
        assert!(!path.exists());
        let second = spool.append(b"on disk").unwrap();
        let third = spool.append(b"3").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 7);
        assert_eq!(spool.read(second).unwrap().unwrap(), b"on disk");
        assert_eq!(spool.read(third).unwrap().unwrap(), b"3");
        spool.acknowledge(second).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
        assert_eq!(spool.next_number(), 4);
    }
}
