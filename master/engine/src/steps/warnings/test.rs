//! `Test`: as a command whose warnings are counted.

use muster_core::Results;
use serde::Deserialize;

use super::WarningCountingShellCommand;
use crate::{
    effects::{StepContext, StepEnd},
    steps::{arguments::Rendered, command_line::CommandText, kind::StepKind},
};

/// `Test`
#[derive(Deserialize)]
#[serde(transparent)]
pub(in crate::steps) struct Test(WarningCountingShellCommand);

impl StepKind for Test {
    const NAME: &'static str = "Test";

    fn command(&self) -> Option<&Rendered<CommandText>> {
        StepKind::command(&self.0)
    }

    fn problems(&self) -> Vec<String> {
        StepKind::problems(&self.0)
    }

    async fn run(&self, context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
        StepKind::run(&self.0, context).await
    }

    #[cfg(test)]
    fn example() -> serde_json::Value {
        serde_json::json!({"command": "make"})
    }
}
