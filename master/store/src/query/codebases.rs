//! Codebases of projects.

use muster_core::{Codebase, CodebaseId, ProjectId, hash::name_hash};

use super::{Column, Select, Table, rows};
use crate::{Result, Row, Tx, params};

/// What codebases are read from.
pub const TABLE: Table = Table {
    select: "SELECT id, projectid, name, slug FROM codebases",
    key: "id",
    columns: &[
        Column::new("codebaseid", "id"),
        Column::new("projectid", "projectid"),
        Column::new("name", "name"),
        Column::new("slug", "slug"),
    ],
};

fn from_row(row: &Row) -> Result<Codebase> {
    Ok(Codebase {
        id: CodebaseId(row.int(0)?),
        project: ProjectId(row.int(1)?),
        name: row.text(2)?,
        slug: row.text(3)?,
    })
}

/// Codebases that `select` names.
pub async fn list(tx: &Tx, select: &Select) -> Result<Vec<Codebase>> {
    rows(tx, &TABLE, select).await?.iter().map(from_row).collect()
}

/// One codebase.
pub async fn by_id(tx: &Tx, id: CodebaseId) -> Result<Option<Codebase>> {
    let select = Select::all().only("id = ?", params![id]);
    Ok(list(tx, &select).await?.pop())
}

/// The codebase of a project that has this name.
pub async fn by_name(tx: &Tx, project: ProjectId, name: &str) -> Result<Option<Codebase>> {
    let select = Select::all().only("projectid = ? AND name_hash = ?", params![project, name_hash(name)]);
    Ok(list(tx, &select).await?.pop())
}
