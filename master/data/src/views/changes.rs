//! Changes.

use muster_core::{Change, ChangeId, Timestamp};
use muster_store::{
    Result, Tx, params,
    query::{
        Op, Select,
        changes::{TABLE, list},
    },
};
use serde::Serialize;

use crate::Data;

/// Changes on one page.
const PER_PAGE: i64 = 50;
/// Files of a change that a list names; the count is of all.
const FILES: usize = 20;

/// A change as lists show it.
#[derive(Clone, Debug, Serialize)]
pub struct ChangeLine {
    /// Its id.
    pub id: ChangeId,
    /// Who made it.
    pub author: String,
    /// The first line of its comments.
    pub title: String,
    /// All its comments.
    pub comments: String,
    /// Its branch.
    pub branch: Option<String>,
    /// Its revision.
    pub revision: Option<String>,
    /// Where the revision can be seen; only `http` and `https`.
    pub link: Option<String>,
    /// When it was made.
    pub when: Timestamp,
    /// Where it was made.
    pub repository: String,
    /// Its project.
    pub project: String,
    /// Some of its files.
    pub files: Vec<String>,
    /// How many files it has.
    pub file_count: usize,
}

impl From<&Change> for ChangeLine {
    fn from(change: &Change) -> ChangeLine {
        let some = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        ChangeLine {
            id: change.id,
            author: change.author.clone(),
            title: change.comments.lines().next().unwrap_or_default().to_owned(),
            comments: change.comments.clone(),
            branch: some(&change.branch),
            revision: some(&change.revision),
            link: some(&change.revlink).filter(|link| is_web_address(link)),
            when: change.when,
            repository: change.repository.clone(),
            project: change.project.clone(),
            files: change.files.iter().take(FILES).cloned().collect(),
            file_count: change.files.len(),
        }
    }
}

/// Links come from repositories and commands: a `javascript:` among them must not become one that can be clicked.
pub(super) fn is_web_address(link: &str) -> bool {
    link.starts_with("https://") || link.starts_with("http://")
}

/// A page of changes.
#[derive(Clone, Debug, Serialize)]
pub struct ChangesPage {
    /// Newest first.
    pub changes: Vec<ChangeLine>,
    /// Where the next page begins: changes below this id.
    pub next: Option<ChangeId>,
}

impl Data {
    /// Changes, newest first: below an id, and of one branch, where they are given.
    pub async fn changes_page(&self, below: Option<ChangeId>, branch: Option<&str>) -> Result<ChangesPage> {
        self.db().read("page_changes", |tx| async move { changes_page(&tx, below, branch).await }).await
    }
}

async fn changes_page(tx: &Tx, below: Option<ChangeId>, branch: Option<&str>) -> Result<ChangesPage> {
    let column = |name| TABLE.column(name).expect("changes have an id and a branch");
    let mut select = Select::all().order_by(column("changeid"), true).limit(PER_PAGE + 1);
    if let Some(below) = below {
        select = select.and(column("changeid"), Op::Lt, params![below]);
    }
    if let Some(branch) = branch {
        select = select.and(column("branch"), Op::Eq, params![branch]);
    }
    let mut changes: Vec<ChangeLine> = list(tx, &select).await?.iter().map(ChangeLine::from).collect();
    let more = changes.len() as i64 > PER_PAGE;
    changes.truncate(PER_PAGE as usize);
    Ok(ChangesPage { next: changes.last().map(|change| change.id).filter(|_| more), changes })
}
