//! Recorded commits of codebases.

use muster_core::{CodebaseId, Commit, CommitId};

use super::{Column, Select, Table, rows};
use crate::{Result, Row, Tx, params};

/// What commits are read from.
pub const TABLE: Table = Table {
    select: "SELECT id, codebaseid, author, committer, comments, when_timestamp, revision, parent_commitid \
             FROM codebase_commits",
    key: "id",
    columns: &[
        Column::new("commitid", "id"),
        Column::new("codebaseid", "codebaseid"),
        Column::new("author", "author"),
        Column::new("committer", "committer"),
        Column::new("comments", "comments"),
        Column::new("when_timestamp", "when_timestamp"),
        Column::new("revision", "revision"),
        Column::new("parent_commitid", "parent_commitid"),
    ],
};

/// A commit and its ancestors by first parents, the commit itself first, at most `?` generations back.
const ANCESTRY: &str = "WITH RECURSIVE ancestry (id, parent, generation) AS (\
     SELECT id, parent_commitid, 0 FROM codebase_commits WHERE id = ? \
     UNION ALL \
     SELECT c.id, c.parent_commitid, ancestry.generation + 1 FROM codebase_commits c \
     JOIN ancestry ON c.id = ancestry.parent WHERE ancestry.generation < ?) \
     SELECT id FROM ancestry ORDER BY generation";

fn from_row(row: &Row) -> Result<Commit> {
    Ok(Commit {
        id: CommitId(row.int(0)?),
        codebase: CodebaseId(row.int(1)?),
        author: row.text(2)?,
        committer: row.opt_text(3)?,
        comments: row.text(4)?,
        when: row.time(5)?,
        revision: row.text(6)?,
        parent: row.opt_int(7)?.map(CommitId),
    })
}

/// Commits that `select` names.
pub async fn list(tx: &Tx, select: &Select) -> Result<Vec<Commit>> {
    rows(tx, &TABLE, select).await?.iter().map(from_row).collect()
}

/// One commit.
pub async fn by_id(tx: &Tx, id: CommitId) -> Result<Option<Commit>> {
    let select = Select::all().only("id = ?", params![id]);
    Ok(list(tx, &select).await?.pop())
}

/// The commit of a codebase that has this revision.
pub async fn by_revision(tx: &Tx, codebase: CodebaseId, revision: &str) -> Result<Option<Commit>> {
    let select = Select::all().only("codebaseid = ? AND revision = ?", params![codebase, revision]);
    Ok(list(tx, &select).await?.pop())
}

/// A commit and its ancestors by first parents, the commit itself first; none when it isn't there. No further back than
/// `generations`, whatever the rows say.
pub async fn ancestry(tx: &Tx, id: CommitId, generations: i64) -> Result<Vec<CommitId>> {
    let rows = tx.query(ANCESTRY, params![id, generations]).await?;
    rows.iter().map(|row| row.int(0).map(CommitId)).collect()
}
