//! Where an upload goes: a part beside its target, and then the target.

use std::{
    fs::{self, FileTimes, Permissions},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::{
    rests::{self, Note},
    unpack::{self, Skipped},
};
use crate::effects::{StepContext, StepEnd};
use serde::{Deserialize, Serialize};

/// What came of an act on the master's files.
pub(super) type Placed = Result<(), String>;

/// The place of an upload on the master.
pub(super) struct Target {
    path: PathBuf,
    part: PathBuf,
    note: Note,
}

/// What came of unpacking, as the journal keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Unpacked {
    /// Done; what was left out, if anything was.
    Ok(Option<Skipped>),
    /// It can't be unpacked.
    Err(String),
    /// It is larger than it may be.
    TooLarge(String),
}

impl Target {
    /// The place that a step's argument names.
    pub(super) fn new(context: &StepContext<'_>, master_dest: &str) -> Result<Target, StepEnd> {
        let path = context.master_path(master_dest);
        let Some(name) = path.file_name() else {
            return Err(StepEnd::Exception(format!("masterdest '{master_dest}' names no file")));
        };
        // A step uploads one thing at a time, and who goes on with it must find the same part.
        let name = format!(".{}.{}-{}.part", name.to_string_lossy(), context.core.key.build, context.number);
        let note = Note::new(context.basedir(), context.core.key.build, context.number);
        Ok(Target { part: path.with_file_name(name), path, note })
    }

    /// Notes that a part is about to be there, so that it is found again whatever happens.
    pub(super) async fn begin(&self) -> Result<(), StepEnd> {
        let (note, part) = (self.note.clone(), self.part.clone());
        in_thread(move || note.write(&part), &self.path).await.map_err(StepEnd::Exception)
    }

    /// Where the bytes are written while they come.
    pub(super) fn part(&self) -> PathBuf {
        self.part.clone()
    }

    /// Puts the part in the target's place. Done before is done: a replay may not know.
    pub(super) async fn place(&self, mode: Option<u32>, stamp: Option<(f64, f64)>) -> Placed {
        let (part, path) = (self.part.clone(), self.path.clone());
        in_thread(move || place(&part, &path, mode, stamp), &self.path).await
    }

    /// Unpacks the part, a tar stream, into the target.
    pub(super) async fn unpack(&self, gz: bool, max_size: Option<u64>) -> Unpacked {
        let (part, path) = (self.part.clone(), self.path.clone());
        let act = move || match unpack_to(&part, &path, gz, max_size) {
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Ok(Err(error.to_string())),
            done => done.map(Ok),
        };
        match in_thread(act, &self.path).await {
            Ok(Ok(skipped)) => Unpacked::Ok((!skipped.is_empty()).then_some(skipped)),
            Ok(Err(reason)) => Unpacked::TooLarge(reason),
            Err(reason) => Unpacked::Err(reason),
        }
    }

    /// Removes what is left of an upload that is over.
    pub(super) async fn discard(&self) {
        let (note, part) = (self.note.clone(), self.part.clone());
        let cleared = tokio::task::spawn_blocking(move || note.clear(&part)).await;
        if let Err(error) = cleared {
            tracing::error!(path = %self.part.display(), %error, "removing the rest of an upload broke");
        }
    }
}

async fn in_thread<T: Send + 'static>(
    act: impl FnOnce() -> io::Result<T> + Send + 'static,
    path: &Path,
) -> Result<T, String> {
    let failed =
        |error: &dyn std::fmt::Display| format!("can't write {} on the master: {error}", path.display());
    match tokio::task::spawn_blocking(act).await {
        Ok(done) => done.map_err(|error| failed(&error)),
        Err(error) => Err(failed(&error)),
    }
}

/// A target that is not there yet appears whole or not at all; what is there already is unpacked over.
fn unpack_to(part: &Path, path: &Path, gz: bool, max_size: Option<u64>) -> io::Result<Skipped> {
    if path.exists() {
        return unpack::unpack(part, path, gz, max_size);
    }
    let fresh = rests::unpacked(part);
    if fresh.exists() {
        fs::remove_dir_all(&fresh)?;
    }
    let skipped = unpack::unpack(part, &fresh, gz, max_size)?;
    match fs::rename(&fresh, path) {
        // Another step has uploaded to the same place meanwhile.
        Err(_) if path.exists() => unpack::unpack(part, path, gz, max_size),
        renamed => renamed.map(|()| skipped),
    }
}

fn place(part: &Path, path: &Path, mode: Option<u32>, stamp: Option<(f64, f64)>) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => {
            let kind = muster_core::files::kind_of(found.mode());
            return Err(io::Error::other(format!("it is {kind}, not a regular file")));
        }
        Ok(_) if !part.exists() => return Ok(()),
        _ => {}
    }
    if let Some((accessed, modified)) = stamp {
        let times = FileTimes::new().set_accessed(moment(accessed)).set_modified(moment(modified));
        fs::File::options().append(true).open(part)?.set_times(times)?;
    }
    if let Some(mode) = mode {
        fs::set_permissions(part, Permissions::from_mode(mode & 0o7777))?;
    }
    fs::rename(part, path)
}

/// A worker's time; what isn't one is the beginning of time.
fn moment(seconds: f64) -> SystemTime {
    let since = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_takes_its_place_once() {
        let dir = tempfile::tempdir().unwrap();
        let (part, path) = (dir.path().join(".x.part"), dir.path().join("x"));
        fs::write(&path, "old").unwrap();
        fs::write(&part, "new").unwrap();
        place(&part, &path, Some(0o640), Some((1e9, 1.1e9))).unwrap();
        place(&part, &path, Some(0o640), Some((1e9, 1.1e9))).unwrap();
        let found = fs::metadata(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(found.permissions().mode() & 0o7777, 0o640);
        assert_eq!(found.modified().unwrap(), moment(1.1e9));
        assert!(place(&part, &dir.path().join("y"), None, None).is_err());
        fs::write(&part, "new").unwrap();
        let error = place(&part, Path::new("/dev/null"), None, None).unwrap_err();
        assert_eq!(error.to_string(), "it is a character device, not a regular file");
    }

    #[test]
    fn odd_times_are_no_trouble() {
        for odd in [f64::NAN, -1.0, f64::INFINITY, 1e300] {
            moment(odd);
        }
    }
}
