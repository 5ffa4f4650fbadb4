//! Changes that somebody sends, instead of a poller finding them.

use muster_config::{Host, snapshot::Snapshot};
use muster_core::{ChangeId, policy::Permit};
use muster_data::{Data, NewChange};
use muster_store::{Error, Fault};

use crate::{callables::Callables, git_poller::dictionary, revlinks};

/// Why a change was not kept, in words for its sender.
#[derive(Debug, thiserror::Error)]
pub enum NotKept {
    /// It can't be, however often it is sent.
    #[error("the change can't be kept: {0}")]
    Refused(String),
    /// The database is away; it may be when it is sent again.
    #[error("{0}")]
    Away(String),
    /// It may be when it is sent again.
    #[error("{0}")]
    Failed(String),
}

/// Keeps a change that was sent to this master; it is committed when this returns. A change without a codebase gets
/// the one that the configuration's function names, and one without a page of its own the page that its repository's host has.
///
/// # Errors
/// When a column can't hold what says where the change is, the function fails, or the database is away.
pub async fn add_sent_change(
    data: &Data,
    host: Option<Host>,
    snapshot: &Snapshot,
    permit: &Permit,
    mut change: NewChange,
    codebase: Option<String>,
) -> Result<ChangeId, NotKept> {
    change.codebase = match (codebase, &snapshot.codebase_generator) {
        (Some(codebase), _) => codebase,
        (None, None) => String::new(),
        (None, Some(generator)) => {
            let asked = Callables::new(host).call(generator, vec![dictionary(&change)]).await;
            let named = asked.map_err(|error| NotKept::Failed(format!("codebaseGenerator: {error}")))?;
            let no_text = || NotKept::Failed("codebaseGenerator did not return a text".to_owned());
            named.as_str().map(str::to_owned).ok_or_else(no_text)?
        }
    };
    // As in Buildbot, a change without a version or a repository is left as it was told.
    if let Some(revision) = change.revision.as_deref().filter(|_| !change.repository.is_empty())
        && change.revlink.as_deref().unwrap_or_default().is_empty()
    {
        change.revlink = Some(revlinks::link(revision, &change.repository).unwrap_or_default());
    }
    if let Some(reason) = data.refuses_change(&change) {
        return Err(NotKept::Refused(reason));
    }
    data.add_change(permit, change).await.map_err(|error| match error {
        Error::Unstorable { .. } => NotKept::Refused(error.told()),
        error => {
            tracing::error!(%error, "a change that was sent can't be kept");
            let told = format!("the change can't be kept: {}", error.told());
            if error.fault() == Fault::Away { NotKept::Away(told) } else { NotKept::Failed(told) }
        }
    })
}
