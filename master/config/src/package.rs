//! The Python package inside the binary, written out for each host that runs.

use std::io;
use std::path::Path;

use include_dir::{Dir, include_dir};
use tempfile::TempDir;

static BUILDBOT: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/python/buildbot");
static MUSTER_HOST: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/python/muster_host");
static ENTRY_POINT: &str = include_str!("../python/__main__.py");

/// Writes the package into a new directory that goes away with the value.
///
/// # Errors
/// When the directory for temporary files can't be written.
pub(crate) fn write_out() -> io::Result<TempDir> {
    let directory = tempfile::Builder::new().prefix("muster-host-").tempdir()?;
    std::fs::write(directory.path().join("__main__.py"), ENTRY_POINT)?;
    for (name, package) in [("buildbot", &BUILDBOT), ("muster_host", &MUSTER_HOST)] {
        write_package(package, &directory.path().join(name))?;
    }
    Ok(directory)
}

fn write_package(package: &Dir<'_>, target: &Path) -> io::Result<()> {
    std::fs::create_dir_all(target)?;
    for file in package.files() {
        // A tree in which tests ran has compiled files too; they are of no use elsewhere.
        if file.path().extension().is_some_and(|extension| extension == "py")
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
