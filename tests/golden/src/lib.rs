//! Where the recordings of Buildbot 4.3.0 lie, for tests of any crate; the README beside says what each of them is.

use std::path::{Path, PathBuf};

/// A recording by its name, as `db/buildbot-4.3.0.sqlite` or `rest/builders.json`.
pub fn recorded(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The database that a Buildbot 4.3.0 master wrote. Tests open copies of it, never the file itself.
pub fn database() -> PathBuf {
    recorded("db/buildbot-4.3.0.sqlite")
}
