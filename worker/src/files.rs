//! The quick commands on files: mkdir, stat, glob, listdir, rmfile. Failures are the system's error numbers, told in a
//! header line.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use muster_session::command::UpdateBody;

/// Bytes of names in one update; a long list comes as several.
const LIST_BYTES: usize = 64 * 1024;

/// Exit code of a failure without a number of the system's.
const UNNUMBERED: i64 = 1;

/// A failure as the stock worker tells it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FileError {
    /// The error number.
    pub rc: i64,
    /// `NAME: what is wrong: PATH`.
    pub header: String,
}

impl FileError {
    fn new(name: &str, path: &Path, error: &io::Error) -> Self {
        let rc = error.raw_os_error().map_or(UNNUMBERED, i64::from);
        Self { rc, header: format!("{name}: {}: {}\n", describe(error), path.display()) }
    }
}

/// The system's words for an error, without the number that the standard library adds.
pub(crate) fn describe(error: &io::Error) -> String {
    let text = error.to_string();
    match text.rfind(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// `open` doesn't wait for the other end of a FIFO.
const O_NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();

/// Opens a file that is to be sent. What is no regular file is refused without waiting for it: a FIFO has no end before
/// somebody writes, and a device has none at all.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    // Some devices act when they are opened.
    refuse_special(&std::fs::metadata(path)?)?;
    let file = File::options().read(true).custom_flags(O_NONBLOCK).open(path)?;
    refuse_special(&file.metadata()?)?;
    Ok(file)
}

/// Anything but a regular file is an error that says what it is.
pub(crate) fn refuse_special(found: &Metadata) -> io::Result<()> {
    if found.is_file() {
        return Ok(());
    }
    if found.is_dir() {
        return Err(rustix::io::Errno::ISDIR.into());
    }
    Err(io::Error::other(format!("it is {}, not a regular file", muster_core::files::kind_of(found.mode()))))
}

/// `~` and `~/…` stand for the home directory; anything else is left alone.
pub(crate) fn expand_home(path: &str) -> PathBuf {
    let home = || std::env::var_os("HOME").map(PathBuf::from);
    match path.strip_prefix('~') {
        Some("") => home().unwrap_or_else(|| path.into()),
        Some(rest) if rest.starts_with('/') => {
            home().map_or_else(|| path.into(), |home| home.join(rest.trim_start_matches('/')))
        }
        _ => path.into(),
    }
}

/// Makes directories with their parents. Those that exist are fine.
pub(crate) fn mkdir(base: &Path, dirs: &[String]) -> Result<(), FileError> {
    for dir in dirs {
        let path = base.join(dir);
        std::fs::create_dir_all(&path).map_err(|error| FileError::new("mkdir", &path, &error))?;
    }
    Ok(())
}

/// What the system knows about a file.
pub(crate) fn stat(path: &Path) -> Result<UpdateBody, FileError> {
    let found = std::fs::metadata(path).map_err(|error| FileError::new("stat", path, &error))?;
    let unsigned = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    Ok(UpdateBody::Stat([
        i64::from(found.mode()),
        unsigned(found.ino()),
        unsigned(found.dev()),
        unsigned(found.nlink()),
        i64::from(found.uid()),
        i64::from(found.gid()),
        unsigned(found.size()),
        found.atime(),
        found.mtime(),
        found.ctime(),
    ]))
}

/// Absolute paths that match, sorted; names that begin with a dot only where the pattern does.
pub(crate) fn glob(base: &Path, pattern: &str) -> Result<Vec<String>, FileError> {
    let mut full = format!("{}/{pattern}", escape(base));
    if pattern.starts_with('/') {
        full = pattern.to_owned();
    }
    if full.ends_with("/**") {
        // Matches files too, as Python's glob does.
        full.push_str("/*");
    }
    let options = glob::MatchOptions { require_literal_leading_dot: true, ..Default::default() };
    let paths = glob::glob_with(&full, options).map_err(|error| FileError {
        rc: i64::from(rustix::io::Errno::INVAL.raw_os_error()),
        header: format!("glob: {error}: {pattern}\n"),
    })?;
    // Unreadable directories match nothing.
    Ok(paths.filter_map(Result::ok).map(|path| path.to_string_lossy().into_owned()).collect())
}

fn escape(base: &Path) -> String {
    glob::Pattern::escape(&base.to_string_lossy())
}

/// Names in a directory.
pub(crate) fn listdir(path: &Path) -> Result<Vec<String>, FileError> {
    let failed = |error: io::Error| FileError::new("listdir", path, &error);
    let names: io::Result<Vec<String>> = std::fs::read_dir(path)
        .map_err(failed)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect();
    names.map_err(failed)
}

/// Removes one file.
pub(crate) fn rmfile(path: &Path) -> Result<(), FileError> {
    std::fs::remove_file(path).map_err(|error| FileError::new("rmfile", path, &error))
}

/// A list of names as updates of bounded size; an empty list is one empty update.
pub(crate) fn file_updates(names: Vec<String>) -> Vec<UpdateBody> {
    let mut updates = Vec::new();
    let mut part = Vec::new();
    let mut bytes = 0;
    for name in names {
        if bytes + name.len() > LIST_BYTES && !part.is_empty() {
            updates.push(UpdateBody::Files(std::mem::take(&mut part)));
            bytes = 0;
        }
        bytes += name.len();
        part.push(name);
    }
    if !part.is_empty() || updates.is_empty() {
        updates.push(UpdateBody::Files(part));
    }
    updates
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_numbered_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path();
        std::fs::write(base.join("file"), "").unwrap();
        let shown = base.display();

        let error = mkdir(base, &["new/deep".into(), "file".into()]).unwrap_err();
        assert_eq!((error.rc, error.header), (17, format!("mkdir: File exists: {shown}/file\n")));
        assert!(base.join("new/deep").is_dir());
        mkdir(base, &["new".into()]).unwrap();

        let error = stat(&base.join("no")).unwrap_err();
        assert_eq!((error.rc, error.header), (2, format!("stat: No such file or directory: {shown}/no\n")));
        let error = listdir(&base.join("no")).unwrap_err();
        assert_eq!(
            (error.rc, error.header),
            (2, format!("listdir: No such file or directory: {shown}/no\n"))
        );
        let error = rmfile(&base.join("no")).unwrap_err();
        assert_eq!((error.rc, error.header), (2, format!("rmfile: No such file or directory: {shown}/no\n")));
        rmfile(&base.join("file")).unwrap();
        assert!(!base.join("file").exists());
    }

    #[test]
    fn only_regular_files_are_opened_and_nothing_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("file"), "x").unwrap();
        std::os::unix::fs::symlink("file", path("link")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, path("fifo"), rustix::fs::Mode::RUSR).unwrap();
        std::os::unix::fs::symlink("fifo", path("to-fifo")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        assert!(open_regular(&path("file")).is_ok() && open_regular(&path("link")).is_ok());
        let refused = |path: PathBuf| open_regular(&path).unwrap_err().to_string();
        assert!(refused(path("fifo")).contains("a FIFO") && refused(path("to-fifo")).contains("a FIFO"));
        assert!(refused(path("socket")).contains("a socket"));
        assert!(refused("/dev/zero".into()).contains("a character device"));
        assert!(refused(dir.path().to_owned()).contains("directory"));
    }

    #[test]
    fn stat_tells_mode_and_size() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "12345").unwrap();
        let Ok(UpdateBody::Stat(found)) = stat(&dir.path().join("file")) else { panic!("no stat") };
        assert_eq!(found[0] & 0o170_000, 0o100_000);
        assert_eq!(found[6], 5);
    }

    #[test]
    fn glob_is_absolute_recursive_and_blind_for_hidden_names() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("odd[name]");
        std::fs::create_dir_all(base.join("a/b")).unwrap();
        std::fs::create_dir_all(base.join("a/.hidden")).unwrap();
        for name in ["1.log", "a/2.log", "a/b/3.log", "a/.4.log", "a/.hidden/5.log", "a/b/x.txt"] {
            std::fs::write(base.join(name), "").unwrap();
        }
        let found = |pattern: &str| -> Vec<String> {
            let prefix = format!("{}/", base.display());
            let strip = |path: String| path.strip_prefix(&prefix).unwrap().to_owned();
            glob(&base, pattern).unwrap().into_iter().map(strip).collect()
        };
        assert_eq!(found("*.log"), ["1.log"]);
        assert_eq!(found("**/*.log"), ["1.log", "a/2.log", "a/b/3.log"]);
        assert_eq!(found("a/**"), ["a/2.log", "a/b", "a/b/3.log", "a/b/x.txt"]);
        assert!(found("zzz*").is_empty());
        let absolute = glob(Path::new("/nowhere"), &format!("{}/*.log", escape(&base))).unwrap();
        assert_eq!(absolute, [base.join("1.log").to_string_lossy()]);
    }

    #[test]
    fn long_lists_are_parted() {
        let names: Vec<String> = (0..3000).map(|n| format!("{n:0100}")).collect();
        let parts = file_updates(names.clone());
        assert!(parts.len() > 3);
        let joined: Vec<String> = parts
            .into_iter()
            .flat_map(|part| match part {
                UpdateBody::Files(names) => names,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(joined, names);
        assert_eq!(file_updates(Vec::new()), [UpdateBody::Files(Vec::new())]);
    }
}
