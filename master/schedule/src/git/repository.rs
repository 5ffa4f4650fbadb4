//! A bare repository that follows refs of a remote one.

use std::{collections::BTreeMap, path::Path, time::Duration};

use muster_core::{
    git::{Name, Refused, Words},
    hash::{HashPart, hash},
};

use super::{Commit, Git, GitError, log};

/// A fetch may bring a large repository for the first time; then it is ended, and the next poll tries again.
const FETCH_LIMIT: Duration = Duration::from_secs(3600);
/// Everything else answers within seconds, unless the network or the disk hangs.
const COMMAND_LIMIT: Duration = Duration::from_secs(300);
/// Refs named in one fetch: keeps the command line far below the limits of the system.
const REFS_PER_FETCH: usize = 500;
/// Commits of one branch that one poll turns into changes: the newest ones; older ones are left out, with a warning.
/// More than that is an imported history, which nobody wants built one by one.
pub(crate) const MAX_COMMITS: usize = 10_000;

/// Which refs are asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum RemoteRefs<'a> {
    /// The branch that HEAD stands for.
    Head,
    /// All heads.
    Heads,
    /// All refs.
    All,
    /// These branches.
    Branches(&'a [String]),
}

/// The bare copy.
#[derive(Clone, Debug)]
pub(crate) struct Repository {
    git: Git,
    url: Name,
    /// Where the refs of this remote are kept: several pollers may share a directory. A digest, because an address may
    /// hold a password.
    prefix: String,
}

impl Repository {
    /// The copy of `url` in the directory of `git`; the directory exists.
    pub(crate) fn new(git: Git, url: Name) -> Repository {
        let prefix = format!("refs/buildbot/{}", hash(&[HashPart::Text(url.as_str())]));
        Repository { git, url, prefix }
    }

    /// Makes the directory a repository, unless it is one.
    pub(crate) async fn init(git: &Git) -> Result<(), GitError> {
        if is_repository(git.directory()) {
            return Ok(());
        }
        git.run(Words::new("init").options(&["--quiet", "--bare", "."]), COMMAND_LIMIT).await.map(drop)
    }

    /// Refs that the remote repository has now.
    pub(crate) async fn remote_refs(&self, wanted: RemoteRefs<'_>) -> Result<Vec<String>, GitError> {
        let patterns = match wanted {
            RemoteRefs::Head => return self.head().await.map(|head| vec![head]),
            RemoteRefs::Heads => vec!["refs/heads/*".to_owned()],
            RemoteRefs::All => Vec::new(),
            RemoteRefs::Branches(names) => names.iter().map(|name| format!("refs/heads/{name}")).collect(),
        };
        let words = Words::new("ls-remote").option("--refs").names([&self.url]).names(&names(&patterns)?);
        let output = self.git.run(words, COMMAND_LIMIT).await?;
        let refs = output.lines().filter_map(|line| line.split_once('\t')).map(|(_, name)| name.to_owned());
        // A pattern also matches the end of longer names, such as refs/heads/old/refs/heads/main.
        Ok(refs
            .filter(|name| !matches!(wanted, RemoteRefs::Branches(_)) || patterns.contains(name))
            .collect())
    }

    /// The branch behind HEAD, or `HEAD` itself where the remote doesn't tell.
    async fn head(&self) -> Result<String, GitError> {
        let words = Words::new("ls-remote").option("--symref").names([&self.url, &Name::own("HEAD")]);
        let output = self.git.run(words, COMMAND_LIMIT).await?;
        let symref = output.lines().find_map(|line| line.strip_prefix("ref: ")?.strip_suffix("\tHEAD"));
        Ok(symref.unwrap_or("HEAD").to_owned())
    }

    /// Brings `refs` here, also where their history was rewritten.
    pub(crate) async fn fetch(&self, refs: &[String]) -> Result<(), GitError> {
        for part in refs.chunks(REFS_PER_FETCH) {
            let specs: Vec<String> =
                part.iter().map(|name| format!("+{name}:{}", self.kept_as(name))).collect();
            let words = Words::new("fetch").options(&["--quiet", "--no-tags"]);
            self.git.run(words.names([&self.url]).names(&names(&specs)?), FETCH_LIMIT).await?;
        }
        Ok(())
    }

    /// The revisions of fetched refs.
    pub(crate) async fn revisions(&self, refs: &[String]) -> Result<BTreeMap<String, String>, GitError> {
        let pattern = Name::new("ref", &format!("{}/", self.prefix))?;
        let words = Words::new("for-each-ref").option("--format=%(objectname) %(refname)").names([&pattern]);
        let output = self.git.run(words, COMMAND_LIMIT).await?;
        let known: BTreeMap<&str, &str> = output
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(revision, name)| (name, revision))
            .collect();
        let revision = |name: &String| {
            let revision = known.get(self.kept_as(name).as_str())?;
            Some((name.clone(), (*revision).to_owned()))
        };
        Ok(refs.iter().filter_map(revision).collect())
    }

    /// Commits that `revision` has and `known` ones have not, along first parents, oldest first.
    pub(crate) async fn commits<'a>(
        &self,
        revision: &str,
        known: impl IntoIterator<Item = &'a String>,
    ) -> Result<Vec<Commit>, GitError> {
        let mut excluded: Vec<String> = known.into_iter().map(|revision| format!("^{revision}")).collect();
        excluded.sort();
        excluded.dedup();
        excluded.insert(0, revision.to_owned());
        let mut commits = self.log(MAX_COMMITS, &excluded).await?;
        commits.reverse();
        Ok(commits)
    }

    /// The commit `revision` alone.
    pub(crate) async fn commit(&self, revision: &str) -> Result<Vec<Commit>, GitError> {
        self.log(1, &[revision.to_owned()]).await
    }

    async fn log(&self, most: usize, revisions: &[String]) -> Result<Vec<Commit>, GitError> {
        let words = Words::new("log")
            .options(&["-z", "--name-only", "-m", "--first-parent", "--no-renames", "--encoding=UTF-8"])
            .options(&[log::FORMAT, "--ignore-missing"])
            .assigned("--max-count", &most.to_string());
        let words = names(revisions)?.iter().fold(words, Words::revision);
        log::parse(&self.git.run(words, COMMAND_LIMIT).await?)
    }

    fn kept_as(&self, name: &str) -> String {
        match name.strip_prefix("refs/") {
            Some(rest) => format!("{}/{rest}", self.prefix),
            None => format!("{}/raw/{name}", self.prefix),
        }
    }
}

fn names(texts: &[String]) -> Result<Vec<Name>, Refused> {
    texts.iter().map(|text| Name::new("ref", text)).collect()
}

fn is_repository(directory: &Path) -> bool {
    directory.join("HEAD").is_file() && directory.join("objects").is_dir() && directory.join("refs").is_dir()
}
