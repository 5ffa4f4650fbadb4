//! `MultipleFileUpload`: files and directories, also by patterns.

use muster_core::{LogKind, Results};
use muster_session::Command;
use serde::Deserialize;

use super::{
    BLOCK_SIZE, FileArguments, FileKind, Packing, Upload, UploadArguments, base_name, join, not_cancelled,
    upload_directory, upload_file,
};
use crate::{
    effects::{CommandRequest, LogRef, StepContext, StepEnd},
    steps::{
        arguments::{Flag, Rendered, Texts},
        kind::StepKind,
    },
};

/// `MultipleFileUpload`
#[derive(Deserialize)]
pub(in crate::steps) struct MultipleFileUpload {
    #[serde(rename = "workersrcs")]
    worker_srcs: Rendered<Texts>,
    glob: Rendered<Flag<false>>,
    #[serde(rename = "..upload")]
    upload: UploadArguments,
    #[serde(rename = "..file")]
    file: FileArguments,
    compress: Rendered<Option<Packing>>,
}

impl StepKind for MultipleFileUpload {
    const NAME: &'static str = "MultipleFileUpload";

    async fn run(&self, context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
        let Texts(mut sources) = self.worker_srcs.get(context).await?;
        let packing = Some(&self.compress);
        let upload = self.upload.read(context, BLOCK_SIZE, Some(&self.file), packing).await?;
        let globs = self.glob.get(context).await?.0;
        let stdio = context.add_log("stdio", LogKind::Stdio)?;
        if sources.is_empty() {
            return Ok(Results::Skipped);
        }
        if globs {
            sources = matches(context, &upload, &sources, &stdio).await?;
        }
        let noun = if sources.len() == 1 { "file" } else { "files" };
        context.set_outcome(format!("uploading {} {noun}", sources.len()));
        let mut results = if sources.is_empty() { Results::Skipped } else { Results::Success };
        for source in &sources {
            results = upload_any(context, &upload, source, &stdio).await?;
            if results != Results::Success {
                break;
            }
        }
        upload.link(context);
        Ok(results)
    }

    #[cfg(test)]
    fn example() -> serde_json::Value {
        serde_json::json!({"workersrcs": ["*"], "masterdest": "many", "glob": true})
    }
}

async fn matches(
    context: &mut StepContext<'_>,
    upload: &Upload,
    patterns: &[String],
    stdio: &LogRef,
) -> Result<Vec<String>, StepEnd> {
    let mut found = Vec::new();
    for pattern in patterns {
        let pattern = join(&upload.workdir, pattern);
        let request = CommandRequest::new(Command::Glob { pattern }, Some(stdio));
        let result = not_cancelled(context.command(request).await?)?;
        found.extend(result.files);
    }
    Ok(found)
}

/// Uploads a file or a directory, whichever it is, into the directory `masterdest`.
async fn upload_any(
    context: &mut StepContext<'_>,
    upload: &Upload,
    source: &str,
    stdio: &LogRef,
) -> Result<Results, StepEnd> {
    let name = base_name(source);
    if matches!(name, "" | "." | "..") {
        return Err(StepEnd::Exception(format!("'{source}' has no name to be uploaded under")));
    }
    let target = join(&upload.master_dest, name);
    let stat = Command::Stat { file: source.to_owned(), workdir: Some(upload.workdir.clone()) };
    let found = not_cancelled(context.command(CommandRequest::new(stat, Some(stdio))).await?)?;
    let trouble = match FileKind::of(&found) {
        Some(FileKind::Regular) => return upload_file(context, upload, source, &target, stdio).await,
        Some(FileKind::Directory) => {
            return upload_directory(context, upload, source, &target, stdio).await;
        }
        Some(FileKind::Other(_)) => format!("{source} is neither a regular file, nor a directory"),
        None => format!("File {}/{source} not available at worker", upload.workdir),
    };
    context.add_complete_log("stderr", LogKind::Text, &trouble)?;
    Ok(Results::Failure)
}
