//! The arguments that everything has that runs commands of the user's (`docs/compat/behaviour-5-steps.md` 5.2).

use std::collections::BTreeMap;

use muster_core::{LogKind, Results};
use muster_session::{
    Command,
    command::{LogFile, Shell},
};
use serde_json::Value;

use super::command_line::{CommandText, ExitCodes, read_env, read_logfiles};
use crate::effects::{CommandRequest, CommandResult, LineObserver, LogRef, StepContext, StepEnd};

/// Seconds without output after which a program is ended, unless the step says otherwise.
const DEFAULT_TIMEOUT: f64 = 1200.0;

/// The arguments of a shell step, read once.
pub(in crate::steps) struct ShellArguments {
    /// Everything but the program.
    shell: Shell,
    exit_codes: ExitCodes,
    /// In the order of their logs.
    logfiles: Vec<(String, LogFile)>,
    lazy_logfiles: bool,
}

/// Which streams of a command a step wants to have itself.
#[derive(Clone, Copy, Default)]
pub(in crate::steps) struct Collect {
    pub(in crate::steps) stdout: bool,
    pub(in crate::steps) stderr: bool,
}

impl ShellArguments {
    /// Reads the step's arguments, but its command.
    pub(in crate::steps) async fn read(context: &mut StepContext<'_>) -> Result<ShellArguments, StepEnd> {
        let workdir = context.program_workdir().await?;
        let mut env = BTreeMap::new();
        let builders = context.builder_env().await?;
        read_env(&builders, &mut env)
            .map_err(|wanted| StepEnd::Exception(format!("the builder's env must be {wanted}")))?;
        let own = context.arg("env").await?;
        read_env(&own, &mut env).map_err(|wanted| misfit(context, "env", &wanted))?;
        let logfiles = context.arg("logfiles").await?;
        let logfiles = read_logfiles(&logfiles).map_err(|wanted| misfit(context, "logfiles", &wanted))?;
        let codes = context.arg("decodeRC").await?;
        let exit_codes = ExitCodes::read(&codes).map_err(|wanted| misfit(context, "decodeRC", &wanted))?;
        let shell = Shell {
            workdir,
            env,
            want_stdout: context.flag("want_stdout", true).await?,
            want_stderr: context.flag("want_stderr", true).await?,
            logfiles: logfiles.iter().cloned().collect(),
            timeout: context.limit("timeout", Some(DEFAULT_TIMEOUT)).await?,
            max_time: context.limit("maxTime", None).await?,
            max_lines: context.limit("max_lines", None).await?.map(|lines| lines as u64),
            sigterm_time: context.limit("sigtermTime", None).await?,
            interrupt_signal: context.text("interruptSignal").await?.unwrap_or_else(|| "KILL".to_owned()),
            use_pty: context.typed("usePTY", "a boolean").await?.unwrap_or(false),
            initial_stdin: context.text("initialStdin").await?,
            log_environ: context.flag("logEnviron", true).await?,
            ..Shell::default()
        };
        let lazy_logfiles = context.flag("lazylogfiles", false).await?;
        Ok(ShellArguments { shell, exit_codes, logfiles, lazy_logfiles })
    }

    /// The step's own command.
    pub(in crate::steps) async fn command(context: &mut StepContext<'_>) -> Result<CommandText, StepEnd> {
        let command = context.arg("command").await?;
        Self::read_command(context, &command)
    }

    /// A command that was rendered.
    pub(in crate::steps) fn read_command(
        context: &mut StepContext<'_>,
        command: &Value,
    ) -> Result<CommandText, StepEnd> {
        let text = CommandText::read(command).map_err(|wanted| misfit(context, "command", &wanted))?;
        if let Some(summary) = text.summary() {
            context.set_summary(summary);
        }
        Ok(text)
    }

    /// Runs a command with these arguments; its output goes to `stdio`.
    pub(in crate::steps) async fn run(
        &self,
        context: &mut StepContext<'_>,
        command: CommandText,
        stdio: &LogRef,
        collect: Collect,
        observer: Option<&mut dyn LineObserver>,
    ) -> Result<CommandResult, StepEnd> {
        let mut logfiles = Vec::new();
        if !self.lazy_logfiles {
            for (name, _) in &self.logfiles {
                logfiles.push((name.clone(), context.add_log(name, LogKind::Stdio)?));
            }
        }
        let shell = Shell { command: command.line, ..self.shell.clone() };
        let mut request = CommandRequest::new(Command::Shell(shell), Some(stdio));
        request.logfiles = logfiles;
        request.collect_stdout = collect.stdout;
        request.collect_stderr = collect.stderr;
        match observer {
            Some(observer) => context.observed_command(request, observer).await,
            None => context.command(request).await,
        }
    }

    /// What came of a command, by the step's exit codes.
    pub(in crate::steps) fn results(&self, result: &CommandResult) -> Results {
        if result.interrupted { Results::Cancelled } else { self.exit_codes.results(result.rc) }
    }
}

fn misfit(context: &StepContext<'_>, name: &str, wanted: &str) -> StepEnd {
    StepEnd::Exception(format!("{} argument {name} must be {wanted}", context.config().kind))
}
