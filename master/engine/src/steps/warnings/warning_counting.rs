//! `WarningCountingShellCommand`, `Compile`: counts the warnings in what a command writes.

use muster_core::{LogKind, Results};
use muster_session::{Command, command::UploadFile};
use serde::Deserialize;
use serde_json::Value;

use super::{
    count_in_build,
    observer::{Extraction, WarningObserver},
    patterns::PatternArguments,
    suppression::Suppression,
};
use crate::{
    effects::{CommandRequest, LineObserver, StepContext, StepEnd, Transfer},
    steps::{
        arguments::{Argument, Misfit, Rendered},
        command_line::CommandText,
        kind::StepKind,
        shell::{Collect, ShellArguments},
    },
};

/// Bytes in a block of the suppression file.
const BLOCK: u32 = 32 * 1024;

/// Why suppressions can't be looked up by a function's idea of a warning.
const NO_FUNCTION: &str = "a function as warningExtractor is not supported yet; use warnExtractWholeLine or \
                           warnExtractFromRegexpGroups";

/// `WarningCountingShellCommand`
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::steps) struct WarningCountingShellCommand {
    #[serde(rename = "..shell")]
    pub(super) shell: ShellArguments,
    #[serde(rename = "..patterns")]
    pub(super) patterns: PatternArguments,
    pub(super) command: Rendered<CommandText>,
    max_warn_count: Rendered<Option<u64>>,
    suppression_list: Rendered<SuppressionList>,
    suppression_file: Rendered<Option<String>>,
}

/// The warnings that don't count.
struct SuppressionList(Vec<Suppression>);

impl Argument for SuppressionList {
    fn read(value: Value) -> Result<SuppressionList, Misfit> {
        let items = match &value {
            Value::Null => &[],
            Value::Array(items) => items.as_slice(),
            other => return Err(Misfit::not("a list", other)),
        };
        let read: Result<_, String> = items.iter().map(Suppression::read).collect();
        read.map(SuppressionList).map_err(Misfit::because)
    }
}

impl StepKind for WarningCountingShellCommand {
    const NAME: &'static str = "WarningCountingShellCommand";

    fn command(&self) -> Option<&Rendered<CommandText>> {
        Some(&self.command)
    }

    fn problems(&self) -> Vec<String> {
        let suppresses =
            self.suppression_list.constant().is_some_and(|SuppressionList(list)| !list.is_empty())
                || self.suppression_file.constant().flatten().is_some_and(|file| !file.is_empty());
        let is_function = self.patterns.warning_extractor == Some(Extraction::Function);
        if suppresses && is_function { vec![NO_FUNCTION.to_owned()] } else { Vec::new() }
    }

    async fn run(&self, context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
        let runner = self.shell.read(context).await?;
        let command = self.command.get(context).await?.announced(context);
        let most = self.max_warn_count.get(context).await?;
        let mut observer = match self.patterns.read(context).await? {
            Some(patterns) => Some(WarningObserver::new(patterns, self.suppressions(context).await?)),
            None => None,
        };
        let stdio = context.add_log("stdio", LogKind::Stdio)?;
        let watching = observer.as_mut().map(|observer| observer as &mut dyn LineObserver);
        let result = runner.run(context, command, &stdio, Collect::default(), watching).await?;
        let results = runner.results(&result);
        let count = observer.as_ref().map_or(0, WarningObserver::count);
        if let Some(observer) = observer.filter(|_| count > 0) {
            context.add_complete_log(&format!("warnings ({count})"), LogKind::Text, &observer.text())?;
        }
        count_in_build(context, count)?;
        Ok(match most {
            Some(most) if count > most => results.worst(Results::Failure),
            _ if count > 0 => results.worst(Results::Warnings),
            _ => results,
        })
    }

    #[cfg(test)]
    fn example() -> Value {
        serde_json::json!({"command": "make"})
    }
}

impl WarningCountingShellCommand {
    /// The warnings that don't count: those of the list, then those of the worker's file.
    async fn suppressions(&self, context: &mut StepContext<'_>) -> Result<Vec<Suppression>, StepEnd> {
        let SuppressionList(mut all) = self.suppression_list.get(context).await?;
        let file = &self.suppression_file;
        if let Some(name) = file.get(context).await?.filter(|name| !name.is_empty()) {
            let text = file_of_worker(context, name).await?;
            for line in text.lines() {
                let line = Suppression::of_line(line)
                    .map_err(|wrong| file.unfit(context, &Misfit::because(wrong)))?;
                all.extend(line);
            }
        }
        if !all.is_empty() && self.patterns.warning_extractor == Some(Extraction::Function) {
            return Err(StepEnd::Exception(NO_FUNCTION.to_owned()));
        }
        Ok(all)
    }
}

async fn file_of_worker(context: &mut StepContext<'_>, source: String) -> Result<String, StepEnd> {
    let workdir = context.workdir().await?;
    let upload = UploadFile { workdir, source, max_size: None, block_size: BLOCK, keep_stamp: false };
    let request = CommandRequest::new(Command::UploadFile(upload), None);
    let result = context.transfer_command(request, Transfer::Collect).await?;
    if result.interrupted {
        return Err(StepEnd::Cancelled);
    }
    match result.content {
        Some(content) if result.rc.is_none_or(|rc| rc == 0) => Ok(content),
        _ => Err(StepEnd::Failed),
    }
}
