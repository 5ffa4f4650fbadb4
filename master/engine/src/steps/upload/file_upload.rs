//! `FileUpload`: one file.

use muster_core::{LogKind, Results};
use serde::Deserialize;
use serde_json::Value;

use super::{FileArguments, FileKind, UploadArguments, base_name, may_be_sent, upload_file};
use crate::{
    effects::{StepContext, StepEnd},
    steps::{arguments::Rendered, kind::StepKind},
};

/// Bytes of a block, unless the step says otherwise.
const BLOCK_SIZE: u32 = 256 * 1024;

/// `FileUpload`
#[derive(Deserialize)]
pub(in crate::steps) struct FileUpload {
    #[serde(rename = "workersrc")]
    worker_src: Rendered<String>,
    #[serde(rename = "..upload")]
    upload: UploadArguments,
    #[serde(rename = "..file")]
    file: FileArguments,
}

impl StepKind for FileUpload {
    const NAME: &'static str = "FileUpload";

    async fn run(&self, context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
        let source = self.worker_src.get(context).await?;
        let upload = self.upload.read(context, BLOCK_SIZE, Some(&self.file), None).await?;
        announce(context, &source).await?;
        let stdio = context.add_log("stdio", LogKind::Stdio)?;
        upload.link(context);
        if !may_be_sent(context, &upload, &source, FileKind::Regular, &stdio).await? {
            return Ok(Results::Failure);
        }
        upload_file(context, &upload, &source, &upload.master_dest, &stdio).await
    }

    #[cfg(test)]
    fn example() -> serde_json::Value {
        serde_json::json!({
            "workersrc": "one", "masterdest": "sub/up", "mode": 0o600, "keepstamp": true, "url": "u"
        })
    }
}

/// Says what is uploaded, unless the configuration has words for it.
async fn announce(context: &mut StepContext<'_>, source: &str) -> Result<(), StepEnd> {
    let description = context.config().description.clone();
    let text = format!("uploading {}", base_name(source));
    if context.render(&description).await? == Value::Null {
        context.set_state(&text);
        context.set_summary(text);
    }
    Ok(())
}
