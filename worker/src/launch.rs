//! The launcher: a short life between `fork` and `exec` in which a command's process writes its own record.
//!
//! A process group must be on record *before* the user's program runs; otherwise a worker that is killed in
//! between leaves a process that nobody will ever end. So the worker does not start the program itself: it starts
//! its own binary as a launcher, which writes who it is (process id and start time), opens a session of its own
//! where a terminal is wanted, and then becomes the program through `exec`. All of it needs no `unsafe`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use muster_core::surrogates;

use crate::process::ProcessIdentity;
use crate::records;

/// First argument that turns a start of the binary into a start of the launcher.
const LAUNCH_ARGUMENT: &str = "--muster-launch";

/// Exit code when the program can't be run; Buildbot's worker reports the same.
const CANNOT_RUN: i32 = 1;

/// Which program plays the launcher.
#[derive(Clone, Debug, Default)]
pub enum Launcher {
    /// The running binary itself; its `main` must begin with [`run_if_asked`].
    #[default]
    Itself,
    /// Another program whose `main` begins with [`run_if_asked`].
    Program(PathBuf),
}

/// Whether a command gets a terminal of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Terminal {
    /// Standard streams are pipes; the caller makes the process a group leader.
    None,
    /// Standard input is a terminal that shall control a new session.
    Controlling,
}

impl Launcher {
    /// A command that records itself in `record_dir` and then becomes `argv`.
    pub(crate) fn command(&self, record_dir: &Path, terminal: Terminal, argv: &[String]) -> Command {
        let mut command = match self {
            // Stays valid when an upgrade has replaced the file of the running binary.
            Self::Itself if cfg!(target_os = "linux") => Command::new("/proc/self/exe"),
            Self::Itself => Command::new(std::env::current_exe().unwrap_or_else(|_| "muster".into())),
            Self::Program(path) => Command::new(path),
        };
        command.arg(LAUNCH_ARGUMENT).arg(record_dir);
        command.arg(if terminal == Terminal::Controlling { "tty" } else { "pipe" });
        command.args(argv.iter().map(|word| os_text(word)));
        command
    }
}

/// A text of a command as the system takes it: names that are no UTF-8 are the bytes that they were.
pub(crate) fn os_text(text: &str) -> OsString {
    OsString::from_vec(surrogates::to_bytes(text).into_owned())
}

/// Becomes the launched program if this process was started as a launcher; returns otherwise.
///
/// Must be the first thing in `main` of the binary that runs the worker (see [`Launcher`]).
pub fn run_if_asked() {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_none_or(|first| first != LAUNCH_ARGUMENT) {
        return;
    }
    let message = launch(args);
    eprintln!("muster: {message}");
    std::process::exit(CANNOT_RUN);
}

/// Never returns on success; the text says why the program could not be run.
fn launch(mut args: impl Iterator<Item = OsString>) -> String {
    let (Some(record_dir), Some(terminal), Some(program)) = (args.next(), args.next(), args.next()) else {
        return "the launcher needs a record directory, a terminal mode and a program".into();
    };
    if terminal == "tty"
        && let Err(error) = take_terminal()
    {
        return format!("can't make the pseudo-terminal the controlling one: {error}");
    }
    let recorded = ProcessIdentity::of_this_process()
        .and_then(|identity| records::write_process(Path::new(&record_dir), &identity));
    if let Err(error) = recorded {
        return format!("can't record the process in {}, so it was not run: {error}", record_dir.display());
    }
    let error = Command::new(&program).args(args).exec();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let program = program.display();
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            format!("can't run '{program}': {error}; PATH is '{}'", path.display())
        }
        _ => format!("can't run '{program}': {error}"),
    }
}

fn take_terminal() -> std::io::Result<()> {
    rustix::process::setsid()?;
    rustix::process::ioctl_tiocsctty(std::io::stdin())?;
    Ok(())
}
