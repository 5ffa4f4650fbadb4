//! Workers: who is configured where, who is connected, who may build.

use muster_core::{BuilderId, MasterId, WorkerId};

use crate::{Result, Tx, names::found_next_time, params};

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
    tx.execute(delete, params![worker, master]).await?;
    for builder in builders {
        let insert = "INSERT INTO configured_workers (buildermasterid, workerid) \
                      SELECT id, ? FROM builder_masters WHERE masterid = ? AND builderid = ?";
        tx.execute(insert, params![worker, master, *builder]).await?;
    }
    Ok(())
}

/// Notes that a worker is connected, and what it told about itself.
pub async fn connected(tx: &Tx, master: MasterId, worker: WorkerId, info: &str) -> Result<()> {
    let insert = "INSERT INTO connected_workers (masterid, workerid) VALUES (?, ?) ON CONFLICT DO NOTHING";
    tx.execute(insert, params![master, worker]).await?;
    tx.execute("UPDATE workers SET info = ?, graceful = 0 WHERE id = ?", params![info, worker]).await?;
    // The next absence begins anew, however short this connection is.
    tx.execute("DELETE FROM muster_absent_workers WHERE workerid = ?", params![worker]).await?;
    Ok(())
}

/// Notes that a worker is gone.
pub async fn disconnected(tx: &Tx, master: MasterId, worker: WorkerId) -> Result<()> {
    tx.execute("DELETE FROM connected_workers WHERE masterid = ? AND workerid = ?", params![master, worker])
        .await?;
    Ok(())
}

/// Pauses a worker (with the reason people see), or lets it build again.
pub async fn set_paused(tx: &Tx, worker: WorkerId, paused: bool, reason: Option<&str>) -> Result<()> {
    let update = "UPDATE workers SET paused = ?, pause_reason = ? WHERE id = ?";
    tx.execute(update, params![paused, reason, worker]).await?;
    Ok(())
}

/// Asks a worker to go when its builds are done.
pub async fn set_graceful(tx: &Tx, worker: WorkerId) -> Result<()> {
    tx.execute("UPDATE workers SET graceful = 1 WHERE id = ?", params![worker]).await?;
    Ok(())
}

/// The workers that may take no builds: paused, or asked to go.
pub async fn barred(tx: &Tx) -> Result<Vec<WorkerId>> {
    let rows = tx.query("SELECT id FROM workers WHERE paused = 1 OR graceful = 1", params![]).await?;
    rows.iter().map(|row| row.int(0).map(WorkerId)).collect()
}

/// Whether a dial of a worker wins its session: the outcome of [`win_session`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dial {
    /// The session is ours.
    Won,
    /// A later dial of the same life was here already.
    Lost,
}

/// Takes a worker's session by compare-and-set: the highest dial of a life wins, and a new life always does.
pub async fn win_session(
    tx: &Tx,
    worker: WorkerId,
    boot_id: &str,
    dial_no: i64,
    holder: MasterId,
) -> Result<Dial> {
    let query = "SELECT boot_id, dial_no FROM muster_sessions WHERE workerid = ? FOR UPDATE";
    let Some(row) = tx.query_opt(query, params![worker]).await? else {
        let insert =
            "INSERT INTO muster_sessions (workerid, boot_id, dial_no, holder, epoch) VALUES (?, ?, ?, ?, 1)";
        found_next_time(tx, tx.execute(insert, params![worker, boot_id, dial_no, holder]).await).await?;
        return Ok(Dial::Won);
    };
    let new_life = row.text(0)? != boot_id;
    if !new_life && row.int(1)? >= dial_no {
        return Ok(Dial::Lost);
    }
    let update = "UPDATE muster_sessions SET boot_id = ?, dial_no = ?, holder = ?, epoch = epoch + 1 WHERE workerid = ?";
    tx.execute(update, params![boot_id, dial_no, holder, worker]).await?;
    Ok(Dial::Won)
}

/// Forgets who has which worker: the next dial of each wins.
pub async fn forget_sessions(tx: &Tx) -> Result<()> {
    tx.execute("DELETE FROM muster_sessions", params![]).await?;
    tx.execute("DELETE FROM connected_workers", params![]).await?;
    Ok(())
}

/// Whether a worker's session is with this master, and stays there until the transaction ends: a dial to another master
/// comes before it or waits, so that it sees what is started on the worker here. A worker that is paused or asked to go
/// counts as elsewhere.
pub async fn may_start(tx: &Tx, worker: WorkerId, master: MasterId) -> Result<bool> {
    let query = "SELECT 1 FROM muster_sessions s JOIN workers w ON w.id = s.workerid \
                 WHERE s.workerid = ? AND s.holder = ? AND w.paused = 0 AND w.graceful = 0 FOR UPDATE";
    Ok(tx.query_opt(query, params![worker, master]).await?.is_some())
}
