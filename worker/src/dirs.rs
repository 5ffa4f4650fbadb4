//! Removing and copying directories, by the system's own `rm`, `chmod` and `cp`: users know their messages.

use std::path::Path;

use muster_session::command::{Argument, CommandLine, Shell};

use crate::context::{CommandIo, Outcome, StopRequest, Surroundings};
use crate::shell::{self, ReportRc};

/// Time limits of each program that is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// Seconds without output.
    pub timeout: Option<f64>,
    /// Seconds in all.
    pub max_time: Option<f64>,
}

/// Removes directories with all they hold, also against their permissions. All are tried; a failure decides.
pub(crate) async fn rmdir(
    builder: &Path,
    dirs: &[String],
    times: Times,
    io: &CommandIo,
    around: &Surroundings,
) -> Outcome {
    let mut result = Outcome::rc(0);
    for dir in dirs {
        let path = builder.join(dir);
        let Some(path) = path.to_str() else {
            return Outcome::broken(format!("{} is no UTF-8", path.display()));
        };
        let outcome = remove(path, times, io, around).await;
        if outcome != Outcome::rc(0) {
            result = outcome;
        }
        if io.stop.current() != StopRequest::None {
            break;
        }
    }
    result
}

async fn remove(path: &str, times: Times, io: &CommandIo, around: &Surroundings) -> Outcome {
    let remove = ["rm", "-rf", path];
    let first = run(&remove, times, io, around).await;
    if first == Outcome::rc(0) || first.error.is_some() || io.stop.current() != StopRequest::None {
        return first;
    }
    run(&["chmod", "-Rf", "u+rwx", path], times, io, around).await;
    run(&remove, times, io, around).await
}

/// Copies a directory; an existing target gets the source inside it.
pub(crate) async fn cpdir(
    builder: &Path,
    from: &str,
    to: &str,
    times: Times,
    io: &CommandIo,
    around: &Surroundings,
) -> Outcome {
    let (from, to) = (builder.join(from), builder.join(to));
    let (Some(from), Some(to)) = (from.to_str(), to.to_str()) else {
        return Outcome::broken("the paths to copy are no UTF-8".into());
    };
    run(&["cp", "-R", "-P", "-p", "-v", from, to], times, io, around).await
}

/// Runs a program in the worker's directory and leaves its exit code to the caller.
async fn run(argv: &[&str], times: Times, io: &CommandIo, around: &Surroundings) -> Outcome {
    let words = argv.iter().map(|word| Argument::Plain((*word).to_owned())).collect();
    let program = Shell {
        command: CommandLine::Argv(words),
        timeout: times.timeout,
        max_time: times.max_time,
        log_environ: false,
        ..Shell::default()
    };
    shell::run_in(&around.base, program, ReportRc::ToCaller, io, around).await
}
