//! Workers: who is configured where, who is connected, who may build.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use muster_core::{BuilderId, MasterId, WorkerId};

use crate::{
    Result, Row, Tx, Value,
    dialect::{expand_list, expand_rows, padded},
    names::found_next_time,
    params,
};

/// The worker of this name; makes its row when absent.
pub async fn find_or_create(tx: &Tx, name: &str) -> Result<WorkerId> {
    if let Some(row) = tx.query_opt("SELECT id FROM workers WHERE name = ?", params![name]).await? {
        return Ok(WorkerId(row.int(0)?));
    }
    let insert = "INSERT INTO workers (name, info, paused, graceful) VALUES (?, '{}', 0, 0)";
    found_next_time(tx, tx.insert(insert, params![name]).await).await.map(WorkerId)
}

/// Notes for which builders of `master` a worker is configured, and for no others.
pub async fn configure(tx: &Tx, master: MasterId, worker: WorkerId, builders: &[BuilderId]) -> Result<()> {
    let delete = "DELETE FROM configured_workers WHERE workerid = ? AND buildermasterid IN \
                  (SELECT id FROM builder_masters WHERE masterid = ?)";
    tx.later(delete, params![worker, master]).await?;
    for builder in builders {
        let insert = "INSERT INTO configured_workers (buildermasterid, workerid) \
                      SELECT id, ? FROM builder_masters WHERE masterid = ? AND builderid = ?";
        tx.later(insert, params![worker, master, *builder]).await?;
    }
    Ok(())
}

/// Notes that workers are connected, and what each told about itself (JSON).
pub async fn connected(tx: &Tx, master: MasterId, workers: &[(WorkerId, String)]) -> Result<()> {
    let ids: Vec<WorkerId> = workers.iter().map(|(worker, _)| *worker).collect();
    let insert = "INSERT INTO connected_workers (masterid, workerid) VALUES (??) ON CONFLICT DO NOTHING";
    let pairs = ids.iter().flat_map(|worker| params![master, *worker]).collect();
    rows(tx, insert, "(?, ?)", pairs).await?;
    tell_info(tx, workers).await?;
    // The next absence begins anew, however short this connection is.
    about(tx, "DELETE FROM muster_absent_workers WHERE workerid IN (??)", params![], &ids).await?;
    Ok(())
}

/// Writes only what is new: most workers come back as they were.
async fn tell_info(tx: &Tx, workers: &[(WorkerId, String)]) -> Result<()> {
    let ids: Vec<WorkerId> = workers.iter().map(|(worker, _)| *worker).collect();
    let query = expand_list("SELECT id, info FROM workers WHERE graceful = 0 AND id IN (??)", ids.len());
    let known = tx.query(&query, self::ids(&ids)).await?;
    let known: HashMap<WorkerId, String> =
        known.iter().map(|row| Ok((WorkerId(row.int(0)?), row.text(1)?))).collect::<Result<_>>()?;
    let news = || workers.iter().filter(|(worker, info)| known.get(worker) != Some(info));
    let ids: Vec<WorkerId> = news().map(|(worker, _)| *worker).collect();
    let cases = " WHEN ? THEN ?".repeat(ids.len());
    // SQL: as many marks as there are workers.
    let update =
        format!("UPDATE workers SET graceful = 0, info = CASE id{cases} ELSE info END WHERE id IN (??)");
    let values = news().flat_map(|(worker, info)| params![*worker, info]).collect();
    about(tx, &update, values, &ids).await.map(drop)
}

/// Notes that a worker is gone.
pub async fn disconnected(tx: &Tx, master: MasterId, worker: WorkerId) -> Result<()> {
    tx.later("DELETE FROM connected_workers WHERE masterid = ? AND workerid = ?", params![master, worker])
        .await
}

/// Pauses a worker (with the reason people see), or lets it build again.
pub async fn set_paused(tx: &Tx, worker: WorkerId, paused: bool, reason: Option<&str>) -> Result<()> {
    let update = "UPDATE workers SET paused = ?, pause_reason = ? WHERE id = ?";
    tx.later(update, params![paused, reason, worker]).await
}

/// Asks a worker to go when its builds are done.
pub async fn set_graceful(tx: &Tx, worker: WorkerId) -> Result<()> {
    tx.later("UPDATE workers SET graceful = 1 WHERE id = ?", params![worker]).await
}

