//! `DirectoryUpload`: a directory with all that is in it.

use muster_core::{LogKind, Results};
use serde::Deserialize;

use super::{BLOCK_SIZE, FileKind, Packing, UploadArguments, base_name, may_be_sent, upload_directory};
use crate::{
    effects::{StepContext, StepEnd},
    steps::{arguments::Rendered, kind::StepKind},
};

/// `DirectoryUpload`
#[derive(Deserialize)]
pub(in crate::steps) struct DirectoryUpload {
    #[serde(rename = "workersrc")]
    worker_src: Rendered<String>,
    #[serde(rename = "..upload")]
    upload: UploadArguments,
    compress: Rendered<Option<Packing>>,
}

impl StepKind for DirectoryUpload {
    const NAME: &'static str = "DirectoryUpload";

    async fn run(&self, context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
        let source = self.worker_src.get(context).await?;
        let upload = self.upload.read(context, BLOCK_SIZE, None, Some(&self.compress)).await?;
        context.set_outcome(format!("uploading {}", base_name(&source)));
        let stdio = context.add_log("stdio", LogKind::Stdio)?;
        upload.link(context);
        if !may_be_sent(context, &upload, &source, FileKind::Directory, &stdio).await? {
            return Ok(Results::Failure);
        }
        upload_directory(context, &upload, &source, &upload.master_dest, &stdio).await
    }

    #[cfg(test)]
    fn example() -> serde_json::Value {
        serde_json::json!({"workersrc": "d", "masterdest": "out", "url": "http://x/"})
    }
}
