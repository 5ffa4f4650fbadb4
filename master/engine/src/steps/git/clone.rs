//! Getting a repository anew.

use super::Checkout;
use crate::effects::StepEnd;

impl Checkout<'_, '_> {
    /// Removes the work directory and clones; fails when that fails.
    pub(super) async fn clobber(&mut self) -> Result<(), StepEnd> {
        self.remove_workdir().await?;
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
            && !self.git(&["checkout", "-f", &revision]).await?
        {
            return Ok(false);
        }
        if !self.arguments.submodules {
            return Ok(true);
        }
        let depth = self.depth();
        let mut words = vec!["submodule", "update", "--init", "--recursive"];
        if self.arguments.remote_submodules {
            words.push("--remote");
        }
        words.extend(depth.iter().flat_map(|depth| ["--depth", depth]));
        self.git(&words).await
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
            self.context.sleep(self.arguments.retry.delay).await?;
            self.remove_workdir().await?;
        }
    }

    async fn clone_once(&mut self) -> Result<bool, StepEnd> {
        let branch = self.wanted.branch.clone();
        // `clone --branch` takes branches and tags, nothing else.
        let is_ref = branch.starts_with("refs/");
        let words = self.clone_words(&branch, is_ref);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        if !self.git(&words).await? {
            return Ok(false);
        }
        if is_ref { self.fetch().await } else { Ok(true) }
    }

    fn clone_words(&self, branch: &str, is_ref: bool) -> Vec<String> {
        let arguments = &self.arguments;
        let mut words = vec!["clone".to_owned()];
        let mut add = |option: &str, value: &str| words.extend([option.to_owned(), value.to_owned()]);
        if branch != "HEAD" && !is_ref {
            add("--branch", branch);
        }
        if let Some(depth) = self.depth() {
            add("--depth", &depth);
        }
        if let Some(reference) = &arguments.reference {
            add("--reference", reference);
        }
        if let Some(origin) = &arguments.origin {
            add("--origin", origin);
        }
        if self.version.knows_filters() {
            arguments.filters.iter().for_each(|filter| add("--filter", filter));
        }
        add(&arguments.repository, ".");
        if is_ref {
            words.insert(1, "--no-checkout".to_owned());
        }
        if arguments.progress {
            words.push("--progress".to_owned());
        }
        words
    }

    /// The number of commits to get, as git wants it.
    pub(super) fn depth(&self) -> Option<String> {
        self.arguments.depth.map(|depth| depth.to_string())
    }
}
