//! A work directory in which git commands run.

use muster_core::{Results, git::Words};
use muster_session::{
    Command,
    command::{Argument, CommandLine, DownloadFile, EnvValue, Shell},
};

use super::{
    auth::{AuthFiles, Credentials},
    settings::Settings,
    version::GitVersion,
};
use crate::{
    effects::{CommandRequest, CommandResult, LogRef, StepContext, StepEnd, Transfer},
    steps::upload::transferred,
};

/// Seconds that git gets after SIGTERM, before it is killed: a killed git leaves locks behind.
const SIGTERM_TIME: f64 = 1.0;
/// Files of the owner alone.
const PRIVATE: u32 = 0o400;

/// Runs git for a step.
pub(super) struct Repository<'c, 'a> {
    pub(super) context: &'c mut StepContext<'a>,
    pub(super) settings: Settings,
    pub(super) credentials: Credentials,
    pub(super) workdir: String,
    pub(super) stdio: LogRef,
    pub(super) version: GitVersion,
    pub(super) auth: Option<AuthFiles>,
}

impl<'c, 'a> Repository<'c, 'a> {
    /// The step's work directory; nothing has been done yet.
    pub(super) fn new(
        context: &'c mut StepContext<'a>,
        settings: Settings,
        credentials: Credentials,
        workdir: String,
        stdio: LogRef,
    ) -> Repository<'c, 'a> {
        let (version, auth) = (GitVersion::default(), None);
        Repository { context, settings, credentials, workdir, stdio, version, auth }
    }

    /// Asks the worker which git it has; without one the step is an exception.
    pub(super) async fn look_at_git(&mut self) -> Result<(), StepEnd> {
        let answer = self.git_output(Words::new("--version")).await?;
        let Some(version) = GitVersion::read(&answer) else {
            return Err(StepEnd::Exception("git is not installed on worker".to_owned()));
        };
        self.version = version;
        Ok(())
    }

    /// Writes the files that git needs, if it needs any.
    pub(super) async fn write_auth_files(&mut self) -> Result<(), StepEnd> {
        if !self.credentials.are_needed() {
            return Ok(());
        }
        let files = AuthFiles::new(self.context, &self.workdir)?;
        self.auth = Some(files.clone());
        self.order(Command::Mkdir { dirs: vec![files.dir.clone()] }).await?;
        let Credentials { ssh_key, known_hosts, login } = &self.credentials;
        let (ssh_key, known_hosts, login) = (ssh_key.clone(), known_hosts.clone(), login.clone());
        if let Some(key) = ssh_key {
            if !self.version.knows_ssh_variable() {
                return Err(StepEnd::Exception(
                    "sshPrivateKey needs git 2.3 or newer on the worker".to_owned(),
                ));
            }
            self.write_file(files.path("ssh-key"), key, Some(PRIVATE)).await?;
            if let Some(hosts) = known_hosts {
                self.write_file(files.path("ssh-known-hosts"), hosts, Some(PRIVATE)).await?;
            }
        }
        if let Some(login) = login {
            self.git_with_input(Words::new("credential").option("approve"), login).await?;
        }
        Ok(())
    }

    /// Removes them again.
    pub(super) async fn remove_auth_files(&mut self) -> Result<(), StepEnd> {
        match self.auth.take() {
            Some(files) => self.remove(files.dir).await,
            None => Ok(()),
        }
    }

    /// Writes a file on the worker.
    pub(super) async fn write_file(
        &mut self,
        destination: String,
        content: String,
        mode: Option<u32>,
    ) -> Result<(), StepEnd> {
        let download = DownloadFile { workdir: self.workdir.clone(), destination, max_size: None, mode };
        let request = CommandRequest::new(Command::DownloadFile(download), Some(&self.stdio));
        let result = self.context.transfer_command(request, Transfer::DownloadText(content)).await?;
        match transferred(&result) {
            Results::Success => Ok(()),
            Results::Cancelled => Err(StepEnd::Cancelled),
            _ => Err(StepEnd::Failed),
        }
    }

