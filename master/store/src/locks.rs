//! Locks of builds and steps: one fair queue for each, in the whole cluster.

use muster_core::BuildId;

use crate::{Result, Tx, params};

/// A claim on a lock, held or waiting, in the queue's order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct LockClaim {
    pub exclusive: bool,
    pub units: i64,
    pub build: BuildId,
    /// -1 for the build itself.
    pub step: i64,
    pub held: bool,
}

/// Puts a claim at the end of a lock's queue, unless the owner is there already.
pub async fn enqueue(tx: &Tx, lock: &str, claim: &LockClaim) -> Result<()> {
    let insert = "INSERT INTO muster_lock_claims (lock_name, exclusive, units, buildid, step, held) \
                  VALUES (?, ?, ?, ?, ?, 0) ON CONFLICT DO NOTHING";
    tx.later(insert, params![lock, claim.exclusive, claim.units, claim.build, claim.step]).await
}

/// The queue of a lock.
///
/// Who wants several locks has one place for all of them, that of its first claim. Numbers of claims that were made at
/// the same time interleave: by them, each of two might stand ahead of the other in one queue, and wait for ever. (MySQL
/// may show a claim here that the inner query does not see yet; the next look has both.)
const QUEUE: &str = "SELECT c.exclusive, c.units, c.buildid, c.step, c.held FROM muster_lock_claims c WHERE c.lock_name = ? \
                     ORDER BY COALESCE((SELECT min(o.id) FROM muster_lock_claims o WHERE o.buildid = c.buildid AND o.step = c.step), c.id)";

/// The queue of a lock.
pub async fn queue(tx: &Tx, lock: &str) -> Result<Vec<LockClaim>> {
    claims(tx, QUEUE, lock).await
}

/// The same, locked until the transaction ends: nobody else decides by it meanwhile.
pub async fn lock_queue(tx: &Tx, lock: &str) -> Result<Vec<LockClaim>> {
    claims(tx, &format!("{QUEUE} FOR UPDATE"), lock).await
}

async fn claims(tx: &Tx, query: &str, lock: &str) -> Result<Vec<LockClaim>> {
    let rows = tx.query(query, params![lock]).await?;
    rows.iter()
        .map(|row| {
            Ok(LockClaim {
                exclusive: row.bool(0)?,
                units: row.int(1)?,
                build: BuildId(row.int(2)?),
                step: row.int(3)?,
                held: row.bool(4)?,
            })
        })
        .collect()
}

/// Marks all claims of an owner as held.
pub async fn hold(tx: &Tx, build: BuildId, step: i64) -> Result<()> {
    tx.later("UPDATE muster_lock_claims SET held = 1 WHERE buildid = ? AND step = ?", params![build, step])
        .await
}

/// Gives back what a step holds or waits for.
pub async fn release_step(tx: &Tx, build: BuildId, step: i64) -> Result<()> {
    let delete = "DELETE FROM muster_lock_claims WHERE buildid = ? AND step = ?";
    tx.later(delete, params![build, step]).await
}

/// Gives back everything of builds and their steps.
pub async fn release_builds(tx: &Tx, builds: &[BuildId]) -> Result<()> {
    let list = builds.iter().map(|build| (*build).into()).collect();
    tx.later_among("DELETE FROM muster_lock_claims WHERE buildid IN (??)", list).await
}
