//! Whether the journal beside a database file is that file's.
//!
//! SQLite takes any `-wal` that lies beside a file for the file's own, and shows its pages instead of the file's. Where
//! somebody copied another database over the file, that database is shadowed without a word. A journal tells how much of it
//! was carried into its file (in `-shm`, which survives its processes), so what was carried must be found there. Pages of
//! which that can't be said prove nothing, so a good journal is never refused.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use rustix::process::{Flock, FlockType, fcntl_getlk};

/// Bytes of the headers of a journal and of one frame in it.
const HEADER: u64 = 32;
const FRAME_HEADER: u64 = 24;
/// Where `-shm` has the number of frames, the number of pages, the salts, and how many frames were carried over.
const FRAMES_AT: usize = 16;
const PAGES_AT: usize = 20;
const SALTS_AT: usize = 32;
const CARRIED_AT: usize = 96;
/// The byte of `-shm` that every connection locks as long as it lives.
const LIVE_BYTE: u64 = 128;
/// Pages that are compared: a database that was replaced differs in nearly all of them.
const COMPARED: usize = 2048;

/// `path` with an ending of SQLite's.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Why the journal beside `path` is not that file's, if it can be seen. Must not be asked while this process has the database
/// open: to close one of its files ends the locks of all connections.
pub(super) fn is_foreign(path: &Path) -> io::Result<bool> {
    let Some(journal) = Journal::open(path)? else { return Ok(false) };
    journal.is_foreign()
}

struct Journal {
    file: File,
    database: File,
    page: u64,
    salts: [u8; 8],
    /// Frames that are committed, pages of the database, frames that were carried over; by `-shm`.
    frames: u64,
    pages: u64,
    carried: u64,
}

impl Journal {
    /// `None`: there is none that could be judged, or somebody works with it.
    fn open(path: &Path) -> io::Result<Option<Journal>> {
        let (Some(file), Some(shared), Some(database)) =
            (existing(&beside(path, "-wal"))?, existing(&beside(path, "-shm"))?, existing(path)?)
        else {
            return Ok(None);
        };
        let mut header = [0; HEADER as usize];
        let mut index = [0; CARRIED_AT + 4];
        if file.read_exact_at(&mut header, 0).is_err() || shared.read_exact_at(&mut index, 0).is_err() {
            return Ok(None);
        }
        let is_live = Flock { start: LIVE_BYTE as _, length: 1, ..Flock::from(FlockType::WriteLock) };
        if fcntl_getlk(&shared, &is_live)?.is_some() {
            return Ok(None);
        }
        let native = |at: usize| u64::from(u32::from_ne_bytes(array(&index[at..at + 4])));
        let salts: [u8; 8] = array(&header[16..24]);
        // Another life of the journal than the one that `-shm` tells of.
        if index[SALTS_AT..SALTS_AT + 8] != salts {
            return Ok(None);
        }
        let page = u64::from(u32::from_be_bytes(array(&header[8..12])));
        Ok(Some(Journal {
            file,
            database,
            page,
            salts,
            frames: native(FRAMES_AT),
            pages: native(PAGES_AT),
            carried: native(CARRIED_AT),
        }))
    }

    fn is_foreign(&self) -> io::Result<bool> {
        // The last frame of each page.
        let mut last = HashMap::new();
        for frame in 1..=self.frames {
            let mut header = [0; FRAME_HEADER as usize];
            if self.file.read_exact_at(&mut header, self.offset(frame)).is_err()
                || header[8..16] != self.salts
            {
                return Ok(false);
            }
            last.insert(u64::from(u32::from_be_bytes(array(&header[0..4]))), frame);
        }
        let carried = last.into_iter().filter(|(page, frame)| *frame <= self.carried && *page <= self.pages);
        let mut carried: Vec<(u64, u64)> = carried.collect();
        carried.sort_unstable_by_key(|(_, frame)| std::cmp::Reverse(*frame));
        let size = usize::try_from(self.page).unwrap_or_default();
        let (mut there, mut here) = (vec![0; size], vec![0; size]);
        for (page, frame) in carried.into_iter().take(COMPARED) {
            self.file.read_exact_at(&mut there, self.offset(frame) + FRAME_HEADER)?;
            let found = self.database.read_exact_at(&mut here, (page - 1) * self.page);
            if found.is_err() || here != there {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn offset(&self, frame: u64) -> u64 {
        HEADER + (frame - 1) * (FRAME_HEADER + self.page)
    }
}

fn existing(path: &Path) -> io::Result<Option<File>> {
    match File::options().read(true).write(true).open(path) {
        Ok(file) => Ok(Some(file)),
        // Whether it may be used at all, the connection tells better.
        Err(error) if [io::ErrorKind::NotFound, io::ErrorKind::PermissionDenied].contains(&error.kind()) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    array
}

/// Which file a path means: device and number.
pub(super) fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}
