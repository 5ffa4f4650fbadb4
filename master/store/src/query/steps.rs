//! Steps.

use muster_core::{BuildId, Step};

use super::{Column, Select, Table, rows};
pub use crate::steps::by_id;
use crate::{Result, Tx, params, steps::from_row};

/// What steps are read from.
pub const TABLE: Table = Table {
    select: "SELECT id, buildid, number, name, started_at, locks_acquired_at, complete_at, state_string, results, \
             urls_json, hidden FROM steps",
    key: "id",
    columns: &[
        Column::new("stepid", "id"),
        Column::new("number", "number"),
        Column::new("name", "name"),
        Column::new("buildid", "buildid"),
        Column::new("started_at", "started_at"),
        Column::new("locks_acquired_at", "locks_acquired_at"),
        Column::new("complete", "(complete_at IS NOT NULL)"),
        Column::new("complete_at", "complete_at"),
        Column::new("results", "results"),
        Column::new("state_string", "state_string"),
        Column::new("hidden", "hidden"),
    ],
};

/// Steps that `select` names.
pub async fn list(tx: &Tx, select: &Select) -> Result<Vec<Step>> {
    rows(tx, &TABLE, select).await?.iter().map(from_row).collect()
}

/// Narrows to the steps of one build; put an order by number on it.
pub fn of_build(select: Select, build: BuildId) -> Select {
    select.only("buildid = ?", params![build])
}

/// One step of a build by its name.
pub async fn by_name(tx: &Tx, build: BuildId, name: &str) -> Result<Option<Step>> {
    let select = Select::all().only("buildid = ? AND name = ?", params![build, name]);
    Ok(list(tx, &select).await?.pop())
}

/// One step of a build by its number.
pub async fn by_number(tx: &Tx, build: BuildId, number: i64) -> Result<Option<Step>> {
    let select = Select::all().only("buildid = ? AND number = ?", params![build, number]);
    Ok(list(tx, &select).await?.pop())
}
