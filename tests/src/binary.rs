//! The `muster` binary of this build.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use rustix::fs::{FlockOperation, flock};

/// The path of the binary: `MUSTER_BIN`, or the one beside this program, which is brought up to date first.
pub fn muster() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("MUSTER_BIN") {
        Some(given) => given.into(),
        None => built(),
    })
}

/// A command that runs `muster`. What is set for a Muster around this test is not for this one.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(muster());
    command.args(arguments);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"MUSTER_")) {
        command.env_remove(name);
    }
    command
}

fn built() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let beside = own.parent().unwrap();
    let profile_dir = if beside.ends_with("deps") { beside.parent().unwrap() } else { beside };
    build_once(profile_dir);
    profile_dir.join("muster")
}

/// Each test is a process of its own; the first one of a run builds, the others wait for it and find its note.
fn build_once(profile_dir: &Path) {
    let run = std::env::var("NEXTEST_RUN_ID").unwrap_or_else(|_| std::process::id().to_string());
    let (built, failed) = (format!("{run} built"), format!("{run} failed"));
    let note = profile_dir.join("muster-tests.run");
    let mut note = File::options().read(true).write(true).create(true).truncate(false).open(note).unwrap();
    flock(&note, FlockOperation::LockExclusive).unwrap();
    let mut noted = String::new();
    note.read_to_string(&mut noted).unwrap();
    if noted != built && noted != failed {
        noted = if build(profile_dir) { built } else { failed.clone() };
        note.set_len(0).unwrap();
        note.rewind().unwrap();
        note.write_all(noted.as_bytes()).unwrap();
    }
    assert!(noted != failed, "the binary `muster` can't be built; see what `cargo build -p muster` says");
}

fn build(profile_dir: &Path) -> bool {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--package", "muster"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    command.env("CARGO_TARGET_DIR", profile_dir.parent().unwrap());
    if profile_dir.ends_with("release") {
        command.arg("--release");
    }
    command.status().unwrap().success()
}
