//! Schedulers and change sources: one owner in the cluster, by Buildbot's rows.

use muster_core::{ChangeSourceId, MasterId, SchedulerId};

use crate::{Result, Tx, names::NamedTable, params};

const SCHEDULERS: NamedTable = NamedTable {
    select: "SELECT id FROM schedulers WHERE name_hash = ?",
    insert: "INSERT INTO schedulers (name, name_hash) VALUES (?, ?)",
};
const CHANGE_SOURCES: NamedTable = NamedTable {
    select: "SELECT id FROM changesources WHERE name_hash = ?",
    insert: "INSERT INTO changesources (name, name_hash) VALUES (?, ?)",
};

/// The scheduler of this name; makes its row when absent.
pub async fn find_or_create(tx: &Tx, name: &str) -> Result<SchedulerId> {
    SCHEDULERS.find_or_create(tx, name).await.map(SchedulerId)
}

/// Makes `master` the owner of a scheduler. `false`: another master is.
pub async fn claim(tx: &Tx, scheduler: SchedulerId, master: MasterId) -> Result<bool> {
    let insert = "INSERT INTO scheduler_masters (schedulerid, masterid) VALUES (?, ?) ON CONFLICT DO NOTHING";
    tx.execute(insert, params![scheduler, master]).await?;
    let query = "SELECT 1 FROM scheduler_masters WHERE schedulerid = ? AND masterid = ?";
    Ok(tx.query_opt(query, params![scheduler, master]).await?.is_some())
}

/// Gives a scheduler back.
pub async fn release(tx: &Tx, scheduler: SchedulerId, master: MasterId) -> Result<()> {
    let delete = "DELETE FROM scheduler_masters WHERE schedulerid = ? AND masterid = ?";
    tx.execute(delete, params![scheduler, master]).await?;
    Ok(())
}

/// Switches a scheduler on or off. `false`: there is no such scheduler.
pub async fn set_enabled(tx: &Tx, scheduler: SchedulerId, enabled: bool) -> Result<bool> {
    let update = "UPDATE schedulers SET enabled = ? WHERE id = ?";
    Ok(tx.execute(update, params![enabled, scheduler]).await? == 1)
}

/// The change source of this name; makes its row when absent.
pub async fn find_or_create_source(tx: &Tx, name: &str) -> Result<ChangeSourceId> {
    CHANGE_SOURCES.find_or_create(tx, name).await.map(ChangeSourceId)
}

/// Makes `master` the owner of a change source. `false`: another master is.
pub async fn claim_source(tx: &Tx, source: ChangeSourceId, master: MasterId) -> Result<bool> {
    let insert =
        "INSERT INTO changesource_masters (changesourceid, masterid) VALUES (?, ?) ON CONFLICT DO NOTHING";
    tx.execute(insert, params![source, master]).await?;
    let query = "SELECT 1 FROM changesource_masters WHERE changesourceid = ? AND masterid = ?";
    Ok(tx.query_opt(query, params![source, master]).await?.is_some())
}

/// Gives a change source back.
pub async fn release_source(tx: &Tx, source: ChangeSourceId, master: MasterId) -> Result<()> {
    let delete = "DELETE FROM changesource_masters WHERE changesourceid = ? AND masterid = ?";
    tx.execute(delete, params![source, master]).await?;
    Ok(())
}
