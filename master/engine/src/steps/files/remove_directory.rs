//! `RemoveDirectory`: a directory goes, with what is in it.

use muster_core::Results;
use muster_session::Command;
use serde::Deserialize;

use super::silently;
use crate::{
    effects::{StepContext, StepEnd},
    steps::{arguments::Rendered, kind::StepKind},
};

/// `RemoveDirectory`
#[derive(Deserialize)]
pub(in crate::steps) struct RemoveDirectory {
    dir: Rendered<String>,
}

impl StepKind for RemoveDirectory {
    const NAME: &'static str = "RemoveDirectory";

    async fn run(&self, context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
        let dirs = vec![self.dir.get(context).await?];
        let result = silently(context, Command::Rmdir { dirs, timeout: None, max_time: None }).await?;
        if !result.succeeded() {
            context.set_outcome("Delete failed.");
        }
        Ok(result.results())
    }

    #[cfg(test)]
    fn example() -> serde_json::Value {
        serde_json::json!({"dir": "d"})
    }
}
