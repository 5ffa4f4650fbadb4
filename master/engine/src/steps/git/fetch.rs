//! Bringing a repository that is there up to date.

use muster_core::git::Words;
use muster_session::Command;

use super::{
    checkout::{Checkout, SOURCE_DIR},
    checkout_arguments::Mode,
    repository::successful,
};
use crate::effects::StepEnd;

/// What the work directory holds.
enum Present {
    Repository,
    SomethingElse,
    Nothing,
}

impl Checkout<'_, '_> {
    /// Fetches what is new; what git doesn't know stays.
    pub(super) async fn incremental(&mut self) -> Result<(), StepEnd> {
        match self.present().await? {
            Present::SomethingElse => return self.clobber().await,
            Present::Nothing => return self.clone_or_clobber().await,
            Present::Repository => {}
        }
        self.fetch_or_fall_back().await?;
        self.sync_submodules().await?;
        self.update_submodules().await
    }

    /// Removes what git doesn't know, but for what it ignores, and fetches.
    pub(super) async fn clean(&mut self) -> Result<(), StepEnd> {
        match self.present().await? {
            Present::SomethingElse => return self.clobber().await,
            Present::Nothing => return self.clone_or_clobber().await,
            Present::Repository => {}
        }
        self.repository.git_or_fail(clean_words(false)).await?;
        self.fetch_or_fall_back().await?;
        self.refresh_submodules(clean_words(false)).await
    }

    /// Removes everything that git doesn't know, and fetches.
    pub(super) async fn fresh(&mut self) -> Result<(), StepEnd> {
        match self.present().await? {
            Present::SomethingElse => return self.clobber().await,
            Present::Nothing => return self.clone_or_clobber().await,
            Present::Repository => {}
        }
        if self.repository.git(clean_words(true)).await? {
            self.fetch_or_fall_back().await?;
        } else {
            self.repository.remove_workdir().await?;
            self.clone_or_clobber().await?;
        }
        self.refresh_submodules(clean_words(true)).await
    }

    /// Copies a directory that is kept up to date beside the work directory.
    pub(super) async fn copy(&mut self) -> Result<(), StepEnd> {
        let to = std::mem::replace(&mut self.repository.workdir, SOURCE_DIR.to_owned());
        let timeout = self.repository.settings.timeout;
        self.repository.order(Command::Rmdir { dirs: vec![to.clone()], timeout, max_time: None }).await?;
        self.incremental().await?;
        let from = std::mem::replace(&mut self.repository.workdir, to.clone());
        let copied = self.repository.order(Command::Cpdir { from, to, timeout, max_time: None }).await?;
        successful(copied).map(|_| ())
    }

    async fn present(&mut self) -> Result<Present, StepEnd> {
        // A directory that isn't there has no names either.
        let names =
            self.repository.order(Command::Listdir { dir: self.repository.workdir.clone() }).await?.files;
        Ok(match names.iter().any(|name| name == ".git") {
            true => Present::Repository,
            false if names.is_empty() => Present::Nothing,
            false => Present::SomethingElse,
        })
    }

    async fn fetch_or_fall_back(&mut self) -> Result<(), StepEnd> {
        if self.fetch().await? {
            return Ok(());
        }
        if self.arguments.retry_fetch {
            return if self.fetch().await? { Ok(()) } else { Err(StepEnd::Failed) };
        }
        if self.arguments.clobber_on_failure { self.clobber().await } else { Err(StepEnd::Failed) }
    }

    /// Fetches, unless the revision is there already, and checks out; whether that succeeded.
    pub(super) async fn fetch(&mut self) -> Result<bool, StepEnd> {
        let revision = self.wanted.revision.clone();
        let branch = self.wanted.branch.clone();
        let known = match &revision {
            Some(revision) if !self.arguments.tags => {
                self.repository.git(Words::new("cat-file").named("-e", revision)).await?
            }
            _ => false,
        };
        if !known {
            let words = self
                .with_depth(Words::new("fetch").option("-f"))
                .option_if(self.arguments.tags, "--tags")
                .option_if(self.arguments.progress, "--progress")
                .names([&self.arguments.repository, &branch]);
            if !self.repository.git(words).await? {
                return Ok(false);
            }
        }
        let checkout = Words::new("checkout");
        let checkout = match &revision {
            Some(revision) => checkout.option("-f").revision(revision),
            None => checkout.options(&["-f", "FETCH_HEAD"]),
        };
        if !self.repository.git(checkout).await? {
            return Ok(false);
        }
        if branch.as_str() != "HEAD" {
            // Only for who looks at the directory; a name that can't be a branch is no trouble.
            self.repository.git(Words::new("checkout").named("-B", &branch)).await?;
        }
        Ok(true)
    }

    async fn refresh_submodules(&mut self, clean: Words) -> Result<(), StepEnd> {
        self.sync_submodules().await?;
        self.update_submodules().await?;
        if !self.arguments.submodules {
            return Ok(());
        }
        let in_each = match self.arguments.mode {
            Mode::Fresh => "git clean -f -f -d -x",
            _ => "git clean -f -f -d",
        };
        self.repository
            .git_or_fail(Words::new("submodule").options(&["foreach", "--recursive", in_each]))
            .await?;
        self.repository.git_or_fail(clean).await
    }

    async fn sync_submodules(&mut self) -> Result<(), StepEnd> {
        if !self.arguments.submodules {
            return Ok(());
        }
        self.repository.git_or_fail(Words::new("submodule").option("sync")).await
    }

    async fn update_submodules(&mut self) -> Result<(), StepEnd> {
        if !self.arguments.submodules {
            return Ok(());
        }
        let words = Words::new("submodule")
            .options(&["update", "--init", "--recursive", "--force", "--checkout"])
            .option_if(self.arguments.remote_submodules, "--remote");
        self.repository.git_or_fail(words).await
    }
}

/// Removes what git doesn't know; also what it ignores, if that is wanted.
pub(super) fn clean_words(ignored: bool) -> Words {
    Words::new("clean").options(&["-f", "-f", "-d"]).option_if(ignored, "-x")
}
