//! Stock workers: whose connection each one's is, in the whole cluster. Gateways are known by their incarnations.

use std::collections::HashSet;

use muster_core::{MasterId, Timestamp, WorkerId};

use crate::{
    Result, Row, Tx,
    dialect::expand_list,
    params,
    workers::{about, ids},
};

/// A worker's row, locked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Connection {
    pub worker: WorkerId,
    pub holder: Option<String>,
    pub challenger: Option<String>,
    pub refused: Option<String>,
    /// JSON.
    pub commands: String,
}

/// Locks the rows of workers, in the order of their ids; makes those that are missing.
pub async fn lock(tx: &Tx, workers: &[WorkerId]) -> Result<Vec<Connection>> {
    let found = locked(tx, workers).await?;
    if found.len() == workers.len() {
        return Ok(found);
    }
    let insert = "INSERT INTO muster_stock_connections (workerid, commands) SELECT id, '[]' FROM workers \
                  WHERE id IN (??) ON CONFLICT DO NOTHING";
    tx.later(&expand_list(insert, workers.len()), ids(workers)).await?;
    locked(tx, workers).await
}

async fn locked(tx: &Tx, workers: &[WorkerId]) -> Result<Vec<Connection>> {
    let query = "SELECT workerid, holder, challenger, refused, commands FROM muster_stock_connections \
                 WHERE workerid IN (??) ORDER BY workerid FOR UPDATE";
    let rows = tx.query(&expand_list(query, workers.len()), ids(workers)).await?;
    rows.iter().map(connection).collect()
}

fn connection(row: &Row) -> Result<Connection> {
    Ok(Connection {
        worker: WorkerId(row.int(0)?),
        holder: row.opt_text(1)?,
        challenger: row.opt_text(2)?,
        refused: row.opt_text(3)?,
        commands: row.text(4)?,
    })
}

/// The incarnations of masters that act.
pub async fn live_incarnations(tx: &Tx) -> Result<HashSet<String>> {
    let query = "SELECT incarnation FROM muster_masters WHERE state NOT IN ('stopped', 'expired')";
    tx.query(query, params![]).await?.iter().map(|row| row.text(0)).collect()
}

/// Makes a gateway the holder of workers.
pub async fn take(tx: &Tx, workers: &[WorkerId], gateway: &str) -> Result<()> {
    let update = "UPDATE muster_stock_connections SET holder = ?, challenger = NULL, refused = NULL \
                  WHERE workerid IN (??)";
    about(tx, update, params![gateway], workers).await.map(drop)
}

/// The same, although their holders did not let go of them.
pub async fn displace(tx: &Tx, workers: &[WorkerId], gateway: &str) -> Result<()> {
    let note = "UPDATE muster_stock_connections SET displaced = holder WHERE workerid IN (??)";
    about(tx, note, params![], workers).await?;
    take(tx, workers, gateway).await
}

/// Asks the holders of workers for their word.
pub async fn challenge(tx: &Tx, workers: &[WorkerId], gateway: &str) -> Result<()> {
    let update = "UPDATE muster_stock_connections SET challenger = ?, refused = NULL WHERE workerid IN (??)";
    about(tx, update, params![gateway], workers).await.map(drop)
}

/// The names of workers that a gateway has and on which builds run.
pub async fn building(tx: &Tx, gateway: &str) -> Result<HashSet<String>> {
    let query = "SELECT DISTINCT w.name FROM muster_stock_connections s JOIN workers w ON w.id = s.workerid \
                 JOIN muster_runs r ON r.workerid = s.workerid WHERE s.holder = ?";
    tx.query(query, params![gateway]).await?.iter().map(|row| row.text(0)).collect()
}

/// The workers that a gateway has are not connected any more.
pub async fn leave(tx: &Tx, workers: &[WorkerId], gateway: &str) -> Result<()> {
    let update = "UPDATE muster_stock_connections SET holder = NULL WHERE holder = ? AND workerid IN (??)";
    about(tx, update, params![gateway], workers).await.map(drop)
}

