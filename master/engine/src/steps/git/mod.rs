//! `Git`: brings a work directory to a revision (`docs/compat/behaviour-5-steps.md` 5.5 and 5.6).

mod arguments;
mod auth;
mod clone;
mod fetch;
mod patch;
mod revision;
mod version;

use muster_core::{
    LogKind, Patch, Results,
    git::{Name, Refused, Words},
};
use muster_session::{
    Command,
    command::{Argument, CommandLine, EnvValue, Shell},
};

use self::{
    arguments::{GitArguments, Mode},
    auth::AuthFiles,
    version::GitVersion,
};
use super::arguments::join;
use crate::effects::{CommandRequest, CommandResult, LogRef, StepContext, StepEnd};

/// Seconds that git gets after SIGTERM, before it is killed: a killed git leaves locks behind.
const SIGTERM_TIME: f64 = 1.0;
/// Tells that a patch was applied to the directory.
const PATCHED: &str = ".buildbot-patched";
/// Where `copy` keeps its clone, below the builder's directory.
const SOURCE_DIR: &str = "source";

/// What is to be checked out.
struct Wanted {
    branch: Name,
    revision: Option<Name>,
    patch: Option<Patch>,
}

/// `Git`
pub(super) async fn git(context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
    check_out(context, |_| true).await
}

/// `GitHub`: the merge that GitHub makes of a pull request has no revision that stays.
pub(super) async fn github(context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
    check_out(context, |branch| !branch.ends_with("/merge")).await
}

async fn check_out(
    context: &mut StepContext<'_>,
    has_revisions: fn(&str) -> bool,
) -> Result<Results, StepEnd> {
    let arguments = GitArguments::read(context).await?;
    let wanted = wanted(context, &arguments);
    let Some(mut wanted) = arguments::allowed(context, wanted)? else {
        let codebase = &arguments.codebase;
        context.set_outcome(format!("Codebase {codebase} not in build"));
        let text = format!("No sourcestamp found in build for codebase '{codebase}'");
        context.add_complete_log("log", LogKind::Text, &text)?;
        return Ok(Results::Failure);
    };
    wanted.revision = wanted.revision.filter(|_| has_revisions(wanted.branch.as_str()));
    if let Some(patch) = &wanted.patch {
        context.add_complete_log("patch", LogKind::Text, &String::from_utf8_lossy(&patch.body))?;
    }
    let workdir = context.workdir().await?;
    let stdio = context.add_log("stdio", LogKind::Stdio)?;
    let (version, auth) = (GitVersion::default(), None);
    let retries = arguments.retry.times;
    let mut checkout = Checkout { context, arguments, wanted, workdir, stdio, version, auth, retries };
    let ended = checkout.run().await;
    // A stopped or lost step can't order anything any more; whoever runs next writes the files anew.
    if matches!(ended, Ok(()) | Err(StepEnd::Failed | StepEnd::Exception(_))) {
        checkout.remove_auth_files().await?;
    }
    ended.map(|()| Results::Success)
}

/// What the build's sourcestamp says, over the step's own; `None` when the build has none for the codebase.
fn wanted(context: &StepContext<'_>, arguments: &GitArguments) -> Result<Option<Wanted>, Refused> {
    let own = arguments.branch.clone();
    if arguments.always_latest {
        return Ok(Some(Wanted { branch: own, revision: None, patch: None }));
    }
    let Some(source) = context.source(&arguments.codebase) else { return Ok(None) };
    let filled = |what, text: &Option<String>| {
        text.as_deref().filter(|text| !text.is_empty()).map(|text| Name::new(what, text)).transpose()
    };
    Ok(Some(Wanted {
        branch: filled("branch", &source.branch)?.unwrap_or(own),
        revision: filled("revision", &source.revision)?,
        patch: source.patch.clone(),
    }))
}

/// A checkout under way.
struct Checkout<'c, 'a> {
    context: &'c mut StepContext<'a>,
    arguments: GitArguments,
    wanted: Wanted,
    workdir: String,
    stdio: LogRef,
    version: GitVersion,
    auth: Option<AuthFiles>,
    /// How often a failed clone may still be tried again.
    retries: u32,
}

