//! Commands that a msgpack worker may still run when it comes back: it keeps them when its connection breaks.
//!
//! Their ids outlive this process in a file for each worker, since a master may be killed at any moment as well.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A command that was started and whose end nobody has heard of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ghost {
    /// The id that the worker knows it by.
    pub(crate) command: String,
    /// Seconds that it may live on after it was told to end.
    pub(crate) lingers: f64,
}

/// The commands of one worker.
pub(crate) struct Ghosts {
    path: PathBuf,
    alive: Vec<Ghost>,
}

impl Ghosts {
    /// Those of an earlier connection, which may have been of an earlier process.
    pub(crate) fn load(directory: &Path, worker: &str) -> io::Result<Ghosts> {
        // A worker's name is an identifier, but this must not depend on it.
        let file: String = worker.bytes().map(|byte| format!("{byte:02x}")).collect();
        let path = directory.join(format!("{file}.json"));
        let alive = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::other)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        Ok(Ghosts { path, alive })
    }

    pub(crate) fn alive(&self) -> &[Ghost] {
        &self.alive
    }

    /// A command is about to start. Durable when this returns.
    pub(crate) fn begin(&mut self, command: String, lingers: f64) -> io::Result<()> {
        self.alive.push(Ghost { command, lingers });
        self.save()
    }

    /// A command has ended.
    pub(crate) fn end(&mut self, command: &str) -> io::Result<()> {
        let before = self.alive.len();
        self.alive.retain(|ghost| ghost.command != command);
        if self.alive.len() == before { Ok(()) } else { self.save() }
    }

    /// All of them were told to stop and had time for it.
    pub(crate) fn laid(&mut self) -> io::Result<()> {
        if self.alive.is_empty() {
            return Ok(());
        }
        self.alive.clear();
        self.save()
    }

    fn save(&self) -> io::Result<()> {
        let beside = self.path.with_extension("new");
        let mut file = File::create(&beside)?;
        file.write_all(&serde_json::to_vec(&self.alive)?)?;
        file.sync_data()?;
        fs::rename(&beside, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_outlive_the_process() {
        let directory = tempfile::tempdir().unwrap();
        let load = || Ghosts::load(directory.path(), "w/1").unwrap();
        let mut ghosts = load();
        ghosts.begin("1.2.3".into(), 0.0).unwrap();
        ghosts.begin("1.2.4".into(), 5.0).unwrap();
        ghosts.end("1.2.3").unwrap();
        assert_eq!(load().alive(), [Ghost { command: "1.2.4".into(), lingers: 5.0 }]);
        ghosts.laid().unwrap();
        assert!(load().alive().is_empty());
    }
}
