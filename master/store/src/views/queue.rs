//! What runs, and what waits.

use muster_core::{BuildId, BuilderId, MasterId, RequestId, Timestamp, WorkerId};
use serde::Serialize;

use crate::{Result, Row, Tx, params};

/// A build that runs now.
#[derive(Clone, Debug, Serialize)]
pub struct RunningBuild {
    /// Its id.
    pub id: BuildId,
    /// Its number.
    pub number: i64,
    /// Its builder.
    pub builder: BuilderId,
    /// Its builder's name.
    pub builder_name: String,
    /// Its worker.
    pub worker: Option<WorkerId>,
    /// Its worker's name.
    pub worker_name: Option<String>,
    /// The master that runs it.
    pub master: MasterId,
    /// When it began.
    pub started_at: Timestamp,
    /// What it does.
    pub state_string: String,
}

/// A request that nobody has taken yet.
#[derive(Clone, Debug, Serialize)]
pub struct PendingLine {
    /// Its id.
    pub id: RequestId,
    /// Its builder.
    pub builder: BuilderId,
    /// Its builder's name.
    pub builder_name: String,
    /// Higher goes first.
    pub priority: i64,
    /// When it was made.
    pub submitted_at: Timestamp,
    /// Why it was made.
    pub reason: String,
    /// Branch of its first source.
    pub branch: Option<String>,
    /// Revision of its first source.
    pub revision: Option<String>,
}

/// The queue in two figures.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct PendingSummary {
    /// Requests that wait.
    pub count: i64,
    /// When the oldest of them was made.
    pub oldest: Option<Timestamp>,
}

/// The builds that run, oldest first. They are found through the open requests, which have an index.
pub async fn running(tx: &Tx, limit: i64) -> Result<Vec<RunningBuild>> {
    let query = "SELECT b.id, b.number, b.builderid, x.name, b.workerid, w.name, b.masterid, b.started_at, \
                 b.state_string FROM buildrequests r JOIN builds b ON b.buildrequestid = r.id \
                 JOIN builders x ON x.id = b.builderid LEFT JOIN workers w ON w.id = b.workerid \
                 WHERE r.complete = 0 AND b.complete_at IS NULL ORDER BY b.id LIMIT ?";
    let build = |row: &Row| {
        Ok(RunningBuild {
            id: BuildId(row.int(0)?),
            number: row.int(1)?,
            builder: BuilderId(row.int(2)?),
            builder_name: row.text(3)?,
            worker: row.opt_int(4)?.map(WorkerId),
            worker_name: row.opt_text(5)?,
            master: MasterId(row.int(6)?),
            started_at: row.time(7)?,
            state_string: row.text(8)?,
        })
    };
    tx.query(query, params![limit]).await?.iter().map(build).collect()
}

/// Requests that wait, of one builder or of all, in the order of priority and age.
pub async fn pending(tx: &Tx, only: Option<BuilderId>, limit: i64) -> Result<Vec<PendingLine>> {
    let query = "SELECT r.id, r.builderid, x.name, r.priority, r.submitted_at, s.reason, ss.branch, ss.revision \
                 FROM buildrequests r JOIN builders x ON x.id = r.builderid JOIN buildsets s ON s.id = r.buildsetid \
                 LEFT JOIN sourcestamps ss ON ss.id = (SELECT min(bs.sourcestampid) FROM buildset_sourcestamps bs \
                 WHERE bs.buildsetid = r.buildsetid) \
                 WHERE r.complete = 0 AND r.builderid = COALESCE(?1, r.builderid) \
                 AND NOT EXISTS (SELECT 1 FROM buildrequest_claims c WHERE c.brid = r.id) \
                 ORDER BY r.priority DESC, r.id LIMIT ?2";
    let request = |row: &Row| {
        Ok(PendingLine {
            id: RequestId(row.int(0)?),
            builder: BuilderId(row.int(1)?),
            builder_name: row.text(2)?,
            priority: row.int(3)?,
            submitted_at: row.time(4)?,
            reason: row.opt_text(5)?.unwrap_or_default(),
            branch: row.opt_text(6)?,
            revision: row.opt_text(7)?,
        })
    };
    tx.query(query, params![only, limit]).await?.iter().map(request).collect()
}

/// How many requests wait, and since when.
pub async fn pending_summary(tx: &Tx) -> Result<PendingSummary> {
    let query = "SELECT count(*), min(r.submitted_at) FROM buildrequests r WHERE r.complete = 0 \
                 AND NOT EXISTS (SELECT 1 FROM buildrequest_claims c WHERE c.brid = r.id)";
    let row = tx.query_opt(query, params![]).await?;
    let Some(row) = row else { return Ok(PendingSummary { count: 0, oldest: None }) };
    Ok(PendingSummary { count: row.int(0)?, oldest: row.opt_time(1)? })
}

/// How many builds run under a Muster master.
pub async fn running_count(tx: &Tx) -> Result<i64> {
    let row = tx.query_opt("SELECT count(*) FROM muster_runs", params![]).await?;
    row.map_or(Ok(0), |row| row.int(0))
}
