//! `GitPush`: pushes a branch.

use muster_core::{
    LogKind, Results,
    git::{Name, Words},
};
use serde::Deserialize;

use super::{
    auth::CredentialArguments,
    repository::Repository,
    settings::{RemoteArguments, SettingArguments, allowed},
};
use crate::{
    effects::{StepContext, StepEnd},
    steps::{
        arguments::{Flag, Rendered},
        kind::StepKind,
    },
};

/// `GitPush`
#[derive(Deserialize)]
pub(in crate::steps) struct GitPush {
    #[serde(rename = "..settings")]
    settings: SettingArguments,
    #[serde(rename = "..remote")]
    remote: RemoteArguments,
    #[serde(rename = "..credentials")]
    credentials: CredentialArguments,
    branch: Rendered<String>,
    force: Rendered<Flag<false>>,
}

impl StepKind for GitPush {
    const NAME: &'static str = "GitPush";

    async fn run(&self, context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
        let settings = self.settings.read(context).await?;
        let (given, repository) = self.remote.read(context, &settings).await?;
        let branch = self.branch.get(context).await?;
        let branch = allowed(context, Name::new("branch", &branch))?;
        let force = self.force.get(context).await?.0;
        let credentials = self.credentials.read(context, &given).await?;
        let workdir = context.workdir().await?;
        let stdio = context.add_log("stdio", LogKind::Stdio)?;
        let mut git = Repository::new(context, settings, credentials, workdir, stdio);
        let words = Words::new("push").option_if(force, "--force").names([&repository, &branch]);
        let ended = push(&mut git, words).await;
        git.tidied(ended).await?;
        Ok(Results::Success)
    }

    #[cfg(test)]
    fn example() -> serde_json::Value {
        serde_json::json!({"repourl": "/r", "branch": "dev", "auth_credentials": ["me", "pw"]})
    }
}

async fn push(git: &mut Repository<'_, '_>, words: Words) -> Result<(), StepEnd> {
    git.look_at_git().await?;
    git.write_auth_files().await?;
    git.git_or_fail(words).await
}
