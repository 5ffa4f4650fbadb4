//! `GitCommit`: commits files of the work directory to the branch that is checked out.

use muster_core::{
    LogKind, Results,
    git::{Name, Refused, Words},
};
use serde::Deserialize;
use serde_json::Value;

use super::{
    auth::Credentials,
    repository::Repository,
    settings::{SettingArguments, allowed},
};
use crate::{
    effects::{StepContext, StepEnd},
    steps::{
        arguments::{Argument, Flag, Misfit, Rendered, Texts},
        kind::StepKind,
    },
};

/// What `git status` writes first in a line about something that would be committed.
const STAGED: [char; 6] = ['M', 'A', 'D', 'R', 'C', 'U'];

/// `GitCommit`
#[derive(Deserialize)]
pub(in crate::steps) struct GitCommit {
    #[serde(rename = "..settings")]
    settings: SettingArguments,
    paths: Rendered<Texts>,
    messages: Rendered<Texts>,
    #[serde(rename = "emptyCommits")]
    empty_commits: Rendered<EmptyCommits>,
    no_verify: Rendered<Flag<false>>,
}

/// What happens when there is nothing to commit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum EmptyCommits {
    Disallow,
    Create,
    Ignore,
}

impl Argument for EmptyCommits {
    fn read(value: Value) -> Result<EmptyCommits, Misfit> {
        match value.as_str() {
            Some("disallow") => Ok(EmptyCommits::Disallow),
            Some("create-empty-commit") => Ok(EmptyCommits::Create),
            Some("ignore") => Ok(EmptyCommits::Ignore),
            None if value.is_null() => Ok(EmptyCommits::Disallow),
            _ => Err(Misfit::not("disallow, create-empty-commit or ignore", &value)),
        }
    }
}

impl StepKind for GitCommit {
    const NAME: &'static str = "GitCommit";

    async fn run(&self, context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
        let settings = self.settings.read(context).await?;
        let Texts(paths) = self.paths.get(context).await?;
        let paths: Result<Vec<Name>, Refused> = paths.iter().map(|path| Name::new("path", path)).collect();
        let paths = allowed(context, paths)?;
        let Texts(messages) = self.messages.get(context).await?;
        let empty = self.empty_commits.get(context).await?;
        let no_verify = self.no_verify.get(context).await?.0;
        let workdir = context.workdir().await?;
        let stdio = context.add_log("stdio", LogKind::Stdio)?;
        let mut git = Repository::new(context, settings, Credentials::default(), workdir, stdio);
        git.look_at_git().await?;
        if !git.git(Words::new("symbolic-ref").option("HEAD")).await? {
            let stdio = git.stdio.clone();
            git.context.write_stderr(&stdio, "You are in detached HEAD\n")?;
            return Ok(Results::Failure);
        }
        git.git_or_fail(Words::new("add").names(&paths)).await?;
        if empty == EmptyCommits::Ignore && !has_something_staged(&mut git).await? {
            return Ok(Results::Success);
        }
        let words = Words::new("commit");
        let words = messages.iter().fold(words, |words, message| words.assigned("--message", message));
        let words = words
            .option_if(empty == EmptyCommits::Create, "--allow-empty")
            .option_if(no_verify, "--no-verify");
        git.git_or_fail(words).await?;
        Ok(Results::Success)
    }

    #[cfg(test)]
    fn example() -> Value {
        serde_json::json!({"paths": ["a"], "messages": ["one"], "emptyCommits": "ignore"})
    }
}

async fn has_something_staged(git: &mut Repository<'_, '_>) -> Result<bool, StepEnd> {
    // With the white space at its start: that is what says that a change isn't staged.
    let status = git.git_stdout(Words::new("status").option("--porcelain=v1")).await?;
    Ok(status.lines().any(|line| line.starts_with(STAGED)))
}
