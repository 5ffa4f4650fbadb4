//! `Git`: brings a work directory to a revision.

use muster_core::{
    LogKind, Results,
    git::{Name, Refused},
};
use muster_session::Command;
use serde::Deserialize;

use super::{
    checkout::{Checkout, PATCHED, Wanted},
    checkout_arguments::{Checked, CheckoutArguments, Mode},
    fetch,
    repository::Repository,
    settings::allowed,
};
use crate::{
    effects::{StepContext, StepEnd},
    steps::{kind::StepKind, paths::join},
};

/// `Git`
#[derive(Deserialize)]
#[serde(transparent)]
pub(in crate::steps) struct Git(CheckoutArguments);

impl StepKind for Git {
    const NAME: &'static str = "Git";

    async fn run(&self, context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
        check_out(&self.0, context, |_| true).await
    }

    #[cfg(test)]
    fn example() -> serde_json::Value {
        serde_json::json!({
            "repourl": "/r", "submodules": true, "getDescription": true, "config": {"a.b": "c"}
        })
    }
}

/// Checks out what the build wants; `has_revisions` says of a branch whether its revisions stay.
pub(super) async fn check_out(
    given: &CheckoutArguments,
    context: &mut StepContext<'_>,
    has_revisions: fn(&str) -> bool,
) -> Result<Results, StepEnd> {
    let (arguments, settings, credentials) = given.read(context).await?;
    let wanted = wanted(context, &arguments);
    let Some(mut wanted) = allowed(context, wanted)? else {
        let codebase = &arguments.codebase;
        context.set_outcome(format!("Codebase {codebase} not in build"));
        let text = format!("No sourcestamp found in build for codebase '{codebase}'");
        context.add_complete_log("log", LogKind::Text, &text)?;
        return Ok(Results::Failure);
    };
    wanted.revision = wanted.revision.filter(|_| has_revisions(wanted.branch.as_str()));
    if let Some(patch) = &wanted.patch {
        context.add_complete_log("patch", LogKind::Text, &String::from_utf8_lossy(&patch.body))?;
    }
    let workdir = context.workdir().await?;
    let stdio = context.add_log("stdio", LogKind::Stdio)?;
    let retries = arguments.retry.times;
    let repository = Repository::new(context, settings, credentials, workdir, stdio);
    let mut checkout = Checkout { repository, arguments, wanted, retries };
    let ended = checkout.run().await;
    checkout.repository.tidied(ended).await?;
    Ok(Results::Success)
}

/// What the build's sourcestamp says, over the step's own; `None` when the build has none for the codebase.
fn wanted(context: &StepContext<'_>, arguments: &Checked) -> Result<Option<Wanted>, Refused> {
    let own = arguments.branch.clone();
    if arguments.always_latest {
        return Ok(Some(Wanted { branch: own, revision: None, patch: None }));
    }
    let Some(source) = context.source(&arguments.codebase) else { return Ok(None) };
    let filled = |what, text: &Option<String>| {
        text.as_deref().filter(|text| !text.is_empty()).map(|text| Name::new(what, text)).transpose()
    };
    Ok(Some(Wanted {
        branch: filled("branch", &source.branch)?.unwrap_or(own),
        revision: filled("revision", &source.revision)?,
        patch: source.patch.clone(),
    }))
}

impl Checkout<'_, '_> {
    async fn run(&mut self) -> Result<(), StepEnd> {
        let repository = &mut self.repository;
        repository.look_at_git().await?;
        let patched = Command::Stat { file: join(&repository.workdir, PATCHED), workdir: None };
        if repository.order(patched).await?.succeeded() {
            repository.git_or_fail(fetch::clean_words(true)).await?;
        }
        repository.write_auth_files().await?;
        match self.arguments.mode {
            Mode::Incremental => self.incremental().await?,
            Mode::Clean => self.clean().await?,
            Mode::Fresh => self.fresh().await?,
            Mode::Clobber => self.clobber().await?,
            Mode::Copy => self.copy().await?,
        }
        if let Some(patch) = self.wanted.patch.clone() {
            self.patch(&patch).await?;
        }
        self.tell_revision().await?;
        self.tell_description().await
    }
}