/// The workers that may take no builds: paused, or asked to go.
pub async fn barred(tx: &Tx) -> Result<Vec<WorkerId>> {
    let rows = tx.query("SELECT id FROM workers WHERE paused = 1 OR graceful = 1", params![]).await?;
    rows.iter().map(|row| row.int(0).map(WorkerId)).collect()
}

/// Says how many builds a master lets each of these workers run at a time; the others as many as come.
pub async fn set_limits(tx: &Tx, master: MasterId, limits: &[(WorkerId, u32)]) -> Result<()> {
    tx.later("DELETE FROM muster_worker_limits WHERE masterid = ?", params![master]).await?;
    for (worker, max_builds) in limits {
        let insert = "INSERT INTO muster_worker_limits (masterid, workerid, max_builds) VALUES (?, ?, ?)";
        tx.later(insert, params![master, *worker, i64::from(*max_builds).min(i64::from(i32::MAX))]).await?;
    }
    Ok(())
}

/// How many builds each worker may run at a time, by the masters that are up.
pub async fn limits(tx: &Tx) -> Result<BTreeMap<WorkerId, i64>> {
    let query = "SELECT l.workerid, max(l.max_builds) FROM muster_worker_limits l JOIN masters m ON m.id = l.masterid \
                 WHERE m.active = 1 GROUP BY l.workerid";
    let rows = tx.query(query, params![]).await?;
    rows.iter().map(|row| Ok((WorkerId(row.int(0)?), row.int(1)?))).collect()
}

/// A worker's dial for its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dial {
    /// Who dials.
    pub worker: WorkerId,
    /// The life of its process.
    pub boot_id: String,
    /// Higher than that of any dial before, over all lives. From 1.
    pub dial_no: i64,
    /// The incarnation of the gateway that dials for a stock worker.
    pub gateway: Option<String>,
}

/// Whether a dial of a worker wins its session: the outcome of [`win_sessions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialOutcome {
    /// The session is ours.
    Won,
    /// A later dial was here already.
    Lost {
        /// Its number, or that of the last one that was given out.
        highest: i64,
    },
}

/// A session's row, locked.
struct Session {
    dial_no: i64,
    epoch: i64,
}

/// Takes workers' sessions by compare-and-set: only a dial with a higher number than any before it wins, also that of a
/// new life. Each worker stands there once; the outcomes are in the same order. A stored number above `plausible` was never
/// a worker's: it counts for nothing.
pub async fn win_sessions(
    tx: &Tx,
    dials: &[Dial],
    holder: MasterId,
    plausible: i64,
) -> Result<Vec<DialOutcome>> {
    let workers: Vec<WorkerId> = dials.iter().map(|dial| dial.worker).collect();
    let sessions = lock_sessions(tx, &workers).await?;
    let mut outcomes = Vec::with_capacity(dials.len());
    let (mut won, mut lives) = (Vec::new(), Vec::new());
    for dial in dials {
        let Session { dial_no: highest, epoch } = sessions[&dial.worker];
        if dial.dial_no <= highest && highest <= plausible {
            outcomes.push(DialOutcome::Lost { highest });
            continue;
        }
        outcomes.push(DialOutcome::Won);
        won.extend(params![dial.worker, &dial.boot_id, dial.dial_no, holder, epoch + 1]);
        if let Some(gateway) = &dial.gateway {
            lives.extend(params![dial.worker, &dial.boot_id, gateway]);
        }
    }
    let upsert = "INSERT INTO muster_sessions (workerid, boot_id, dial_no, holder, epoch) VALUES (??) \
                  ON CONFLICT (workerid) DO UPDATE SET boot_id = excluded.boot_id, dial_no = excluded.dial_no, \
                  holder = excluded.holder, epoch = excluded.epoch";
    rows(tx, upsert, "(?, ?, ?, ?, ?)", won).await?;
    let upsert = "INSERT INTO muster_stock_lives (workerid, boot_id, gateway) VALUES (??) \
                  ON CONFLICT (workerid) DO UPDATE SET boot_id = excluded.boot_id, gateway = excluded.gateway";
    rows(tx, upsert, "(?, ?, ?)", lives).await?;
    Ok(outcomes)
}

