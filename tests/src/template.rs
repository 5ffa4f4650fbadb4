//! Empty databases are made once and copied for each server: making them takes seconds.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Runs a command to its end.
///
/// # Panics
/// When it fails, with its words.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed:\n{said}{stderr}");
    said
}

/// A command that runs as `user` when this process is root: servers refuse to be.
pub(crate) fn command_as(user: &str, program: &Path) -> Command {
    if !rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", user, "--regid", user, "--clear-groups", "--pdeathsig", "KILL"]).arg(program);
    command
}

/// Gives a directory, which must exist, to `user`.
pub(crate) fn give_to(user: &str, directory: &Path) {
    if rustix::process::geteuid().is_root() {
        run(Command::new("chown").args(["-R", user]).arg(directory));
    }
}

/// Puts a copy of the template `name` at `target`; `make` makes the template at the path it is given, once.
pub(crate) fn copy(name: &str, target: &Path, make: impl FnOnce(&Path)) {
    let templates = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/templates");
    fs::create_dir_all(&templates).unwrap();
    let template = templates.join(name);
    if !template.exists() {
        let making = tempfile::tempdir().unwrap();
        fs::set_permissions(making.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let made = making.path().join("data");
        make(&made);
        let beside = tempfile::tempdir_in(&templates).unwrap();
        run(Command::new("cp").arg("-a").arg(&made).arg(beside.path().join("data")));
        // Another test may have been faster; then its template serves as well.
        let _ = fs::rename(beside.path().join("data"), &template);
    }
    run(Command::new("cp").arg("-a").arg(&template).arg(target));
}