/// Workers of a gateway that others want, and whether they have them already. Each loss is told once.
pub async fn wanted(tx: &Tx, gateway: &str) -> Result<Vec<(WorkerId, bool)>> {
    let query = "SELECT workerid, displaced, holder FROM muster_stock_connections \
                 WHERE challenger IS NOT NULL OR displaced IS NOT NULL ORDER BY workerid";
    let mut wanted = Vec::new();
    let mut told = Vec::new();
    for row in tx.query(query, params![]).await? {
        let (worker, displaced, holder) = (WorkerId(row.int(0)?), row.opt_text(1)?, row.opt_text(2)?);
        if displaced.as_deref() == Some(gateway) {
            told.push(worker);
            wanted.push((worker, true));
        } else if holder.as_deref() == Some(gateway) {
            wanted.push((worker, false));
        }
    }
    let update =
        "UPDATE muster_stock_connections SET displaced = NULL WHERE displaced = ? AND workerid IN (??)";
    about(tx, update, params![gateway], &told).await?;
    Ok(wanted)
}

/// Whether other gateways want anything at all; cheaper than [`wanted`], and writes nothing.
pub async fn is_anything_wanted(tx: &Tx) -> Result<bool> {
    let query = "SELECT 1 FROM muster_stock_connections WHERE challenger IS NOT NULL OR displaced IS NOT NULL LIMIT 1";
    Ok(tx.query_opt(query, params![]).await?.is_some())
}

/// A gateway keeps a worker that was challenged.
pub async fn keep(tx: &Tx, worker: WorkerId, gateway: &str) -> Result<()> {
    let refuse = "UPDATE muster_stock_connections SET refused = challenger WHERE workerid = ? AND holder = ?";
    if tx.execute(refuse, params![worker, gateway]).await? == 1 {
        let done = "UPDATE muster_stock_connections SET challenger = NULL WHERE workerid = ?";
        tx.later(done, params![worker]).await?;
    }
    Ok(())
}

/// Notes what a worker may run. `false`: it is not this gateway's.
pub async fn note(tx: &Tx, worker: WorkerId, gateway: &str, commands: &str) -> Result<bool> {
    // The row is locked first: engines differ in whether a row that stays the same counts as changed.
    let mine = locked(tx, &[worker]).await?.iter().any(|row| row.holder.as_deref() == Some(gateway));
    if mine {
        let update = "UPDATE muster_stock_connections SET commands = ? WHERE workerid = ?";
        tx.later(update, params![commands, worker]).await?;
    }
    Ok(mine)
}

/// Of these workers those whose last life is over for good, by boot id: its gateway has stopped or began a new life, or no
/// longer has the connection. A lease that others have ended says only that the gateway did not renew it: it may stand still
/// or be cut off, and go on with the connection it has.
pub async fn lost_lives(tx: &Tx, workers: &[WorkerId]) -> Result<Vec<(WorkerId, String)>> {
    let query = "SELECT l.workerid, l.boot_id FROM muster_stock_lives l \
                 LEFT JOIN muster_masters m ON m.incarnation = l.gateway AND m.state <> 'stopped' \
                 LEFT JOIN muster_stock_connections c ON c.workerid = l.workerid AND c.holder = l.gateway \
                 WHERE (m.masterid IS NULL OR c.workerid IS NULL) AND l.workerid IN (??)";
    let rows = tx.query(&expand_list(query, workers.len()), ids(workers)).await?;
    rows.iter().map(|row| Ok((WorkerId(row.int(0)?), row.text(1)?))).collect()
}

/// Notes which snapshot a master has in force.
pub async fn set_in_force(tx: &Tx, master: MasterId, snapshot: i64) -> Result<()> {
    let upsert = "INSERT INTO muster_in_force (masterid, snapshotid) VALUES (?, ?) \
                  ON CONFLICT (masterid) DO UPDATE SET snapshotid = excluded.snapshotid";
    tx.later(upsert, params![master, snapshot]).await
}

/// The snapshots that masters have in force which were alive at `since` or later.
pub async fn in_force(tx: &Tx, since: Timestamp) -> Result<Vec<i64>> {
    let query = "SELECT DISTINCT f.snapshotid FROM muster_in_force f JOIN masters m ON m.id = f.masterid \
                 WHERE m.last_active >= ? ORDER BY f.snapshotid";
    tx.query(query, params![since]).await?.iter().map(|row| row.int(0)).collect()
}

/// The same of all masters but `me`.
pub async fn in_force_elsewhere(tx: &Tx, since: Timestamp, me: Option<MasterId>) -> Result<Vec<i64>> {
    let query = "SELECT DISTINCT f.snapshotid FROM muster_in_force f JOIN masters m ON m.id = f.masterid \
                 WHERE m.last_active >= ? AND f.masterid <> ? ORDER BY f.snapshotid";
    let me = me.map_or(-1, |me| me.0);
    tx.query(query, params![since, me]).await?.iter().map(|row| row.int(0)).collect()
}
