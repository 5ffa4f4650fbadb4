//! Getting a repository anew.

use muster_core::git::{Name, Words};

use super::checkout::Checkout;
use crate::effects::StepEnd;

impl Checkout<'_, '_> {
    /// Removes the work directory and clones; fails when that fails.
    pub(super) async fn clobber(&mut self) -> Result<(), StepEnd> {
        self.repository.remove_workdir().await?;
        if self.clone_and_check_out().await? { Ok(()) } else { Err(StepEnd::Failed) }
    }

    /// Clones into an empty directory; where that fails, once more into a new one, if the step wants that.
    pub(super) async fn clone_or_clobber(&mut self) -> Result<(), StepEnd> {
        if self.clone_and_check_out().await? {
            return Ok(());
        }
        if self.arguments.clobber_on_failure { self.clobber().await } else { Err(StepEnd::Failed) }
    }

    async fn clone_and_check_out(&mut self) -> Result<bool, StepEnd> {
        if !self.clone_with_retries().await? {
            return Ok(false);
        }
        if let Some(revision) = self.wanted.revision.clone()
            && !self.repository.git(Words::new("checkout").option("-f").revision(&revision)).await?
        {
            return Ok(false);
        }
        if !self.arguments.submodules {
            return Ok(true);
        }
        let words = Words::new("submodule")
            .options(&["update", "--init", "--recursive"])
            .option_if(self.arguments.remote_submodules, "--remote");
        let words = self.with_depth(words);
        self.repository.git(words).await
    }

    async fn clone_with_retries(&mut self) -> Result<bool, StepEnd> {
        loop {
            if self.clone_once().await? {
                return Ok(true);
            }
            if self.retries == 0 {
                return Ok(false);
            }
            self.retries -= 1;
            self.repository.context.sleep(self.arguments.retry.delay).await?;
            self.repository.remove_workdir().await?;
        }
    }

    async fn clone_once(&mut self) -> Result<bool, StepEnd> {
        let branch = self.wanted.branch.clone();
        // `clone --branch` takes branches and tags, nothing else.
        let is_ref = branch.as_str().starts_with("refs/");
        let words = self.clone_words(&branch, is_ref);
        if !self.repository.git(words).await? {
            return Ok(false);
        }
        if is_ref { self.fetch().await } else { Ok(true) }
    }

    fn clone_words(&self, branch: &Name, is_ref: bool) -> Words {
        let arguments = &self.arguments;
        let mut words = Words::new("clone").option_if(is_ref, "--no-checkout");
        if branch.as_str() != "HEAD" && !is_ref {
            words = words.named("--branch", branch);
        }
        words = self.with_depth(words);
        if let Some(reference) = &arguments.reference {
            words = words.named("--reference", reference);
        }
        if let Some(origin) = &arguments.origin {
            words = words.named("--origin", origin);
        }
        if self.repository.version.knows_filters() {
            words = arguments.filters.iter().fold(words, |words, filter| words.named("--filter", filter));
        }
        words = words.option_if(arguments.progress, "--progress");
        words.names([&arguments.repository, &Name::own(".")])
    }

    /// The words with the number of commits to get, if it is limited.
    pub(super) fn with_depth(&self, words: Words) -> Words {
        match self.arguments.depth {
            Some(depth) => words.numbered("--depth", depth),
            None => words,
        }
    }
}
