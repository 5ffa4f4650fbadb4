//! `ShellCommand`, and those that are nothing but a default command.

use muster_core::{LogKind, Results};
use serde::Deserialize;

use super::{Collect, ShellArguments};
use crate::{
    effects::{StepContext, StepEnd},
    steps::{arguments::Rendered, command_line::CommandText, kind::StepKind},
};

/// `ShellCommand`
#[derive(Deserialize)]
pub(in crate::steps) struct ShellCommand {
    #[serde(rename = "..shell")]
    shell: ShellArguments,
    command: Rendered<CommandText>,
}

impl StepKind for ShellCommand {
    const NAME: &'static str = "ShellCommand";

    fn command(&self) -> Option<&Rendered<CommandText>> {
        Some(&self.command)
    }

    async fn run(&self, context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
        let runner = self.shell.read(context).await?;
        let command = self.command.get(context).await?.announced(context);
        let stdio = context.add_log("stdio", LogKind::Stdio)?;
        let result = runner.run(context, command, &stdio, Collect::default(), None).await?;
        Ok(runner.results(&result))
    }

    #[cfg(test)]
    fn example() -> serde_json::Value {
        serde_json::json!({"command": ["x"], "logfiles": {"l": "l"}})
    }
}
