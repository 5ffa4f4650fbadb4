//! `RemoveWorkerFileSecret`: removes the files of `DownloadSecretsToWorker`.

use muster_core::{LogKind, Results};
use muster_session::Command;
use serde::Deserialize;

use crate::{
    effects::{CommandRequest, StepContext, StepEnd},
    steps::{
        arguments::{Rendered, Texts},
        kind::StepKind,
        paths::join,
    },
};

/// `RemoveWorkerFileSecret`
#[derive(Deserialize)]
pub(in crate::steps) struct RemoveWorkerFileSecret {
    /// The paths; their secrets are not asked for again.
    populated_secret_list: Rendered<Texts>,
}

impl StepKind for RemoveWorkerFileSecret {
    const NAME: &'static str = "RemoveWorkerFileSecret";

    async fn run(&self, context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
        let Texts(paths) = self.populated_secret_list.get(context).await?;
        let workdir = context.workdir().await?;
        let mut left = String::new();
        for path in paths {
            // Where the other step has written it: that is relative to the work directory, removing is not.
            let path = join(&workdir, &path);
            let result =
                context.command(CommandRequest::new(Command::Rmfile { path: path.clone() }, None)).await?;
            if result.interrupted {
                return Ok(Results::Cancelled);
            }
            if !result.succeeded() {
                left.push_str(&format!("{path} could not be removed\n"));
            }
        }
        // The build may have removed the file itself: that is no failure, as in Buildbot.
        if !left.is_empty() {
            context.add_complete_log("stderr", LogKind::Text, &left)?;
        }
        Ok(Results::Success)
    }

    #[cfg(test)]
    fn example() -> serde_json::Value {
        serde_json::json!({"populated_secret_list": ["/tmp/one", "two"]})
    }
}
