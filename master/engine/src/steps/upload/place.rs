//! Where an upload goes: a part beside its target, and then the target.

use std::{
    fs::{self, FileTimes, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::unpack;
use crate::effects::{StepContext, StepEnd};

/// What came of an act on the master's files.
pub(super) type Placed = Result<(), String>;

/// The place of an upload on the master.
pub(super) struct Target {
    path: PathBuf,
    part: PathBuf,
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
        Ok(Target { part: path.with_file_name(name), path })
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
    pub(super) async fn unpack(&self, gz: bool) -> Placed {
        let (part, path) = (self.part.clone(), self.path.clone());
        in_thread(move || unpack::unpack(&part, &path, gz), &self.path).await
    }

    /// Removes the part of an upload that is over.
    pub(super) async fn discard(&self) {
        match tokio::fs::remove_file(&self.part).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %self.part.display(), %error, "can't remove the rest of an upload");
            }
            _ => {}
        }
    }
}

async fn in_thread(act: impl FnOnce() -> io::Result<()> + Send + 'static, path: &Path) -> Placed {
    let failed =
        |error: &dyn std::fmt::Display| format!("can't write {} on the master: {error}", path.display());
    match tokio::task::spawn_blocking(act).await {
        Ok(done) => done.map_err(|error| failed(&error)),
        Err(error) => Err(failed(&error)),
    }
}

fn place(part: &Path, path: &Path, mode: Option<u32>, stamp: Option<(f64, f64)>) -> io::Result<()> {
    if !part.exists() && path.exists() {
        return Ok(());
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
    }

    #[test]
    fn odd_times_are_no_trouble() {
        for odd in [f64::NAN, -1.0, f64::INFINITY, 1e300] {
            moment(odd);
        }
    }
}