/// Gives out `count` dial numbers for each of these workers, to who dials for them: all dials before have lower ones.
/// Answers the number before the first, by worker.
pub async fn reserve_dials(
    tx: &Tx,
    workers: &[WorkerId],
    count: i64,
    plausible: i64,
) -> Result<HashMap<WorkerId, i64>> {
    let mut sessions = lock_sessions(tx, workers).await?;
    for (worker, session) in sessions.iter_mut().filter(|(_, session)| session.dial_no > plausible) {
        session.dial_no = 0;
        tx.execute("UPDATE muster_sessions SET dial_no = 0 WHERE workerid = ?", params![*worker]).await?;
    }
    let update = "UPDATE muster_sessions SET dial_no = dial_no + ? WHERE workerid IN (??)";
    about(tx, update, params![count], workers).await?;
    Ok(sessions.into_iter().map(|(worker, session)| (worker, session.dial_no + count)).collect())
}

/// Locks the sessions of workers, in the order of their ids; makes those that are missing, for nobody.
async fn lock_sessions(tx: &Tx, workers: &[WorkerId]) -> Result<HashMap<WorkerId, Session>> {
    let found = locked_sessions(tx, workers).await?;
    let missing: Vec<Value> =
        workers.iter().filter(|worker| !found.contains_key(worker)).map(|worker| (*worker).into()).collect();
    if missing.is_empty() {
        return Ok(found);
    }
    let insert = "INSERT INTO muster_sessions (workerid, boot_id, dial_no, holder, epoch) VALUES (??) \
                  ON CONFLICT DO NOTHING";
    rows(tx, insert, "(?, '', 0, 0, 0)", missing).await?;
    locked_sessions(tx, workers).await
}

async fn locked_sessions(tx: &Tx, workers: &[WorkerId]) -> Result<HashMap<WorkerId, Session>> {
    let query = "SELECT workerid, dial_no, epoch FROM muster_sessions WHERE workerid IN (??) \
                 ORDER BY workerid FOR UPDATE";
    let rows = tx.query(&expand_list(query, workers.len()), ids(workers)).await?;
    let session =
        |row: &Row| Ok((WorkerId(row.int(0)?), Session { dial_no: row.int(1)?, epoch: row.int(2)? }));
    rows.iter().map(session).collect()
}

pub(crate) fn ids(workers: &[WorkerId]) -> Vec<Value> {
    workers.iter().map(|worker| (*worker).into()).collect()
}

/// Executes a statement about a list of workers, after its other parameters.
pub(crate) async fn about(
    tx: &Tx,
    statement: &str,
    mut values: Vec<Value>,
    workers: &[WorkerId],
) -> Result<u64> {
    if workers.is_empty() {
        return Ok(0);
    }
    values.extend(ids(workers));
    tx.execute(&expand_list(statement, workers.len()), values).await
}

/// Executes a statement with as many rows as `values` are for.
async fn rows(tx: &Tx, statement: &str, row: &str, values: Vec<Value>) -> Result<()> {
    let marks = row.matches('?').count();
    debug_assert_eq!(values.len() % marks, 0);
    if values.is_empty() {
        return Ok(());
    }
    tx.later(&expand_rows(statement, row, values.len() / marks), values).await
}

/// Forgets who has which worker: the next dial of each wins.
pub async fn forget_sessions(tx: &Tx) -> Result<()> {
    tx.execute("DELETE FROM muster_sessions", params![]).await?;
    tx.later("DELETE FROM connected_workers", params![]).await
}

/// Those of the workers whose session is with this master, and stays there until the transaction ends: a dial to another
/// master comes before it or waits, so that it sees what is started on the worker here. A worker that is paused or asked
/// to go counts as elsewhere.
pub async fn may_start(tx: &Tx, workers: &[WorkerId], master: MasterId) -> Result<BTreeSet<WorkerId>> {
    let query = "SELECT s.workerid FROM muster_sessions s JOIN workers w ON w.id = s.workerid \
                 WHERE s.holder = ? AND w.paused = 0 AND w.graceful = 0 AND s.workerid IN (??) \
                 ORDER BY s.workerid FOR UPDATE";
    let workers = padded(ids(workers));
    let query = expand_list(query, workers.len());
    let rows = tx.query(&query, params![master].into_iter().chain(workers).collect()).await?;
    rows.iter().map(|row| row.int(0).map(WorkerId)).collect()
}
