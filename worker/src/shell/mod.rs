//! Running a program: what is run, where, with which environment, and how the log begins.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use muster_session::command::{Argument, CommandLine, LogFile, Shell, Stream};
use tokio::process::Child;

mod env;
mod logfiles;
mod supervise;
mod text;

use crate::context::{CommandIo, Outcome, Surroundings};
use crate::files;
use crate::launch::Terminal;
use crate::process;
use crate::pty::open_pty;
use logfiles::LogFiles;
use supervise::{Reader, Rules, Supervisor};
use text::Header;

/// Who tells the master the program's exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReportRc {
    /// It is sent as soon as it is known.
    AtOnce,
    /// The caller looks at it first.
    ToCaller,
}

/// Runs a `shell` command in its working directory below the builder's.
pub(crate) async fn run(builder: &Path, shell: Shell, io: &CommandIo, around: &Surroundings) -> Outcome {
    let workdir = builder.join(&shell.workdir);
    if let Err(error) = std::fs::create_dir_all(&workdir) {
        return start_failure(io, &format!("can't make {}", workdir.display()), &error);
    }
    run_in(&workdir, shell, ReportRc::AtOnce, io, around).await
}

/// Runs a program in `workdir`, which exists; [`Shell::workdir`] is not looked at.
pub(crate) async fn run_in(
    workdir: &Path,
    shell: Shell,
    report: ReportRc,
    io: &CommandIo,
    around: &Surroundings,
) -> Outcome {
    let program = match Program::prepare(workdir, &shell, around) {
        Ok(program) => program,
        Err(refused) => return Outcome::broken(refused),
    };
    let use_pty = shell.use_pty && shell.initial_stdin.is_none();
    if shell.use_pty && !use_pty {
        io.outbox.header("WARNING: disabling usePTY for this command");
    }
    let watched = python_logfiles(&shell.logfiles);
    let header = Header {
        command_line: &program.command_line,
        argv: &program.shown_argv,
        workdir: &workdir.to_string_lossy(),
        timeout: shell.timeout,
        max_time: shell.max_time,
        logfiles: &watched,
        environment: shell.log_environ.then_some(&program.environment),
        stdin_bytes: shell.initial_stdin.as_ref().map(String::len),
        pty: use_pty,
    };
    io.outbox.header(&header.render());

    let logfiles = LogFiles::watch(&shell.logfiles, workdir);
    let started = match program.start(workdir, use_pty, shell.initial_stdin.is_some(), io, around) {
        Ok(started) => started,
        Err(error) => return start_failure(io, &format!("can't start {}", program.command_line), &error),
    };
    let supervisor = Supervisor::new(started, program.rules, logfiles, &around.limits, report, io);
    let outcome = supervisor.run(shell.initial_stdin).await;
    if let Err(error) = io.record.process_ended() {
        tracing::warn!("can't remove the record of an ended process: {error}");
    }
    outcome
}

/// The command line as users may see it: secrets replaced.
pub(crate) fn shown_line(command: &CommandLine) -> String {
    match command {
        CommandLine::Script(script) => script.shown().to_owned(),
        CommandLine::Argv(words) => text::command_line(words.iter().map(Argument::shown)),
    }
}

/// Everything about a program that can be known, and refused, before it is started.
struct Program {
    argv: Vec<String>,
    command_line: String,
    shown_argv: String,
    environment: BTreeMap<OsString, OsString>,
    rules: Rules,
}

/// A running program and its ends.
struct Started {
    child: Child,
    stdout: Option<Reader>,
    stderr: Option<Reader>,
}

impl Program {
    fn prepare(workdir: &Path, shell: &Shell, around: &Surroundings) -> Result<Self, String> {
        if let Some(refused) = env::refuse(&shell.env) {
            return Err(refused);
        }
        let interrupt_signal = process::signal_by_name(&shell.interrupt_signal)
            .ok_or_else(|| format!("'interruptSignal' names no signal: {:?}", shell.interrupt_signal))?;
        let (argv, shown_argv) = match &shell.command {
            CommandLine::Script(script) => (
                vec!["/bin/sh".to_owned(), "-c".to_owned(), script.real().to_owned()],
                text::python_bytes(script.shown()),
            ),
            CommandLine::Argv(words) => (
                words.iter().map(|word| word.real().to_owned()).collect(),
                text::python_bytes_list(words.iter().map(Argument::shown)),
            ),
        };
        if argv.is_empty() {
            return Err("'command' is an empty list: there is no program to run".into());
        }
        let rules = Rules {
            want_stdout: shell.want_stdout,
            want_stderr: shell.want_stderr,
            timeout: limit("timeout", shell.timeout)?,
            max_time: limit("maxTime", shell.max_time)?,
            max_lines: shell.max_lines,
            sigterm_time: limit("sigtermTime", shell.sigterm_time)?,
            interrupt_signal,
            interrupt_name: format!("SIG{}", shell.interrupt_signal.trim_start_matches("SIG")),
            shown_argv: shown_argv.clone(),
        };
        let environment = env::compose(&around.environment, &shell.env, workdir);
        Ok(Self { argv, command_line: shown_line(&shell.command), shown_argv, environment, rules })
    }

    fn start(
        &self,
        workdir: &Path,
        use_pty: bool,
        has_stdin: bool,
        io: &CommandIo,
        around: &Surroundings,
    ) -> io::Result<Started> {
        let terminal = if use_pty { Terminal::Controlling } else { Terminal::None };
        let mut command = around.launcher.command(io.record.path(), terminal, &self.argv);
        command.current_dir(workdir).env_clear().envs(&self.environment);
        if use_pty {
            return start_on_terminal(command);
        }
        command.process_group(0);
        command.stdin(if has_stdin { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = tokio::process::Command::from(command).spawn()?;
        let stdout = child.stdout.take().map(|pipe| Box::pin(pipe) as Reader);
        let stderr = child.stderr.take().map(|pipe| Box::pin(pipe) as Reader);
        Ok(Started { child, stdout, stderr })
    }
}

/// The launcher makes the terminal its own; a group of its own comes with the session.
fn start_on_terminal(mut command: std::process::Command) -> io::Result<Started> {
    let (master, slave) = open_pty()?;
    let stdio = |slave: &File| slave.try_clone().map(Stdio::from);
    command.stdin(stdio(&slave)?).stdout(stdio(&slave)?).stderr(stdio(&slave)?);
    // The command and its copies of the slave go with this call, so that the program holds the only ones.
    let child = tokio::process::Command::from(command).spawn()?;
    Ok(Started { child, stdout: Some(Box::pin(master)), stderr: None })
}

fn start_failure(io: &CommandIo, what: &str, error: &io::Error) -> Outcome {
    let problem = format!("{what}: {}", files::describe(error));
    io.outbox.text(Stream::Stderr, &format!("{problem}\n"));
    Outcome::broken(problem)
}

fn limit(name: &str, seconds: Option<f64>) -> Result<Option<Duration>, String> {
    let Some(seconds) = seconds else { return Ok(None) };
    Duration::try_from_secs_f64(seconds)
        .map(Some)
        .map_err(|_| format!("'{name}' is no number of seconds: {seconds}"))
}

fn python_logfiles(logfiles: &BTreeMap<String, LogFile>) -> String {
    let shown = logfiles.iter().map(|(name, file)| {
        let (name, filename) = (text::python_text(name), text::python_text(&file.filename));
        match file.follow {
            false => format!("{name}: {filename}"),
            true => format!("{name}: {{'filename': {filename}, 'follow': True}}"),
        }
    });
    format!("{{{}}}", shown.collect::<Vec<_>>().join(", "))
}
