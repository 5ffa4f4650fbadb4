//! Lists of builds with what led to them.

use muster_core::{BuildId, BuilderId, Results, Timestamp, WorkerId};
use serde::Serialize;

use crate::{Result, Row, Tx, Value, params};

/// A build as lists show it.
#[derive(Clone, Debug, Serialize)]
pub struct BuildLine {
    /// Its id.
    pub id: BuildId,
    /// Its builder.
    pub builder: BuilderId,
    /// Its builder's name.
    pub builder_name: String,
    /// Its number there.
    pub number: i64,
    /// `None` while it runs.
    pub results: Option<Results>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub complete_at: Option<Timestamp>,
    /// Its state, for people.
    pub state_string: String,
    /// Its worker's name.
    pub worker_name: Option<String>,
    /// Why it was made.
    pub reason: String,
    /// Branch of its first source.
    pub branch: Option<String>,
    /// Revision of its first source.
    pub revision: Option<String>,
}

const BUILDS: &str = "SELECT b.id, b.builderid, x.name, b.number, b.results, b.started_at, b.complete_at, \
                      b.state_string, w.name, s.reason, ss.branch, ss.revision FROM builds b \
                      JOIN builders x ON x.id = b.builderid JOIN buildrequests r ON r.id = b.buildrequestid \
                      JOIN buildsets s ON s.id = r.buildsetid LEFT JOIN workers w ON w.id = b.workerid \
                      LEFT JOIN sourcestamps ss ON ss.id = (SELECT min(bs.sourcestampid) \
                      FROM buildset_sourcestamps bs WHERE bs.buildsetid = s.id)";

async fn lines(tx: &Tx, which: &str, params: Vec<Value>) -> Result<Vec<BuildLine>> {
    // The ids are found first: joins and their order can't tempt the engine away from the one index that counts.
    // SQL: both parts are constants of this module.
    let query = format!("{BUILDS} WHERE b.id IN ({which}) ORDER BY b.id DESC");
    let build = |row: &Row| {
        Ok(BuildLine {
            id: BuildId(row.int(0)?),
            builder: BuilderId(row.int(1)?),
            builder_name: row.text(2)?,
            number: row.int(3)?,
            results: row.results(4)?,
            started_at: row.time(5)?,
            complete_at: row.opt_time(6)?,
            state_string: row.text(7)?,
            worker_name: row.opt_text(8)?,
            reason: row.opt_text(9)?.unwrap_or_default(),
            branch: row.opt_text(10)?,
            revision: row.opt_text(11)?,
        })
    };
    tx.query(&query, params).await?.iter().map(build).collect()
}

/// The newest builds.
pub async fn latest_builds(tx: &Tx, limit: i64) -> Result<Vec<BuildLine>> {
    lines(tx, "SELECT id FROM (SELECT id FROM builds ORDER BY id DESC LIMIT ?) newest", params![limit]).await
}

/// The newest builds of a builder, below a number where one is given.
pub async fn builds_of_builder(
    tx: &Tx,
    builder: BuilderId,
    below: Option<i64>,
    limit: i64,
) -> Result<Vec<BuildLine>> {
    let which = "SELECT id FROM (SELECT id FROM builds WHERE builderid = ? AND number < ? \
                 ORDER BY number DESC LIMIT ?) newest";
    lines(tx, which, params![builder, below.unwrap_or(i64::MAX), limit]).await
}

/// The newest builds of a worker.
pub async fn builds_of_worker(tx: &Tx, worker: WorkerId, limit: i64) -> Result<Vec<BuildLine>> {
    let which = "SELECT id FROM (SELECT id FROM builds WHERE workerid = ? ORDER BY id DESC LIMIT ?) newest";
    lines(tx, which, params![worker, limit]).await
}
