//! The wall clock of one master, which can be stepped: no decision of a cluster may hang on it.
//!
//! By libfaketime, since the clock of the kernel is the whole machine's. Monotonic clocks stay as they are, as they do when an
//! operator sets the time.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The largest step in seconds, forward or back.
pub const MAX_STEP: i64 = 90;

/// A clock, ruled by a file that says how wrong it is.
pub struct Clock {
    file: PathBuf,
}

impl Clock {
    /// One that is right.
    pub fn new(file: &Path) -> Clock {
        let clock = Clock { file: file.to_owned() };
        clock.set(0);
        clock
    }

    /// Makes it wrong by so many seconds.
    pub fn set(&self, seconds: i64) {
        // By a rename: it may be read at any moment.
        let fresh = self.file.with_extension("new");
        std::fs::write(&fresh, format!("{seconds:+}s\n")).unwrap();
        std::fs::rename(fresh, &self.file).unwrap();
    }

    /// Makes it the clock of a process that is about to start.
    pub fn rule(&self, command: &mut Command) {
        command.env("LD_PRELOAD", library()).env("FAKETIME_TIMESTAMP_FILE", &self.file);
        command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("FAKETIME_CACHE_DURATION", "1");
    }
}

/// Debian keeps it below the name of the architecture.
fn library() -> PathBuf {
    let places = std::fs::read_dir("/usr/lib").unwrap().flatten();
    let place = |name: PathBuf| name.join("faketime/libfaketimeMT.so.1");
    places
        .map(|entry| place(entry.path()))
        .find(|path| path.exists())
        .expect("libfaketime is installed (apt-get install libfaketime)")
}
