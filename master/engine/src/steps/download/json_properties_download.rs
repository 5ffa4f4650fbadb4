//! `JSONPropertiesDownload`: all properties and sourcestamps as a file.

use muster_core::{Results, SourceStamp};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Destination, download};
use crate::{
    effects::{StepContext, StepEnd, Transfer},
    steps::kind::StepKind,
};

/// `JSONPropertiesDownload`
#[derive(Deserialize)]
pub(in crate::steps) struct JSONPropertiesDownload {
    #[serde(rename = "..destination")]
    destination: Destination,
}

impl StepKind for JSONPropertiesDownload {
    const NAME: &'static str = "JSONPropertiesDownload";

    async fn run(&self, context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
        let properties: Map<String, Value> = context
            .properties()
            .iter()
            .map(|(name, property)| (name.to_owned(), property.value().clone()))
            .collect();
        let sources: Vec<Value> = context.sources().iter().map(source_as_json).collect();
        let text = json!({ "properties": properties, "sourcestamps": sources }).to_string();
        let destination = self.destination.read(context).await?;
        download(context, destination, Transfer::DownloadText(text)).await
    }

    #[cfg(test)]
    fn example() -> serde_json::Value {
        serde_json::json!({"workerdest": "p.json"})
    }
}

fn source_as_json(source: &SourceStamp) -> Value {
    let patch = source.patch.as_ref();
    json!({
        "branch": source.branch,
        "revision": source.revision,
        "repository": source.repository,
        "project": source.project,
        "codebase": source.codebase,
        "patch_level": patch.map(|patch| patch.level),
        "patch_body": patch.map(|patch| String::from_utf8_lossy(&patch.body)),
        "patch_subdir": patch.and_then(|patch| patch.subdir.as_deref()),
        "patch_author": patch.map(|patch| &patch.author),
        "patch_comment": patch.map(|patch| &patch.comment),
    })
}
