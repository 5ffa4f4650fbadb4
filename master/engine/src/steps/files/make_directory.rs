//! `MakeDirectory`: a directory, with those above it.

use muster_core::Results;
use muster_session::Command;
use serde::Deserialize;

use super::silently;
use crate::{
    effects::{StepContext, StepEnd},
    steps::{
        arguments::{Misfit, Rendered, Texts},
        kind::StepKind,
    },
};

/// `MakeDirectory`
#[derive(Deserialize)]
pub(in crate::steps) struct MakeDirectory {
    dir: Rendered<Texts>,
}

impl StepKind for MakeDirectory {
    const NAME: &'static str = "MakeDirectory";

    async fn run(&self, context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
        let Texts(dirs) = self.dir.get(context).await?;
        if dirs.is_empty() {
            let none = Misfit::not("a text or a list of texts", &serde_json::Value::Null);
            return Err(self.dir.unfit(context, &none));
        }
        let result = silently(context, Command::Mkdir { dirs }).await?;
        if !result.succeeded() {
            context.set_outcome("Create failed.");
        }
        Ok(result.results())
    }

    #[cfg(test)]
    fn example() -> serde_json::Value {
        serde_json::json!({"dir": "d"})
    }
}
