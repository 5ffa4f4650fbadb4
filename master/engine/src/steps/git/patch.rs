//! Putting a build's patch on top.

use std::path::{Component, Path};

use muster_core::{Patch, git::Words};

use super::checkout::{Checkout, PATCHED};
use crate::{effects::StepEnd, steps::paths::join};

/// Where the patch is while it is applied.
const DIFF: &str = ".buildbot-diff";

impl Checkout<'_, '_> {
    /// Applies the patch of the sourcestamp.
    pub(super) async fn patch(&mut self, patch: &Patch) -> Result<(), StepEnd> {
        if let Some(subdir) = patch.subdir.as_deref().filter(|subdir| is_below(subdir)) {
            self.repository.workdir = join(&self.repository.workdir, subdir);
        }
        let diff = String::from_utf8_lossy(&patch.body).into_owned();
        self.repository.write_file(DIFF.to_owned(), diff.clone(), None).await?;
        self.repository.write_file(PATCHED.to_owned(), "patched\n".to_owned(), None).await?;
        self.repository.git_or_fail(Words::new("update-index").option("--refresh")).await?;
        let level = u64::try_from(patch.level).unwrap_or_default();
        self.repository
            .git_with_input(Words::new("apply").option("--index").numbered("-p", level), diff)
            .await?;
        self.repository.remove(join(&self.repository.workdir, DIFF)).await
    }
}

/// Whether a directory stays inside; others are ignored.
fn is_below(subdir: &str) -> bool {
    Path::new(subdir).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}
