//! The arguments that everything has that runs commands of the user's (`docs/compat/behaviour-5-steps.md` 5.2).

use std::collections::BTreeMap;

use muster_core::{LogKind, Results};
use muster_session::{
    Command,
    command::{LogFile, Shell},
};
use serde::Deserialize;

use crate::{
    effects::{CommandRequest, CommandResult, LineObserver, LogRef, StepContext, StepEnd},
    steps::{
        arguments::{Flag, Limit, Rendered},
        command_line::{CommandText, Env, ExitCodes, LogFiles, read_env},
    },
};

/// Seconds without output after which a program is ended, unless the step says otherwise.
const DEFAULT_TIMEOUT: Limit = Limit(Some(1200.0));

/// The arguments of a shell step beside its command.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::steps) struct ShellArguments {
    env: Rendered<Env>,
    logfiles: Rendered<LogFiles>,
    #[serde(rename = "lazylogfiles")]
    lazy_logfiles: Rendered<Flag<false>>,
    #[serde(rename = "decodeRC")]
    exit_codes: Rendered<ExitCodes>,
    #[serde(rename = "want_stdout")]
    want_stdout: Rendered<Flag<true>>,
    #[serde(rename = "want_stderr")]
    want_stderr: Rendered<Flag<true>>,
    timeout: Rendered<Limit>,
    max_time: Rendered<Limit>,
    #[serde(rename = "max_lines")]
    max_lines: Rendered<Limit>,
    sigterm_time: Rendered<Limit>,
    interrupt_signal: Rendered<Option<String>>,
    #[serde(rename = "usePTY")]
    use_pty: Rendered<Option<bool>>,
    initial_stdin: Rendered<Option<String>>,
    log_environ: Rendered<Flag<true>>,
}

/// The same for the running build: it runs commands.
pub(in crate::steps) struct Runner {
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
    /// Renders the arguments.
    pub(in crate::steps) async fn read(&self, context: &mut StepContext<'_>) -> Result<Runner, StepEnd> {
        let workdir = context.program_workdir().await?;
        let mut env = BTreeMap::new();
        let builders = context.builder_env().await?;
        read_env(&builders, &mut env)
            .map_err(|wanted| StepEnd::Exception(format!("the builder's env must be {wanted}")))?;
        env.extend(self.env.get(context).await?.0);
        let LogFiles(logfiles) = self.logfiles.get(context).await?;
        let exit_codes = self.exit_codes.get(context).await?;
        let shell = Shell {
            workdir,
            env,
            want_stdout: self.want_stdout.get(context).await?.0,
            want_stderr: self.want_stderr.get(context).await?.0,
            logfiles: logfiles.iter().cloned().collect(),
            timeout: self.timeout.get_or(context, DEFAULT_TIMEOUT).await?.0,
            max_time: self.max_time.get(context).await?.0,
            max_lines: self.max_lines.get(context).await?.0.map(|lines| lines as u64),
            sigterm_time: self.sigterm_time.get(context).await?.0,
            interrupt_signal: self.interrupt_signal.get(context).await?.unwrap_or_else(|| "KILL".to_owned()),
            use_pty: self.use_pty.get(context).await?.unwrap_or(false),
            initial_stdin: self.initial_stdin.get(context).await?,
            log_environ: self.log_environ.get(context).await?.0,
            ..Shell::default()
        };
        let lazy_logfiles = self.lazy_logfiles.get(context).await?.0;
        Ok(Runner { shell, exit_codes, logfiles, lazy_logfiles })
    }
}

impl Runner {
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
