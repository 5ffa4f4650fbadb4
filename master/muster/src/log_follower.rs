//! Reads what another process appends to a log file, line by line.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Longest line that is kept; of a longer one the beginning is.
const MAX_LINE_BYTES: usize = 64 * 1024;

/// A place in a log file that grows.
pub struct LogFollower {
    path: PathBuf,
    file: Option<BufReader<File>>,
    start: u64,
    partial: Vec<u8>,
}

impl LogFollower {
    /// Behind all that the file holds now; the file need not exist yet.
    pub fn at_end(path: &Path) -> LogFollower {
        let start = std::fs::metadata(path).map_or(0, |found| found.len());
        LogFollower { path: path.to_owned(), file: None, start, partial: Vec::new() }
    }

    /// The next whole line that is there already.
    pub fn next_line(&mut self) -> Result<Option<String>> {
        let told = || format!("can't read the log {}", self.path.display());
        if self.file.is_none() {
            let mut file = match File::open(&self.path) {
                Ok(file) => file,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error).with_context(told),
            };
            file.seek(SeekFrom::Start(self.start)).with_context(told)?;
            self.file = Some(BufReader::new(file));
        }
        let Some(file) = &mut self.file else { return Ok(None) };
        loop {
            let available = file.fill_buf().with_context(told)?;
            if available.is_empty() {
                return Ok(None);
            }
            let newline = available.iter().position(|&byte| byte == b'\n');
            let taken = newline.map_or(available.len(), |at| at + 1);
            let room = MAX_LINE_BYTES.saturating_sub(self.partial.len());
            self.partial.extend_from_slice(&available[..taken.min(room)]);
            file.consume(taken);
            if newline.is_some() {
                let line = String::from_utf8_lossy(&std::mem::take(&mut self.partial)).trim_end().to_owned();
                return Ok(Some(line));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn only_whole_new_lines_come() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, "old\n").unwrap();
        let mut follower = LogFollower::at_end(&path);
        let mut log = File::options().append(true).open(&path).unwrap();
        write!(log, "new\nhal").unwrap();
        assert_eq!(follower.next_line().unwrap().as_deref(), Some("new"));
        assert_eq!(follower.next_line().unwrap(), None);
        writeln!(log, "f").unwrap();
        assert_eq!(follower.next_line().unwrap().as_deref(), Some("half"));
    }

    #[test]
    fn a_file_that_comes_later_is_read_from_its_beginning() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut follower = LogFollower::at_end(&path);
        assert_eq!(follower.next_line().unwrap(), None);
        std::fs::write(&path, "first\n").unwrap();
        assert_eq!(follower.next_line().unwrap().as_deref(), Some("first"));
    }
}
