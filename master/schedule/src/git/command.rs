//! One run of `git`: its time and its output are bounded, and nothing of it outlives the call.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use muster_core::git::{Refused, Words};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
};

/// Longest output that is read; a command that writes more is ended and reported. The log of
/// [`super::repository::MAX_COMMITS`] commits is far below.
const MAX_OUTPUT: u64 = 256 << 20;
/// Most of the error text that is shown: its end, where git says what went wrong.
const MAX_ERROR: usize = 2_000;

/// Why git did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GitError {
    /// The program can't be started.
    #[error("can't run {program:?}: {error}; install git, or name it with gitbin=")]
    Spawn {
        program: String,
        #[source]
        error: std::io::Error,
    },
    /// It would not get the words as they are meant.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It took too long.
    #[error("git {command} took longer than {} s and was ended", .limit.as_secs())]
    Timeout { command: String, limit: Duration },
    /// It ended with an error.
    #[error("git {command} failed ({status}): {text}")]
    Failed { command: String, status: ExitStatus, text: String },
    /// It wrote more than anybody wants to read.
    #[error("git {command} wrote more than {} MiB and was ended", MAX_OUTPUT >> 20)]
    TooMuchOutput { command: String },
    /// It wrote something that it never writes.
    #[error("git {command} answered what can't be understood: {text:?}")]
    Unexpected { command: String, text: String },
    /// A file or a pipe failed.
    #[error("{what}: {error}")]
    Io {
        what: String,
        #[source]
        error: std::io::Error,
    },
}

/// A git program and the environment it runs in.
#[derive(Clone, Debug)]
pub(crate) struct Git {
    program: String,
    directory: PathBuf,
    environment: Vec<(&'static str, OsString)>,
    /// Names and values of git's own configuration.
    configuration: Vec<(String, String)>,
}

impl Git {
    /// `program` run in `directory`.
    pub(crate) fn new(program: &str, directory: &Path) -> Git {
        Git {
            program: program.to_owned(),
            directory: directory.to_owned(),
            environment: Vec::new(),
            configuration: Vec::new(),
        }
    }

    /// The same with another variable.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<OsString>) -> Git {
        self.environment.push((name, value.into()));
        self
    }

    /// The same with a value of git's configuration, beside those that the master's environment has. No other user of the
    /// machine sees it, as they see arguments.
    pub(crate) fn configured(mut self, name: &str, value: &str) -> Git {
        self.configuration.push((name.to_owned(), value.to_owned()));
        self
    }

    fn configuration_variables(&self) -> Vec<(String, String)> {
        if self.configuration.is_empty() {
            return Vec::new();
        }
        const COUNT: &str = "GIT_CONFIG_COUNT";
        let before: usize = std::env::var(COUNT).ok().and_then(|count| count.parse().ok()).unwrap_or(0);
        let mut variables = vec![(COUNT.to_owned(), (before + self.configuration.len()).to_string())];
        for (index, (name, value)) in self.configuration.iter().enumerate() {
            variables.push((format!("GIT_CONFIG_KEY_{}", before + index), name.clone()));
            variables.push((format!("GIT_CONFIG_VALUE_{}", before + index), value.clone()));
        }
        variables
    }

    /// The directory it runs in.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Runs one command and answers what it wrote, as text.
    pub(crate) async fn run(&self, words: Words, limit: Duration) -> Result<String, GitError> {
        // Enough to recognise the command; its other words may hold a password.
        let command = words.command();
        self.run_words(command, &words.into_words(), limit).await
    }

    async fn run_words(&self, command: &str, words: &[String], limit: Duration) -> Result<String, GitError> {
        let command = command.to_owned();
        let mut process = self.spawn(words)?;
        let outcome = tokio::time::timeout(limit, process.finish(&command)).await;
        let (status, output, errors) =
            outcome.map_err(|_| GitError::Timeout { command: command.clone(), limit })??;
        if !status.success() {
            return Err(GitError::Failed { command, status, text: end_of(&errors) });
        }
        Ok(String::from_utf8_lossy(&output).into_owned())
    }

