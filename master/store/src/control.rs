//! Orders of people and programs, kept until they are carried out.

use muster_core::Timestamp;

use crate::{Result, Row, Tx, params};

/// One order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Order {
    pub id: i64,
    pub targetid: i64,
    pub action: String,
    pub reason: String,
}

/// Writes an order down.
pub async fn insert(
    tx: &Tx,
    target: &'static str,
    targetid: i64,
    action: &str,
    reason: &str,
    now: Timestamp,
) -> Result<()> {
    let insert =
        "INSERT INTO muster_control (target, targetid, action, reason, created_at) VALUES (?, ?, ?, ?, ?)";
    tx.later(insert, params![target, targetid, action, reason, now]).await
}

/// Whether an order for one target waits to be carried out.
pub async fn is_open(tx: &Tx, target: &'static str, targetid: i64) -> Result<bool> {
    let query = "SELECT 1 FROM muster_control WHERE target = ? AND targetid = ? LIMIT 1";
    Ok(tx.query_opt(query, params![target, targetid]).await?.is_some())
}

/// The open orders for one kind of target, oldest first.
pub async fn open(tx: &Tx, target: &'static str) -> Result<Vec<Order>> {
    let query = "SELECT id, targetid, action, reason FROM muster_control WHERE target = ? ORDER BY id";
    tx.query(query, params![target]).await?.iter().map(read).collect()
}

/// The newest open order for one target.
pub async fn newest(tx: &Tx, target: &'static str, targetid: i64) -> Result<Option<Order>> {
    let query = "SELECT id, targetid, action, reason FROM muster_control WHERE target = ? AND targetid = ? \
                 ORDER BY id DESC LIMIT 1";
    tx.query_opt(query, params![target, targetid]).await?.as_ref().map(read).transpose()
}

fn read(row: &Row) -> Result<Order> {
    Ok(Order { id: row.int(0)?, targetid: row.int(1)?, action: row.text(2)?, reason: row.text(3)? })
}

/// Strikes orders for one target: carried out, or without an object.
pub async fn done(tx: &Tx, target: &'static str, targetid: i64) -> Result<()> {
    tx.later("DELETE FROM muster_control WHERE target = ? AND targetid = ?", params![target, targetid]).await
}

/// Strikes the orders for workers that were given before `given` and have nobody to carry them out: the worker is connected to
/// no master and has no build.
pub async fn drop_stale_of_workers(tx: &Tx, given: Timestamp) -> Result<()> {
    let delete = "DELETE FROM muster_control WHERE target = 'worker' AND created_at < ? \
                  AND targetid NOT IN (SELECT workerid FROM connected_workers) \
                  AND targetid NOT IN (SELECT workerid FROM muster_runs)";
    tx.later(delete, params![given]).await
}

/// Strikes the orders for builds that are over.
pub async fn builds_are_over(tx: &Tx, builds: &[muster_core::BuildId]) -> Result<()> {
    let delete = "DELETE FROM muster_control WHERE target = 'build' AND targetid IN (??)";
    tx.later_among(delete, builds.iter().map(|build| (*build).into()).collect()).await
}
