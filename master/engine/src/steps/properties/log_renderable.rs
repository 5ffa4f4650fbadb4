//! `LogRenderable`: a value as a log.

use muster_core::{LogKind, Results, render::pretty};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    effects::{StepContext, StepEnd},
    steps::{arguments::Rendered, kind::StepKind},
};

/// `LogRenderable`
#[derive(Deserialize)]
pub(in crate::steps) struct LogRenderable {
    content: Rendered<Value>,
}

impl StepKind for LogRenderable {
    const NAME: &'static str = "LogRenderable";

    async fn run(&self, context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
        let content = self.content.get(context).await?;
        context.add_complete_log("Output", LogKind::Text, &pretty(&content))?;
        Ok(Results::Success)
    }

    #[cfg(test)]
    fn example() -> serde_json::Value {
        serde_json::json!({"content": {"a": [1, null]}})
    }
}