    fn spawn(&self, words: &[String]) -> Result<Process, GitError> {
        let spawned = Command::new(&self.program)
            // Housekeeping in the background would outlive the call.
            .args(["-c", "gc.autoDetach=false", "-c", "maintenance.autoDetach=false"])
            .args(words)
            .current_dir(&self.directory)
            // Nobody is there to answer a question.
            .env("GIT_TERMINAL_PROMPT", "0")
            // What the master's own environment says about some other repository.
            .env_remove("GIT_DIR")
            .env_remove("GIT_WORK_TREE")
            .env_remove("GIT_INDEX_FILE")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .envs(self.configuration_variables())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn();
        let child = spawned.map_err(|error| GitError::Spawn { program: self.program.clone(), error })?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(Process { child, group })
    }
}

/// A running git with its helpers (`ssh`, `git-remote-https`, …), which end with it.
struct Process {
    child: Child,
    /// `None` when all of it is known to have ended.
    group: Option<Pid>,
}

impl Process {
    async fn finish(&mut self, command: &str) -> Result<(ExitStatus, Vec<u8>, Vec<u8>), GitError> {
        let io = |error| GitError::Io { what: format!("output of git {command}"), error };
        let (stdout, stderr) = (self.child.stdout.take(), self.child.stderr.take());
        let (output, errors) = tokio::try_join!(read_all(stdout), read_all(stderr)).map_err(io)?;
        let (Some(output), Some(errors)) = (output, errors) else {
            return Err(GitError::TooMuchOutput { command: command.to_owned() });
        };
        let status = self.child.wait().await.map_err(io)?;
        self.group = None;
        Ok((status, output, errors))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            // An error means that the group is gone, which is what is wanted.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Everything up to the end; `None` when it is too much.
async fn read_all(stream: Option<impl AsyncRead + Unpin>) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        stream.take(MAX_OUTPUT + 1).read_to_end(&mut bytes).await?;
    }
    Ok((bytes.len() as u64 <= MAX_OUTPUT).then_some(bytes))
}

fn end_of(errors: &[u8]) -> String {
    let text = String::from_utf8_lossy(errors);
    let text = text.trim();
    let mut start = text.len().saturating_sub(MAX_ERROR);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text[start..].replace('\n', "; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_failure_tells_what_git_said() {
        let directory = tempfile::tempdir().unwrap();
        let git = Git::new("git", directory.path());
        let error =
            git.run(Words::new("rev-parse").options(&["--verify", "nosuch"]), LIMIT).await.unwrap_err();
        assert!(matches!(&error, GitError::Failed { command, .. } if command == "rev-parse"), "{error}");
        assert!(error.to_string().contains("not a git repository"), "{error}");
    }

    #[tokio::test]
    async fn a_missing_program_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let error = Git::new("/nonexistent/git", directory.path())
            .run(Words::new("version"), LIMIT)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("/nonexistent/git"), "{error}");
    }

    #[tokio::test]
    async fn a_command_over_its_time_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let git = Git::new("git", directory.path());
        let hang = Words::new("-c").options(&["alias.hang=!sleep 600", "hang"]);
        let run = git.run(hang, Duration::from_millis(50)).await;
        assert!(matches!(run, Err(GitError::Timeout { .. })), "{run:?}");
    }

    #[tokio::test]
    async fn a_command_that_nobody_waits_for_ends_with_its_children() {
        let directory = tempfile::tempdir().unwrap();
        let pid_file = directory.path().join("pid");
        // A git command that is a shell with a child, as a fetch over ssh is.
        let alias = format!("alias.hang=!sleep 600 & echo $! > '{}'; wait", pid_file.display());
        let git = Git::new("git", directory.path());
        let started = async {
            loop {
                let written = std::fs::read_to_string(&pid_file).unwrap_or_default();
                if let Ok(pid) = written.trim().parse() {
                    return Pid::from_raw(pid).unwrap();
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let words = ["-c", alias.as_str(), "hang"].map(str::to_owned);
        let child = tokio::select! {
            run = git.run_words("hang", &words, LIMIT) => panic!("{run:?}"),
            child = started => child,
        };
        let gone = async {
            while is_running(child) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LIMIT, gone).await.expect("the child of an ended command still runs");
    }

    /// A killed process may stay as a zombie until its new parent looks.
    fn is_running(pid: Pid) -> bool {
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
    }
}
