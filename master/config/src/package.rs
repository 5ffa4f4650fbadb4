//! The Python package inside the binary, written out for each host that runs.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Once;

use include_dir::{Dir, include_dir};
use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

static BUILDBOT: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/python/buildbot");
static MUSTER_HOST: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/python/muster_host");
static ENTRY_POINT: &str = include_str!("../python/__main__.py");

/// How the directories begin.
const PREFIX: &str = "muster-host-";

/// The file in each directory that its owner keeps locked as long as it lives. A directory without one is still being made,
/// or is of a Muster that made none.
const LOCK: &str = "lock";

/// Directories that one process removes at most: so many were left by as many killed masters.
const MAX_SWEPT: usize = 100;

/// The package, written out. It goes away with the value.
#[derive(Debug)]
pub(crate) struct Package {
    // Removed while the lock is still held.
    directory: TempDir,
    _lock: File,
}

impl Package {
    /// Its directory.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// Writes the package into a new directory. The first time, what masters left that were killed is removed.
///
/// # Errors
/// When the directory for temporary files can't be written.
pub(crate) fn write_out() -> io::Result<Package> {
    static SWEPT: Once = Once::new();
    let parent = std::env::temp_dir();
    let package = write_below(&parent)?;
    SWEPT.call_once(|| sweep(&parent, &package));
    Ok(package)
}

fn write_below(parent: &Path) -> io::Result<Package> {
    let directory = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
    // It gets its name when it is locked: nobody finds it free.
    let unlocked = directory.path().join("unlocked");
    let lock = File::create_new(&unlocked)?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
    std::fs::rename(unlocked, directory.path().join(LOCK))?;
    std::fs::write(directory.path().join("__main__.py"), ENTRY_POINT)?;
    for (name, package) in [("buildbot", &BUILDBOT), ("muster_host", &MUSTER_HOST)] {
        write_package(package, &directory.path().join(name))?;
    }
    Ok(Package { directory, _lock: lock })
}

/// Removes the directories of this user below `parent` whose owners are gone.
fn sweep(parent: &Path, own: &Package) {
    let Ok(user) = own.path().metadata().map(|own| own.uid()) else { return };
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    let ours = entries.filter(|entry| {
        let begins = entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes());
        // Not of what a link leads to.
        begins && entry.metadata().is_ok_and(|entry| entry.is_dir() && entry.uid() == user)
    });
    for directory in ours.filter_map(|entry| Left::find(entry.path())).take(MAX_SWEPT) {
        match std::fs::remove_dir_all(&directory.path) {
            Ok(()) => {
                tracing::info!(path = %directory.path.display(), "removed what a killed master has left")
            }
            Err(error) => tracing::warn!(path = %directory.path.display(), %error, "can't be removed"),
        }
    }
}

/// A directory whose owner is gone.
struct Left {
    path: PathBuf,
    /// Two masters that start don't remove it both.
    _lock: File,
}

impl Left {
    fn find(path: PathBuf) -> Option<Left> {
        let lock = File::open(path.join(LOCK)).ok()?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).ok()?;
        Some(Left { path, _lock: lock })
    }
}

fn write_package(package: &Dir<'_>, target: &Path) -> io::Result<()> {
    std::fs::create_dir_all(target)?;
    for file in package.files() {
        // A tree in which tests ran has compiled files too; they are of no use elsewhere.
        if file.path().extension().is_some_and(|extension| extension == "py" || extension == "txt")
            && let Some(name) = file.path().file_name()
        {
            std::fs::write(target.join(name), file.contents())?;
        }
    }
    for inner in package.dirs() {
        match inner.path().file_name() {
            Some(name) if name != "__pycache__" => write_package(inner, &target.join(name))?,
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_master_left_is_removed_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let living = write_below(parent.path()).unwrap();
        // As a kill leaves it: the lock is free, the directory is there.
        let Package { directory, _lock } = write_below(parent.path()).unwrap();
        let killed = directory.keep();
        drop(_lock);
        let others = ["muster-host-older", "else"].map(|name| parent.path().join(name));
        others.iter().for_each(|other| std::fs::create_dir(other).unwrap());
        let link = parent.path().join("muster-host-link");
        std::os::unix::fs::symlink(&others[1], &link).unwrap();
        File::create_new(others[1].join(LOCK)).unwrap();

        let own = write_below(parent.path()).unwrap();
        sweep(parent.path(), &own);
        assert!(!killed.exists());
        for stays in [living.path(), own.path(), &others[0], &others[1], &link] {
            assert!(stays.exists(), "{}", stays.display());
        }
    }
}
