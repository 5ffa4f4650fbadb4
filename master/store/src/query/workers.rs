//! Workers.

use muster_core::{BuilderId, MasterId, Worker, WorkerId};

use super::{Column, Select, Table, grouped, rows};
use crate::{Result, Row, Tx, params};

/// What workers are read from.
pub const TABLE: Table = Table {
    select: "SELECT id, name, info, paused, pause_reason, graceful FROM workers",
    key: "id",
    columns: &[
        Column::new("workerid", "id"),
        Column::new("name", "name"),
        Column::new("paused", "paused"),
        Column::new("pause_reason", "pause_reason"),
        Column::new("graceful", "graceful"),
    ],
};

fn from_row(row: &Row) -> Result<Worker> {
    Ok(Worker {
        id: WorkerId(row.int(0)?),
        name: row.text(1)?,
        info: row.json(2)?,
        paused: row.bool(3)?,
        pause_reason: row.opt_text(4)?,
        graceful: row.bool(5)?,
        connected_to: Vec::new(),
        configured_on: Vec::new(),
    })
}

/// Workers that `select` names, with the masters they are connected to and the builders they are configured on.
pub async fn list(tx: &Tx, select: &Select) -> Result<Vec<Worker>> {
    let mut workers: Vec<Worker> =
        rows(tx, &TABLE, select).await?.iter().map(from_row).collect::<Result<_>>()?;
    let ids: Vec<i64> = workers.iter().map(|worker| worker.id.0).collect();
    let connected =
        "SELECT workerid, masterid FROM connected_workers WHERE workerid IN (??) ORDER BY masterid";
    let configured = "SELECT cw.workerid, bm.masterid, bm.builderid FROM configured_workers cw \
                      JOIN builder_masters bm ON bm.id = cw.buildermasterid \
                      WHERE cw.workerid IN (??) ORDER BY bm.masterid, bm.builderid";
    let mut connected = grouped(tx, connected, &ids).await?;
    let mut configured = grouped(tx, configured, &ids).await?;
    for worker in &mut workers {
        let rows = connected.remove(&worker.id.0).unwrap_or_default();
        worker.connected_to = rows.iter().map(|row| row.int(1).map(MasterId)).collect::<Result<_>>()?;
        let rows = configured.remove(&worker.id.0).unwrap_or_default();
        let pair = |row: &Row| Ok((MasterId(row.int(1)?), BuilderId(row.int(2)?)));
        worker.configured_on = rows.iter().map(pair).collect::<Result<_>>()?;
    }
    Ok(workers)
}

/// These workers, by their ids.
pub async fn by_ids(tx: &Tx, ids: &[WorkerId]) -> Result<Vec<Worker>> {
    let ids = ids.iter().map(|id| (*id).into()).collect();
    list(tx, &Select::all().and(Column::new("workerid", "id"), super::Op::In, ids)).await
}

/// One worker.
pub async fn by_id(tx: &Tx, id: WorkerId) -> Result<Option<Worker>> {
    let select = Select::all().only("id = ?", params![id]);
    Ok(list(tx, &select).await?.pop())
}

/// One worker by its name.
pub async fn by_name(tx: &Tx, name: &str) -> Result<Option<Worker>> {
    let select = Select::all().only("name = ?", params![name]);
    Ok(list(tx, &select).await?.pop())
}
