//! `StringDownload`, `JSONStringDownload`: a text as a file.

use muster_core::{Results, render::py_str};
use serde::Deserialize;
use serde_json::Value;

use super::{Destination, download};
use crate::{
    effects::{StepContext, StepEnd, Transfer},
    steps::{arguments::Rendered, kind::StepKind},
};

/// `StringDownload`
#[derive(Deserialize)]
pub(in crate::steps) struct StringDownload {
    #[serde(rename = "..destination")]
    destination: Destination,
    s: Rendered<Value>,
}

impl StepKind for StringDownload {
    const NAME: &'static str = "StringDownload";

    async fn run(&self, context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
        let text = py_str(&self.s.get(context).await?);
        let destination = self.destination.read(context).await?;
        download(context, destination, Transfer::DownloadText(text)).await
    }

    #[cfg(test)]
    fn example() -> serde_json::Value {
        serde_json::json!({"s": "text", "workerdest": "t"})
    }
}
