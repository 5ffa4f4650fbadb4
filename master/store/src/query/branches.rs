//! Branches of codebases.

use muster_core::{Branch, BranchId, CodebaseId, CommitId};

use super::{Column, Select, Table, rows};
use crate::{Result, Row, Tx, params};

/// What branches are read from.
pub const TABLE: Table = Table {
    select: "SELECT id, codebaseid, name, commitid, last_timestamp FROM codebase_branches",
    key: "id",
    columns: &[
        Column::new("branchid", "id"),
        Column::new("codebaseid", "codebaseid"),
        Column::new("name", "name"),
        Column::new("commitid", "commitid"),
        Column::new("last_timestamp", "last_timestamp"),
    ],
};

fn from_row(row: &Row) -> Result<Branch> {
    Ok(Branch {
        id: BranchId(row.int(0)?),
        codebase: CodebaseId(row.int(1)?),
        name: row.text(2)?,
        commit: row.opt_int(3)?.map(CommitId),
        last_timestamp: row.time(4)?,
    })
}

/// Branches that `select` names.
pub async fn list(tx: &Tx, select: &Select) -> Result<Vec<Branch>> {
    rows(tx, &TABLE, select).await?.iter().map(from_row).collect()
}

/// One branch.
pub async fn by_id(tx: &Tx, id: BranchId) -> Result<Option<Branch>> {
    let select = Select::all().only("id = ?", params![id]);
    Ok(list(tx, &select).await?.pop())
}
