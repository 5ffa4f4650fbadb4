//! Workers and masters.

use muster_core::{BuilderId, MasterId, Timestamp, WorkerId};
use serde::Serialize;

use crate::{Result, Row, Tx, params};

/// A worker, as lists show it.
#[derive(Clone, Debug, Serialize)]
pub struct WorkerLine {
    /// Its id.
    pub id: WorkerId,
    /// Its name.
    pub name: String,
    /// What it told about itself.
    pub info: serde_json::Value,
    /// Whether it takes no builds.
    pub paused: bool,
    /// Why it was paused.
    pub pause_reason: Option<String>,
    /// Whether it goes when its builds are done.
    pub graceful: bool,
    /// Whether a master that is up holds its connection.
    pub connected: bool,
    /// Whether a master that is up has it configured.
    pub configured: bool,
}

/// One worker of one builder.
#[derive(Clone, Debug, Serialize)]
pub struct BuilderWorker {
    /// The builder.
    pub builder: BuilderId,
    /// The worker.
    pub worker: WorkerId,
}

/// A master with what Muster knows about it.
#[derive(Clone, Debug, Serialize)]
pub struct MasterLine {
    /// Its id.
    pub id: MasterId,
    /// Its name.
    pub name: String,
    /// Whether it says that it is up.
    pub active: bool,
    /// When it said so last.
    pub last_active: Timestamp,
    /// Its version; `None` for a Python master.
    pub version: Option<String>,
    /// Where it is in its life (`running`, `handing-off` …); `None` for a Python master.
    pub state: Option<String>,
}

/// All workers, by name, at most `limit`.
pub async fn workers(tx: &Tx, limit: i64) -> Result<Vec<WorkerLine>> {
    let query = "SELECT w.id, w.name, w.info, w.paused, w.pause_reason, w.graceful, \
                 EXISTS (SELECT 1 FROM connected_workers c JOIN masters m ON m.id = c.masterid \
                 WHERE c.workerid = w.id AND m.active = 1), \
                 EXISTS (SELECT 1 FROM configured_workers c JOIN builder_masters bm ON bm.id = c.buildermasterid \
                 JOIN masters m ON m.id = bm.masterid WHERE c.workerid = w.id AND m.active = 1) \
                 FROM workers w ORDER BY w.name LIMIT ?";
    let worker = |row: &Row| {
        Ok(WorkerLine {
            id: WorkerId(row.int(0)?),
            name: row.text(1)?,
            info: row.json(2)?,
            paused: row.bool(3)?,
            pause_reason: row.opt_text(4)?,
            graceful: row.bool(5)?,
            connected: row.bool(6)?,
            configured: row.bool(7)?,
        })
    };
    tx.query(query, params![limit]).await?.iter().map(worker).collect()
}

/// Which workers each builder (or one) may use, on masters that are up.
pub async fn workers_of_builders(tx: &Tx, only: Option<BuilderId>) -> Result<Vec<BuilderWorker>> {
    let query = "SELECT DISTINCT bm.builderid, c.workerid FROM builder_masters bm \
                 JOIN masters m ON m.id = bm.masterid JOIN configured_workers c ON c.buildermasterid = bm.id \
                 WHERE m.active = 1 AND bm.builderid = COALESCE(?1, bm.builderid)";
    let rows = tx.query(query, params![only]).await?;
    rows.iter()
        .map(|row| Ok(BuilderWorker { builder: BuilderId(row.int(0)?), worker: WorkerId(row.int(1)?) }))
        .collect()
}

/// A master that is up and has a builder.
#[derive(Clone, Debug)]
pub struct BuilderMaster {
    /// The builder.
    pub builder: BuilderId,
    /// The master's name.
    pub name: String,
    /// Where it is in its life; `None` for a Python master.
    pub state: Option<String>,
}

/// Which masters that are up have each builder (or one).
pub async fn masters_of_builders(tx: &Tx, only: Option<BuilderId>) -> Result<Vec<BuilderMaster>> {
    let query = "SELECT bm.builderid, m.name, mm.state FROM builder_masters bm JOIN masters m ON m.id = bm.masterid \
                 LEFT JOIN muster_masters mm ON mm.masterid = m.id \
                 WHERE m.active = 1 AND bm.builderid = COALESCE(?1, bm.builderid) ORDER BY m.name";
    let master = |row: &Row| {
        Ok(BuilderMaster { builder: BuilderId(row.int(0)?), name: row.text(1)?, state: row.opt_text(2)? })
    };
    tx.query(query, params![only]).await?.iter().map(master).collect()
}

/// All masters, by name.
pub async fn masters(tx: &Tx) -> Result<Vec<MasterLine>> {
    let query = "SELECT m.id, m.name, m.active, m.last_active, mm.version, mm.state FROM masters m \
                 LEFT JOIN muster_masters mm ON mm.masterid = m.id ORDER BY m.name";
    let master = |row: &Row| {
        Ok(MasterLine {
            id: MasterId(row.int(0)?),
            name: row.text(1)?,
            active: row.bool(2)?,
            last_active: row.time(3)?,
            version: row.opt_text(4)?,
            state: row.opt_text(5)?,
        })
    };
    tx.query(query, params![]).await?.iter().map(master).collect()
}
