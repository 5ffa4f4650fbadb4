//! Masters, and what one of them owns at a time: schedulers and change sources.

use muster_core::{ChangeSource, ChangeSourceId, Master, Scheduler, SchedulerId};

use super::{Column, Select, Table, rows};
pub use crate::masters::by_id;
use crate::{Result, Row, Tx, masters::from_row, params};

/// What masters are read from.
pub const TABLE: Table = Table {
    select: "SELECT id, name, active, last_active FROM masters",
    key: "id",
    columns: &[
        Column::new("masterid", "id"),
        Column::new("name", "name"),
        Column::new("active", "active"),
        Column::new("last_active", "last_active"),
    ],
};

/// What schedulers are read from.
pub const SCHEDULERS: Table = Table {
    select: "SELECT m.id, m.name, m.active, m.last_active, s.id, s.name, s.enabled FROM schedulers s \
             LEFT JOIN scheduler_masters sm ON sm.schedulerid = s.id LEFT JOIN masters m ON m.id = sm.masterid",
    key: "s.id",
    columns: &[
        Column::new("schedulerid", "s.id"),
        Column::new("name", "s.name"),
        Column::new("enabled", "s.enabled"),
    ],
};

/// What change sources are read from.
pub const CHANGE_SOURCES: Table = Table {
    select: "SELECT m.id, m.name, m.active, m.last_active, s.id, s.name FROM changesources s \
             LEFT JOIN changesource_masters sm ON sm.changesourceid = s.id LEFT JOIN masters m ON m.id = sm.masterid",
    key: "s.id",
    columns: &[Column::new("changesourceid", "s.id"), Column::new("name", "s.name")],
};

fn owner(row: &Row) -> Result<Option<Master>> {
    row.opt_int(0)?.map(|_| from_row(row)).transpose()
}

/// Masters that `select` names.
pub async fn list(tx: &Tx, select: &Select) -> Result<Vec<Master>> {
    rows(tx, &TABLE, select).await?.iter().map(from_row).collect()
}

/// Schedulers that `select` names, with their owners.
pub async fn schedulers(tx: &Tx, select: &Select) -> Result<Vec<Scheduler>> {
    let scheduler = |row: &Row| {
        let (id, name, enabled) = (SchedulerId(row.int(4)?), row.text(5)?, row.bool(6)?);
        Ok(Scheduler { id, name, enabled, master: owner(row)? })
    };
    rows(tx, &SCHEDULERS, select).await?.iter().map(scheduler).collect()
}

/// One scheduler.
pub async fn scheduler(tx: &Tx, id: SchedulerId) -> Result<Option<Scheduler>> {
    let select = Select::all().only("s.id = ?", params![id]);
    Ok(schedulers(tx, &select).await?.pop())
}

/// Change sources that `select` names, with their owners.
pub async fn change_sources(tx: &Tx, select: &Select) -> Result<Vec<ChangeSource>> {
    let change_source = |row: &Row| {
        Ok(ChangeSource { id: ChangeSourceId(row.int(4)?), name: row.text(5)?, master: owner(row)? })
    };
    rows(tx, &CHANGE_SOURCES, select).await?.iter().map(change_source).collect()
}

/// One change source.
pub async fn change_source(tx: &Tx, id: ChangeSourceId) -> Result<Option<ChangeSource>> {
    let select = Select::all().only("s.id = ?", params![id]);
    Ok(change_sources(tx, &select).await?.pop())
}
