//! Log files that a program writes beside its output, followed while it runs.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use muster_session::command::LogFile;

/// Bytes read from one file in one go, so that a huge file neither fills the memory nor keeps others waiting.
const READ_BYTES: usize = 64 * 1024;

/// The followed files of one command.
#[derive(Debug)]
pub(crate) struct LogFiles {
    files: Vec<Follower>,
}

#[derive(Debug)]
struct Follower {
    name: String,
    path: PathBuf,
    /// How the file looked when the command started: until it looks different, nobody has written to it.
    at_start: Option<Signature>,
    /// Bytes that were there at the start and are not wanted.
    skip: u64,
    open: Option<File>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Signature {
    changed: (i64, i64),
    modified: (i64, i64),
    size: u64,
}

impl Signature {
    fn of(found: &Metadata) -> Self {
        Self {
            changed: (found.ctime(), found.ctime_nsec()),
            modified: (found.mtime(), found.mtime_nsec()),
            size: found.size(),
        }
    }
}

impl LogFiles {
    /// Remembers how the files look before the command starts.
    pub(crate) fn watch(wanted: &BTreeMap<String, LogFile>, workdir: &Path) -> Self {
        let follower = |(name, wanted): (&String, &LogFile)| {
            let path = workdir.join(&wanted.filename);
            let at_start = std::fs::metadata(&path).ok().map(|found| Signature::of(&found));
            let skip = at_start.filter(|_| wanted.follow).map_or(0, |signature| signature.size);
            Follower { name: name.clone(), path, at_start, skip, open: None }
        };
        Self { files: wanted.iter().map(follower).collect() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Hands what was written since the last poll to `sink`, name first. Returns true if there may be more at once.
    pub(crate) fn poll(&mut self, mut sink: impl FnMut(&str, &[u8])) -> bool {
        let mut more = false;
        for file in &mut self.files {
            match file.read() {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => {
                    more |= bytes.len() == READ_BYTES;
                    sink(&file.name, &bytes);
                }
                // A file that can't be read yet may become readable; the program's own output tells what matters.
                Err(error) => tracing::debug!("log file {}: {error}", file.path.display()),
            }
        }
        more
    }
}

impl Follower {
    fn read(&mut self) -> io::Result<Vec<u8>> {
        if self.open.is_none() && !self.open()? {
            return Ok(Vec::new());
        }
        let mut bytes = Vec::new();
        if let Some(file) = &self.open {
            file.take(READ_BYTES as u64).read_to_end(&mut bytes)?;
        }
        Ok(bytes)
    }

    /// Opens the file once it has been touched since the start.
    fn open(&mut self) -> io::Result<bool> {
        let found = match std::fs::metadata(&self.path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let untouched = self.at_start == Some(Signature::of(&found));
        if untouched || !found.is_file() {
            return Ok(false);
        }
        let mut file = File::open(&self.path)?;
        // A file that shrank was written anew: all of it is the command's.
        if found.size() >= self.skip {
            file.seek(SeekFrom::Start(self.skip))?;
        }
        self.open = Some(file);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(dir: &Path, follow: bool) -> LogFiles {
        let wanted = LogFile { filename: "lf".into(), follow };
        LogFiles::watch(&BTreeMap::from([("log".to_owned(), wanted)]), dir)
    }

    fn polled(files: &mut LogFiles) -> String {
        let mut text = String::new();
        files.poll(|name, bytes| {
            assert_eq!(name, "log");
            text.push_str(std::str::from_utf8(bytes).unwrap());
        });
        text
    }

    fn append(path: &Path, text: &str) {
        use std::io::Write;
        File::options().append(true).create(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn an_untouched_file_is_not_sent_and_a_touched_one_is_sent_whole() {
        let dir = tempfile::tempdir().unwrap();
        append(&dir.path().join("lf"), "old\n");
        let mut files = watch(dir.path(), false);
        assert_eq!(polled(&mut files), "");
        append(&dir.path().join("lf"), "new\n");
        assert_eq!(polled(&mut files), "old\nnew\n");
        append(&dir.path().join("lf"), "newer\n");
        assert_eq!(polled(&mut files), "newer\n");
    }

    #[test]
    fn follow_leaves_out_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        append(&dir.path().join("lf"), "old\n");
        let mut files = watch(dir.path(), true);
        append(&dir.path().join("lf"), "new\n");
        assert_eq!(polled(&mut files), "new\n");
    }

    #[test]
    fn a_file_made_later_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = watch(dir.path(), true);
        assert_eq!(polled(&mut files), "");
        append(&dir.path().join("lf"), "first\n");
        assert_eq!(polled(&mut files), "first\n");
    }
}