    /// Runs a git command; whether it succeeded.
    pub(super) async fn git(&mut self, words: Words) -> Result<bool, StepEnd> {
        Ok(self.run_git(words, None, false).await?.succeeded())
    }

    /// Runs a git command that must succeed.
    pub(super) async fn git_or_fail(&mut self, words: Words) -> Result<(), StepEnd> {
        successful(self.run_git(words, None, false).await?).map(|_| ())
    }

    /// Runs a git command that must succeed, with text on its standard input.
    pub(super) async fn git_with_input(&mut self, words: Words, input: String) -> Result<(), StepEnd> {
        successful(self.run_git(words, Some(input), false).await?).map(|_| ())
    }

    /// What a git command that must succeed writes, without white space around it.
    pub(super) async fn git_output(&mut self, words: Words) -> Result<String, StepEnd> {
        Ok(self.git_stdout(words).await?.trim().to_owned())
    }

    /// What a git command that must succeed writes.
    pub(super) async fn git_stdout(&mut self, words: Words) -> Result<String, StepEnd> {
        Ok(successful(self.run_git(words, None, true).await?)?.stdout)
    }

    /// Removes the files by which git was let in, however the step ended. A stopped or lost step can't order anything any
    /// more; whoever runs next writes the files anew.
    pub(super) async fn tidied(&mut self, ended: Result<(), StepEnd>) -> Result<(), StepEnd> {
        if matches!(ended, Ok(()) | Err(StepEnd::Failed | StepEnd::Exception(_))) {
            self.remove_auth_files().await?;
        }
        ended
    }

    async fn run_git(
        &mut self,
        words: Words,
        input: Option<String>,
        collect_stdout: bool,
    ) -> Result<CommandResult, StepEnd> {
        let settings = &self.settings;
        let mut env = settings.env.clone();
        let (options, variable) = self.credentials.apply(words.command(), self.auth.as_ref(), &self.version);
        env.extend(variable.map(|(name, value)| (name, EnvValue::Set(value))));
        let configured = settings.config.iter().map(|(name, value)| format!("{name}={value}"));
        let options = configured.chain(options).flat_map(|option| ["-c".to_owned(), option]);
        let line = std::iter::once("git".to_owned()).chain(options).chain(words.into_words());
        let shell = Shell {
            workdir: self.workdir.clone(),
            command: CommandLine::Argv(line.map(Argument::Plain).collect()),
            env,
            timeout: settings.timeout,
            sigterm_time: Some(SIGTERM_TIME),
            initial_stdin: input,
            log_environ: settings.log_environ,
            ..Shell::default()
        };
        let mut request = CommandRequest::new(Command::Shell(shell), Some(&self.stdio));
        request.collect_stdout = collect_stdout;
        not_cancelled(self.context.command(request).await?)
    }

    /// Runs another command on the worker.
    pub(super) async fn order(&mut self, command: Command) -> Result<CommandResult, StepEnd> {
        let request = CommandRequest::new(command, Some(&self.stdio));
        not_cancelled(self.context.command(request).await?)
    }

    /// Removes a file or a directory.
    pub(super) async fn remove(&mut self, path: String) -> Result<(), StepEnd> {
        let timeout = self.settings.timeout;
        successful(self.order(Command::Rmdir { dirs: vec![path], timeout, max_time: None }).await?)
            .map(|_| ())
    }

    pub(super) async fn remove_workdir(&mut self) -> Result<(), StepEnd> {
        self.remove(self.workdir.clone()).await
    }
}

fn not_cancelled(result: CommandResult) -> Result<CommandResult, StepEnd> {
    if result.interrupted { Err(StepEnd::Cancelled) } else { Ok(result) }
}

pub(super) fn successful(result: CommandResult) -> Result<CommandResult, StepEnd> {
    if result.succeeded() { Ok(result) } else { Err(StepEnd::Failed) }
}
