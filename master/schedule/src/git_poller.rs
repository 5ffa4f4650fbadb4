//! GitPoller: asks a git repository what is new (`docs/compat/behaviour-3-changes-schedulers.md` 3.3).

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
};

use muster_config::snapshot::{ChangeSourceConfig, GitBranches, GitPollerConfig};
use muster_core::{
    ChangeId,
    git::Name,
    render::{Callable, Renderable, py_str},
};
use muster_data::{Data, NewChange, StateKey};
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;

use crate::{
    callables::{AskError, Callables, SchedulerView},
    git::{Commit, Credentials, Git, GitError, MAX_COMMITS, RemoteRefs, Repository},
    revlinks,
};

/// Why a poll brought nothing. The next one tries again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PollError {
    #[error("{0}; check repourl, the network, and what the master may read")]
    Remote(#[source] GitError),
    #[error(transparent)]
    Git(#[from] GitError),
    #[error("can't make the directory {path}: {error}; let the master write there, or set workdir=")]
    Directory {
        path: PathBuf,
        #[source]
        error: std::io::Error,
    },
    #[error("commit {revision} can't be stored: {reason}")]
    Unstorable { revision: String, reason: String },
    #[error("{what}: {error}")]
    Ask { what: &'static str, error: AskError },
    #[error(transparent)]
    Store(#[from] muster_store::Error),
}

/// A poller, owned by this master.
pub(crate) struct GitPoller {
    name: String,
    config: GitPollerConfig,
    codebase_generator: Option<Callable>,
    directory: PathBuf,
    /// Held while a directory becomes a repository: pollers may share one.
    making: Arc<Mutex<()>>,
    data: Data,
    callables: Callables,
    /// What the function for branches said about refs that are still there.
    wanted: HashMap<String, bool>,
    /// Refs that did not become changes, and why: told once.
    failing: BTreeMap<String, String>,
}

/// One ref as it was found.
#[derive(Clone, Debug, PartialEq)]
struct Found {
    name: String,
    revision: String,
    /// The key in `lastRev`.
    key: String,
}

/// Positions by branch.
type Positions = BTreeMap<String, String>;

impl GitPoller {
    pub(crate) fn new(
        source: &ChangeSourceConfig,
        config: GitPollerConfig,
        codebase_generator: Option<Callable>,
        basedir: &Path,
        making: Arc<Mutex<()>>,
        data: Data,
        callables: Callables,
    ) -> GitPoller {
        GitPoller {
            name: source.name.clone(),
            directory: basedir.join(&config.workdir),
            config,
            codebase_generator,
            making,
            data,
            callables,
            wanted: HashMap::new(),
            failing: BTreeMap::new(),
        }
    }

    /// Looks once. What is new is committed together with the new position.
    pub(crate) async fn poll(&mut self) -> Result<Vec<ChangeId>, PollError> {
        let url = self.text("repourl", &self.config.repourl).await?.unwrap_or_default();
        let git = self.directory_of_repository().await?;
        let credentials = self.credentials().await?;
        let (git, _keys) = credentials.install(git, &self.directory, &url)?;
        let by_hand = matches!(self.config.repourl, Renderable::Literal(_));
        let address = Name::address("repourl", &url, by_hand).map_err(GitError::from)?;
        let repository = Repository::new(git, address);

        let refs = self.refs(&repository).await?;
        if refs.is_empty() {
            // As after a removal of every branch that is asked for: the position stays.
            return Ok(Vec::new());
        }
        repository.fetch(&refs).await.map_err(PollError::Remote)?;
        let mut revisions = repository.revisions(&refs).await?;
        let found = refs.into_iter().filter_map(|name| {
            let revision = revisions.remove(&name)?;
            Some(Found { key: self.key_of(&name), name, revision })
        });
        self.take(&repository, &url, found.collect()).await
    }

    async fn directory_of_repository(&self) -> Result<Git, PollError> {
        let _making = self.making.lock().await;
        let made = tokio::fs::create_dir_all(&self.directory).await;
        made.map_err(|error| PollError::Directory { path: self.directory.clone(), error })?;
        let git = Git::new(&self.config.gitbin, &self.directory);
        Repository::init(&git).await?;
        Ok(git)
    }

    async fn credentials(&self) -> Result<Credentials, PollError> {
        Ok(Credentials {
            private_key: self.text("sshPrivateKey", &self.config.ssh_private_key).await?,
            host_key: self.text("sshHostKey", &self.config.ssh_host_key).await?,
            known_hosts: self.text("sshKnownHosts", &self.config.ssh_known_hosts).await?,
            login: self.login().await?,
        })
    }

    async fn login(&self) -> Result<Option<(String, String)>, PollError> {
        let Some([user, password]) = &self.config.auth_credentials else { return Ok(None) };
        let user = self.text("auth_credentials", user).await?.unwrap_or_default();
        Ok(Some((user, self.text("auth_credentials", password).await?.unwrap_or_default())))
    }

    async fn refs(&mut self, repository: &Repository) -> Result<Vec<String>, PollError> {
        match &self.config.branches {
            GitBranches::Default if self.config.only_tags => {
                let all = remote_refs(repository, RemoteRefs::All).await?;
                Ok(all.into_iter().filter(|name| name.starts_with("refs/tags/")).collect())
            }
            GitBranches::Default => remote_refs(repository, RemoteRefs::Head).await,
            GitBranches::All => remote_refs(repository, RemoteRefs::Heads).await,
            GitBranches::Names(names) => remote_refs(repository, RemoteRefs::Branches(names)).await,
            GitBranches::Callable(callable) => {
                let callable = callable.clone();
                let all = remote_refs(repository, RemoteRefs::All).await?;
                self.chosen_by(&callable, all).await
            }
        }
    }

    async fn chosen_by(&mut self, callable: &Callable, refs: Vec<String>) -> Result<Vec<String>, PollError> {
        let mut answers = HashMap::with_capacity(refs.len());
        let mut chosen = Vec::new();
        for name in refs {
            let yes = match self.wanted.get(&name) {
                Some(yes) => *yes,
                None => {
                    let asked = self.callables.is_true(callable, vec![name.clone().into()]).await;
                    asked.map_err(|error| PollError::Ask { what: "branches", error })?
                }
            };
            answers.insert(name.clone(), yes);
            if yes {
                chosen.push(name);
            }
        }
        self.wanted = answers;
        Ok(chosen)
    }

    /// Short names only where they were given so, as Python masters keep them.
    fn key_of(&self, name: &str) -> String {
        match self.config.branches {
            GitBranches::Names(_) => without_heads(name).to_owned(),
            _ => name.to_owned(),
        }
    }

    /// Commits that no branch had at the last poll become changes. The first poll ever only notes where everything is.
    async fn take(
        &mut self,
        repository: &Repository,
        url: &str,
        found: Vec<Found>,
    ) -> Result<Vec<ChangeId>, PollError> {
        let state =
            StateKey { object: self.name.clone(), class: "GitPoller".to_owned(), key: "lastRev".to_owned() };
        let before = positions(self.data.get_state(&state).await?);
        let mut known = before.clone();
        let mut after = Positions::new();
        let mut failing = BTreeMap::new();
        let mut changes = Vec::new();
        for found in &found {
            after.insert(found.key.clone(), found.revision.clone());
            if before.is_empty() {
                continue;
            }
            match self.new_changes(repository, url, found, &known).await {
                Ok(new) => {
                    changes.extend(new);
                    known.insert(found.key.clone(), found.revision.clone());
                }
                Err(error) => {
                    let error = error.to_string();
                    if self.failing.get(&found.name) != Some(&error) {
                        let (poller, name) = (&self.name, &found.name);
                        tracing::error!("GitPoller '{poller}': {name}: {error}; it will be tried again");
                    }
                    failing.insert(found.name.clone(), error);
                    // Its old position stays, so that nothing of it is left out.
                    match before.get(&found.key) {
                        Some(revision) => after.insert(found.key.clone(), revision.clone()),
                        None => after.remove(&found.key),
                    };
                }
            }
        }
        self.failing = failing;
        if after == before {
            return Ok(Vec::new());
        }
        if !changes.is_empty() {
            tracing::info!("GitPoller '{}': {} new changes", self.name, changes.len());
        }
        Ok(self.data.add_polled_changes(changes, &state, &json!(after)).await?)
    }

    async fn new_changes(
        &self,
        repository: &Repository,
        url: &str,
        found: &Found,
        known: &Positions,
    ) -> Result<Vec<NewChange>, PollError> {
        let commits = self.new_commits(repository, found, known).await?;
        let mut changes = Vec::with_capacity(commits.len());
        for commit in commits {
            changes.push(self.change(url, found, commit).await?);
        }
        Ok(changes)
    }

    async fn new_commits(
        &self,
        repository: &Repository,
        found: &Found,
        known: &Positions,
    ) -> Result<Vec<Commit>, GitError> {
        if known.get(&found.key) == Some(&found.revision) {
            return Ok(Vec::new());
        }
        let commits = repository.commits(&found.revision, known.values()).await?;
        if commits.is_empty() && self.config.build_pushes_with_no_commits {
            return repository.commit(&found.revision).await;
        }
        if commits.len() == MAX_COMMITS {
            tracing::warn!(
                "GitPoller '{}': branch {} has more than {} new commits; only the newest become changes",
                self.name,
                found.name,
                commits.len()
            );
        }
        Ok(commits)
    }

    async fn change(&self, url: &str, found: &Found, commit: Commit) -> Result<NewChange, PollError> {
        let mut change = NewChange {
            author: commit.author,
            committer: Some(commit.committer),
            files: commit.files,
            comments: commit.comments,
            // Not null, as Buildbot stores it.
            revlink: Some(revlinks::link(&commit.revision, url).unwrap_or_default()),
            revision: Some(commit.revision),
            when: self.config.use_timestamps.then_some(commit.committed_at),
            branch: Some(without_heads(&found.name).to_owned()),
            category: None,
            properties: Map::new(),
            repository: url.to_owned(),
            project: self.config.project.clone(),
            codebase: String::new(),
            src: Some("git".to_owned()),
        };
        change.category = self.category(&change).await?;
        if let Some(generator) = &self.codebase_generator {
            let asked = self.callables.call(generator, vec![dictionary(&change)]).await;
            change.codebase =
                py_str(&asked.map_err(|error| PollError::Ask { what: "codebaseGenerator", error })?);
        }
        // Here, where only this branch waits for it.
        if let Some(reason) = change.refused() {
            let revision = change.revision.unwrap_or_default();
            return Err(PollError::Unstorable { revision, reason });
        }
        Ok(change)
    }

    async fn category(&self, change: &NewChange) -> Result<Option<String>, PollError> {
        let asked = match &self.config.category {
            Renderable::Callable { callable, .. } => {
                self.callables.call(callable, vec![dictionary(change)]).await
            }
            text => return self.text("category", text).await,
        };
        let category = asked.map_err(|error| PollError::Ask { what: "category", error })?;
        Ok((!category.is_null()).then(|| py_str(&category)))
    }

    /// The text that an argument renders to.
    async fn text(&self, what: &'static str, renderable: &Renderable) -> Result<Option<String>, PollError> {
        if renderable.is_none() {
            return Ok(None);
        }
        let rendered =
            self.callables.render(std::slice::from_ref(renderable), &SchedulerView::default()).await;
        let values = rendered.map_err(|error| PollError::Ask { what, error })?;
        Ok(values.first().filter(|value| !value.is_null()).map(py_str))
    }
}

async fn remote_refs(repository: &Repository, wanted: RemoteRefs<'_>) -> Result<Vec<String>, PollError> {
    repository.remote_refs(wanted).await.map_err(PollError::Remote)
}

fn without_heads(name: &str) -> &str {
    name.strip_prefix("refs/heads/").unwrap_or(name)
}

fn positions(state: Option<Value>) -> Positions {
    let Some(Value::Object(entries)) = state else {
        return Positions::new();
    };
    entries
        .into_iter()
        .filter_map(|(branch, revision)| Some((branch, revision.as_str()?.to_owned())))
        .collect()
}

/// The change as a dictionary, as `codebaseGenerator` and `category` get it.
pub(crate) fn dictionary(change: &NewChange) -> Value {
    json!({
        "author": change.author,
        "committer": change.committer,
        "files": change.files,
        "comments": change.comments,
        "revision": change.revision,
        "when_timestamp": change.when.map(|when| when.0),
        "branch": change.branch,
        "category": change.category,
        "revlink": change.revlink,
        "properties": change.properties,
        "repository": change.repository,
        "project": change.project,
        "src": change.src,
    })
}

#[cfg(test)]
mod tests;
