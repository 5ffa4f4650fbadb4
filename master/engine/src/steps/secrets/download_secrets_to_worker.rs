//! `DownloadSecretsToWorker`: writes secrets into files that only their owner may read.

use muster_core::Results;
use muster_session::{Command, command::DownloadFile};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    effects::{CommandRequest, StepContext, StepEnd, Transfer},
    steps::{
        arguments::{Argument, Misfit, Rendered},
        kind::StepKind,
        upload::transferred,
    },
};

/// Files of the owner alone.
const PRIVATE: u32 = 0o600;

/// `DownloadSecretsToWorker`
#[derive(Deserialize)]
pub(in crate::steps) struct DownloadSecretsToWorker {
    populated_secret_list: Rendered<Secrets>,
}

/// Paths and what the files hold.
struct Secrets(Vec<(String, String)>);

impl Argument for Secrets {
    fn read(value: Value) -> Result<Secrets, Misfit> {
        // The values are secrets: no message shows them.
        let read = serde_json::from_value(value);
        read.map(Secrets).map_err(|_| Misfit::must_be("a list of pairs (path, secret) of texts"))
    }
}

impl StepKind for DownloadSecretsToWorker {
    const NAME: &'static str = "DownloadSecretsToWorker";

    async fn run(&self, context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
        let Secrets(secrets) = self.populated_secret_list.get(context).await?;
        let workdir = context.workdir().await?;
        let mut results = Results::Success;
        for (destination, secret) in secrets {
            let file =
                DownloadFile { workdir: workdir.clone(), destination, max_size: None, mode: Some(PRIVATE) };
            let request = CommandRequest::new(Command::DownloadFile(file), None);
            let result = context.transfer_command(request, Transfer::DownloadText(secret)).await?;
            results = results.worst(transferred(&result));
            if result.interrupted {
                break;
            }
        }
        Ok(results)
    }

    #[cfg(test)]
    fn example() -> Value {
        serde_json::json!({"populated_secret_list": [["/tmp/one", "secret"], ["two", "other"]]})
    }
}