impl Checkout<'_, '_> {
    async fn run(&mut self) -> Result<(), StepEnd> {
        let answer = self.git_output(Words::new("--version")).await?;
        let Some(version) = GitVersion::read(&answer) else {
            return Err(StepEnd::Exception("git is not installed on worker".to_owned()));
        };
        self.version = version;
        let patched = Command::Stat { file: join(&self.workdir, PATCHED), workdir: None };
        if self.order(patched).await?.succeeded() {
            self.git_or_fail(fetch::clean_words(true)).await?;
        }
        self.write_auth_files().await?;
        match self.arguments.mode {
            Mode::Incremental => self.incremental().await?,
            Mode::Clean => self.clean().await?,
            Mode::Fresh => self.fresh().await?,
            Mode::Clobber => self.clobber().await?,
            Mode::Copy => self.copy().await?,
        }
        if let Some(patch) = self.wanted.patch.clone() {
            self.patch(&patch).await?;
        }
        self.tell_revision().await?;
        self.tell_description().await
    }

    /// Runs a git command; whether it succeeded.
    async fn git(&mut self, words: Words) -> Result<bool, StepEnd> {
        Ok(self.run_git(words, None, false).await?.succeeded())
    }

    /// Runs a git command that must succeed.
    async fn git_or_fail(&mut self, words: Words) -> Result<(), StepEnd> {
        successful(self.run_git(words, None, false).await?).map(|_| ())
    }

    /// Runs a git command that must succeed, with text on its standard input.
    async fn git_with_input(&mut self, words: Words, input: String) -> Result<(), StepEnd> {
        successful(self.run_git(words, Some(input), false).await?).map(|_| ())
    }

    /// What a git command that must succeed writes, without white space around it.
    async fn git_output(&mut self, words: Words) -> Result<String, StepEnd> {
        let result = successful(self.run_git(words, None, true).await?)?;
        Ok(result.stdout.trim().to_owned())
    }

    async fn run_git(
        &mut self,
        words: Words,
        input: Option<String>,
        collect_stdout: bool,
    ) -> Result<CommandResult, StepEnd> {
        let arguments = &self.arguments;
        let mut env = arguments.env.clone();
        let (options, variable) =
            arguments.credentials.apply(words.command(), self.auth.as_ref(), &self.version);
        env.extend(variable.map(|(name, value)| (name, EnvValue::Set(value))));
        let configured = arguments.config.iter().map(|(name, value)| format!("{name}={value}"));
        let options = configured.chain(options).flat_map(|option| ["-c".to_owned(), option]);
        let line = std::iter::once("git".to_owned()).chain(options).chain(words.into_words());
        let shell = Shell {
            workdir: self.workdir.clone(),
            command: CommandLine::Argv(line.map(Argument::Plain).collect()),
            env,
            timeout: arguments.timeout,
            sigterm_time: Some(SIGTERM_TIME),
            initial_stdin: input,
            log_environ: arguments.log_environ,
            ..Shell::default()
        };
        let mut request = CommandRequest::new(Command::Shell(shell), Some(&self.stdio));
        request.collect_stdout = collect_stdout;
        not_cancelled(self.context.command(request).await?)
    }

    /// Runs another command on the worker.
    async fn order(&mut self, command: Command) -> Result<CommandResult, StepEnd> {
        let request = CommandRequest::new(command, Some(&self.stdio));
        not_cancelled(self.context.command(request).await?)
    }

    /// Removes a file or a directory.
    async fn remove(&mut self, path: String) -> Result<(), StepEnd> {
        let timeout = self.arguments.timeout;
        successful(self.order(Command::Rmdir { dirs: vec![path], timeout, max_time: None }).await?)
            .map(|_| ())
    }

    async fn remove_workdir(&mut self) -> Result<(), StepEnd> {
        self.remove(self.workdir.clone()).await
    }
}

fn not_cancelled(result: CommandResult) -> Result<CommandResult, StepEnd> {
    if result.interrupted { Err(StepEnd::Cancelled) } else { Ok(result) }
}

fn successful(result: CommandResult) -> Result<CommandResult, StepEnd> {
    if result.succeeded() { Ok(result) } else { Err(StepEnd::Failed) }
}
