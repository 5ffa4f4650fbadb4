//! Logs (their rows; [`super::log_content`] has their lines).

use muster_core::{Log, StepId};

use super::{Column, Select, Table, rows};
pub use crate::steps::{find_log as by_slug, log_by_id as by_id};
use crate::{Result, Tx, params, steps::log_from_row};

/// What logs are read from.
pub const TABLE: Table = Table {
    select: "SELECT id, stepid, name, slug, complete, num_lines, type FROM logs",
    key: "id",
    columns: &[
        Column::new("logid", "id"),
        Column::new("name", "name"),
        Column::new("slug", "slug"),
        Column::new("stepid", "stepid"),
        Column::new("complete", "complete"),
        Column::new("num_lines", "num_lines"),
        Column::new("type", "type"),
    ],
};

/// Logs that `select` names.
pub async fn list(tx: &Tx, select: &Select) -> Result<Vec<Log>> {
    rows(tx, &TABLE, select).await?.iter().map(log_from_row).collect()
}

/// Narrows to the logs of one step.
pub fn of_step(select: Select, step: StepId) -> Select {
    select.only("stepid = ?", params![step])
}
