//! `CopyDirectory`: a directory once more.

use muster_core::Results;
use muster_session::Command;
use serde::Deserialize;

use super::silently;
use crate::{
    effects::{StepContext, StepEnd},
    steps::{
        arguments::{Limit, Rendered},
        kind::StepKind,
    },
};

/// Seconds without progress after which a copy is ended, unless the step says otherwise.
const COPY_TIMEOUT: Limit = Limit(Some(120.0));

/// `CopyDirectory`
#[derive(Deserialize)]
pub(in crate::steps) struct CopyDirectory {
    src: Rendered<String>,
    dest: Rendered<String>,
    timeout: Rendered<Limit>,
    #[serde(rename = "maxTime")]
    max_time: Rendered<Limit>,
}

impl StepKind for CopyDirectory {
    const NAME: &'static str = "CopyDirectory";

    async fn run(&self, context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
        let from = self.src.get(context).await?;
        let to = self.dest.get(context).await?;
        let Limit(timeout) = self.timeout.get_or(context, COPY_TIMEOUT).await?;
        let Limit(max_time) = self.max_time.get(context).await?;
        let words = format!("{from} to {to}");
        let result = silently(context, Command::Cpdir { from, to, timeout, max_time }).await?;
        context.set_outcome(match result.succeeded() {
            true => format!("Copied {words}"),
            false => format!("Copying {words} failed."),
        });
        Ok(result.results())
    }

    #[cfg(test)]
    fn example() -> serde_json::Value {
        serde_json::json!({"src": "a", "dest": "b"})
    }
}
