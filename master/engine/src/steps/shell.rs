//! Shell commands: arguments, exit codes, summaries (`compat/behaviour-5-steps.md` 5.2).

use muster_core::{LogKind, Results, render::py_str};
use muster_session::{
    Command,
    command::{Argument, CommandLine, Shell},
};
use serde_json::Value;

use crate::run::{CommandRequest, StepContext, StepEnd, summary};

/// `ShellCommand`.
pub(super) async fn run(context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
    let stdio = context.add_log("stdio", LogKind::Stdio)?;
    let command = context.arg("command").await?;
    let workdir = context.workdir().await?;
    let (line, words) = match &command {
        Value::String(text) => {
            (CommandLine::Script(text.clone().into()), text.split_whitespace().map(str::to_owned).collect())
        }
        Value::Array(items) => {
            let words: Vec<String> = items.iter().map(py_str).collect();
            (CommandLine::Argv(words.iter().cloned().map(Argument::Plain).collect()), words)
        }
        other => return Err(StepEnd::Exception(format!("command is {other}, not text or a list"))),
    };
    if let Some(summary) = summary::quoted_command(&words) {
        context.set_summary(summary);
    }
    let shell = Shell { workdir, command: line, ..Shell::default() };
    let result = context.command(CommandRequest::new(Command::Shell(shell), Some(&stdio))).await?;
    Ok(result.results())
}
