//! Files from the master to the worker (`docs/compat/behaviour-5-steps.md` 5.8).

mod file_download;
mod json_properties_download;
mod string_download;

use muster_core::{LogKind, Results};
use muster_session::{Command, command::DownloadFile};
use serde::Deserialize;

use super::{arguments::Rendered, paths::base_name, upload::transferred};
use crate::effects::{CommandRequest, StepContext, StepEnd, Transfer};

pub(super) use self::{
    file_download::FileDownload, json_properties_download::JSONPropertiesDownload,
    string_download::StringDownload,
};

/// Arguments that all downloads have.
#[derive(Deserialize)]
struct Destination {
    #[serde(rename = "workerdest")]
    worker_dest: Rendered<String>,
    #[serde(rename = "maxsize")]
    max_size: Rendered<Option<u64>>,
    mode: Rendered<Option<u32>>,
}

impl Destination {
    /// What the worker is told about the file.
    async fn read(&self, context: &mut StepContext<'_>) -> Result<DownloadFile, StepEnd> {
        let destination = self.worker_dest.get(context).await?;
        context.set_outcome(format!("downloading to {}", base_name(&destination)));
        Ok(DownloadFile {
            workdir: context.workdir().await?,
            destination,
            max_size: self.max_size.get(context).await?,
            mode: self.mode.get(context).await?,
        })
    }
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
