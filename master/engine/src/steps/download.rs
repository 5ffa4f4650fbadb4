//! Files from the master to the worker (`docs/compat/behaviour-5-steps.md` 5.8).

use muster_core::{LogKind, Results, SourceStamp, render::py_repr, render::py_str};
use muster_session::{Command, command::DownloadFile};
use serde_json::{Map, Value, json};

use super::{arguments::base_name, upload::transferred};
use crate::effects::{CommandRequest, StepContext, StepEnd, Transfer, open_to_send};

/// `FileDownload`
pub(super) async fn file_download(context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
    let source = context.required_text("mastersrc").await?;
    let destination = destination(context).await?;
    let path = context.master_path(&source);
    let readable: bool =
        context.once("look_at_file", &source, async || open_to_send(&path).await.is_ok()).await?;
    if !readable {
        let missing = format!("File {} not available at master", py_repr(&source.into()));
        context.add_complete_log("stderr", LogKind::Text, &missing)?;
        return Ok(Results::Failure);
    }
    download(context, destination, Transfer::DownloadFile(path)).await
}

/// `StringDownload`, `JSONStringDownload`
pub(super) async fn string_download(context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
    let text = py_str(&context.arg("s").await?);
    let destination = destination(context).await?;
    download(context, destination, Transfer::DownloadText(text)).await
}

/// `JSONPropertiesDownload`
pub(super) async fn json_properties_download(context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
    let properties: Map<String, Value> = context
        .properties()
        .iter()
        .map(|(name, property)| (name.to_owned(), property.value().clone()))
        .collect();
    let sources: Vec<Value> = context.sources().iter().map(source_as_json).collect();
    let text = json!({ "properties": properties, "sourcestamps": sources }).to_string();
    let destination = destination(context).await?;
    download(context, destination, Transfer::DownloadText(text)).await
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

/// What the worker is told about the file.
async fn destination(context: &mut StepContext<'_>) -> Result<DownloadFile, StepEnd> {
    let destination = context.required_text("workerdest").await?;
    context.set_outcome(format!("downloading to {}", base_name(&destination)));
    Ok(DownloadFile {
        workdir: context.workdir().await?,
        destination,
        max_size: context.typed("maxsize", "a number or None").await?,
        mode: context.typed("mode", "an integer or None").await?,
    })
}

async fn download(
    context: &mut StepContext<'_>,
    destination: DownloadFile,
    transfer: Transfer,
) -> Result<Results, StepEnd> {
    let stdio = context.add_log("stdio", LogKind::Stdio)?;
    let request = CommandRequest::new(Command::DownloadFile(destination), Some(&stdio));
    let result = context.transfer_command(request, transfer).await?;
    Ok(transferred(&result))
}
