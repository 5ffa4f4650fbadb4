//! `FileDownload`: a file of the master.

use muster_core::{LogKind, Results, render::py_repr};
use serde::Deserialize;

use super::{Destination, download};
use crate::{
    effects::{StepContext, StepEnd, Transfer, open_to_send},
    steps::{arguments::Rendered, kind::StepKind},
};

/// `FileDownload`
#[derive(Deserialize)]
pub(in crate::steps) struct FileDownload {
    #[serde(rename = "..destination")]
    destination: Destination,
    #[serde(rename = "mastersrc")]
    master_src: Rendered<String>,
}

impl StepKind for FileDownload {
    const NAME: &'static str = "FileDownload";

    async fn run(&self, context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
        let source = self.master_src.get(context).await?;
        let destination = self.destination.read(context).await?;
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

    #[cfg(test)]
    fn example() -> serde_json::Value {
        serde_json::json!({"mastersrc": "on-master", "workerdest": "there"})
    }
}
