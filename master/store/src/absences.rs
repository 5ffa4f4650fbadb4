//! Workers that are configured and not connected, and who was told about it.

use muster_core::{Timestamp, WorkerId};

use crate::{Result, Row, Tx, params};

/// How far the word about an absent worker has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Told {
    /// Nobody was told.
    Nobody,
    /// The event is out; reporters are at work.
    Event,
    /// All is done.
    Everybody,
}

/// An absent worker.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Absence {
    pub worker: WorkerId,
    pub name: String,
    pub since: Timestamp,
    pub told: Told,
    /// When `told` was raised.
    pub told_at: Timestamp,
}

impl Told {
    fn code(self) -> i64 {
        match self {
            Told::Nobody => 0,
            Told::Event => 1,
            Told::Everybody => 2,
        }
    }

    fn of(code: i64) -> Told {
        match code {
            0 => Told::Nobody,
            1 => Told::Event,
            _ => Told::Everybody,
        }
    }
}

/// Makes the rows what is true now: a row for each configured worker that is not connected.
pub async fn refresh(tx: &Tx, now: Timestamp) -> Result<()> {
    let delete = "DELETE FROM muster_absent_workers WHERE workerid IN (SELECT workerid FROM connected_workers) \
                  OR workerid NOT IN (SELECT workerid FROM configured_workers)";
    tx.later(delete, params![]).await?;
    let insert = "INSERT INTO muster_absent_workers (workerid, since, told, told_at) \
                  SELECT w.id, ?, 0, 0 FROM workers w \
                  WHERE w.id IN (SELECT workerid FROM configured_workers) AND w.id NOT IN (SELECT workerid FROM connected_workers) \
                  AND w.id NOT IN (SELECT workerid FROM muster_absent_workers) ON CONFLICT DO NOTHING";
    tx.later(insert, params![now]).await
}

/// Whether [`refresh`] would change anything.
pub async fn is_stale(tx: &Tx) -> Result<bool> {
    let query = "SELECT 1 FROM muster_absent_workers WHERE workerid IN (SELECT workerid FROM connected_workers) \
                 OR workerid NOT IN (SELECT workerid FROM configured_workers) \
                 UNION ALL SELECT 1 FROM configured_workers \
                 WHERE workerid NOT IN (SELECT workerid FROM connected_workers) \
                 AND workerid NOT IN (SELECT workerid FROM muster_absent_workers) LIMIT 1";
    Ok(tx.query_opt(query, params![]).await?.is_some())
}

/// The absent workers about which not everybody was told.
pub async fn open(tx: &Tx) -> Result<Vec<Absence>> {
    let query = "SELECT a.workerid, w.name, a.since, a.told, a.told_at FROM muster_absent_workers a \
                 JOIN workers w ON w.id = a.workerid WHERE a.told < 2 ORDER BY a.workerid";
    tx.query(query, params![]).await?.iter().map(absence).collect()
}

fn absence(row: &Row) -> Result<Absence> {
    Ok(Absence {
        worker: WorkerId(row.int(0)?),
        name: row.text(1)?,
        since: row.time(2)?,
        told: Told::of(row.int(3)?),
        told_at: row.time(4)?,
    })
}

/// Raises how far the word has come, or when. `false`: somebody else did, or the worker is back.
pub async fn tell(tx: &Tx, seen: &Absence, told: Told, now: Timestamp) -> Result<bool> {
    let update = "UPDATE muster_absent_workers SET told = ?, told_at = ? \
                  WHERE workerid = ? AND since = ? AND told = ? AND told_at = ?";
    let values = params![told.code(), now, seen.worker, seen.since, seen.told.code(), seen.told_at];
    Ok(tx.execute(update, values).await? == 1)
}
