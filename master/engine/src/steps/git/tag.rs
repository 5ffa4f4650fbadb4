//! `GitTag`: makes a tag.

use muster_core::{
    LogKind, Results,
    git::{Name, Words},
};
use serde::Deserialize;

use super::{
    auth::Credentials,
    repository::Repository,
    settings::{SettingArguments, allowed},
};
use crate::{
    effects::{StepContext, StepEnd},
    steps::{
        arguments::{Flag, Rendered, Texts},
        kind::StepKind,
    },
};

/// `GitTag`
#[derive(Deserialize)]
pub(in crate::steps) struct GitTag {
    #[serde(rename = "..settings")]
    settings: SettingArguments,
    #[serde(rename = "tagName")]
    tag_name: Rendered<String>,
    annotated: Rendered<Flag<false>>,
    messages: Rendered<Texts>,
    force: Rendered<Flag<false>>,
}

impl StepKind for GitTag {
    const NAME: &'static str = "GitTag";

    async fn run(&self, context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
        let settings = self.settings.read(context).await?;
        let name = self.tag_name.get(context).await?;
        let name = allowed(context, Name::new("tag", &name))?;
        let annotated = self.annotated.get(context).await?.0;
        let Texts(messages) = self.messages.get(context).await?;
        let mut words = Words::new("tag").option_if(annotated, "-a");
        if annotated {
            words = messages.iter().fold(words, |words, message| words.assigned("--message", message));
        }
        let words = words.option_if(self.force.get(context).await?.0, "--force").names([&name]);
        let workdir = context.workdir().await?;
        let stdio = context.add_log("stdio", LogKind::Stdio)?;
        let mut git = Repository::new(context, settings, Credentials::default(), workdir, stdio);
        git.look_at_git().await?;
        git.git_or_fail(words).await?;
        Ok(Results::Success)
    }

    #[cfg(test)]
    fn example() -> serde_json::Value {
        serde_json::json!({"tagName": "v1", "annotated": true, "messages": ["one", "two"]})
    }
}
