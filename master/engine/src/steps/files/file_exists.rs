//! `FileExists`: fails when there is no such file.

use muster_core::Results;
use muster_session::Command;
use serde::Deserialize;

use super::{FileKind, silently};
use crate::{
    effects::{StepContext, StepEnd},
    steps::{arguments::Rendered, kind::StepKind},
};

/// `FileExists`
#[derive(Deserialize)]
pub(in crate::steps) struct FileExists {
    file: Rendered<String>,
}

impl StepKind for FileExists {
    const NAME: &'static str = "FileExists";

    async fn run(&self, context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
        let file = self.file.get(context).await?;
        let result = silently(context, Command::Stat { file, workdir: None }).await?;
        if result.interrupted {
            return Ok(Results::Cancelled);
        }
        let (outcome, results) = match FileKind::of(&result) {
            None => ("File not found.", Results::Failure),
            Some(FileKind::Regular) => ("File found.", Results::Success),
            Some(_) => ("Not a file.", Results::Failure),
        };
        context.set_outcome(outcome);
        Ok(results)
    }

    #[cfg(test)]
    fn example() -> serde_json::Value {
        serde_json::json!({"file": "one"})
    }
}
