//! The cluster as its operators see it: masters, and builds with their owners.

use muster_core::{BuildId, Epoch, MasterId, Timestamp};

use crate::{Result, Tx, params};

/// A master of either kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterMaster {
    /// Its id.
    pub id: MasterId,
    /// Its name.
    pub name: String,
    /// Buildbot's flag.
    pub active: bool,
    /// Buildbot's heartbeat.
    pub last_active: Timestamp,
    /// What only Muster's masters have.
    pub lease: Option<LeaseLine>,
}

/// A master's lease.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct LeaseLine {
    pub roles: String,
    pub version: String,
    pub state: String,
    /// It grows as long as the master can renew its lease.
    pub counter: i64,
    pub started_at: Timestamp,
}

/// All masters that ever were, by id.
pub async fn cluster_masters(tx: &Tx) -> Result<Vec<ClusterMaster>> {
    let query = "SELECT m.id, m.name, m.active, m.last_active, l.roles, l.version, l.state, l.counter, l.started_at \
                 FROM masters m LEFT JOIN muster_masters l ON l.masterid = m.id ORDER BY m.id";
    let rows = tx.query(query, params![]).await?;
    rows.iter()
        .map(|row| {
            let lease = match row.opt_text(4)? {
                None => None,
                Some(roles) => Some(LeaseLine {
                    roles,
                    version: row.text(5)?,
                    state: row.text(6)?,
                    counter: row.int(7)?,
                    started_at: row.time(8)?,
                }),
            };
            Ok(ClusterMaster {
                id: MasterId(row.int(0)?),
                name: row.text(1)?,
                active: row.bool(2)?,
                last_active: row.time(3)?,
                lease,
            })
        })
        .collect()
}

/// A build under way, of either kind of master.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ClusterRun {
    pub build: BuildId,
    pub builder: String,
    pub number: i64,
    pub worker: Option<String>,
    pub master: Option<String>,
    /// None for a build of a Python master.
    pub epoch: Option<Epoch>,
    pub started_at: Timestamp,
    pub state: String,
}

/// All builds under way, oldest first, at most `limit`.
pub async fn cluster_runs(tx: &Tx, limit: i64) -> Result<Vec<ClusterRun>> {
    let query = "SELECT b.id, u.name, b.number, w.name, m.name, r.epoch, b.started_at, b.state_string FROM buildrequests q \
                 JOIN builds b ON b.buildrequestid = q.id JOIN builders u ON u.id = b.builderid LEFT JOIN workers w ON w.id = b.workerid \
                 LEFT JOIN muster_runs r ON r.buildid = b.id LEFT JOIN masters m ON m.id = COALESCE(r.owner, b.masterid) \
                 WHERE q.complete = 0 AND b.complete_at IS NULL ORDER BY b.id LIMIT ?";
    let rows = tx.query(query, params![limit]).await?;
    rows.iter()
        .map(|row| {
            Ok(ClusterRun {
                build: BuildId(row.int(0)?),
                builder: row.text(1)?,
                number: row.int(2)?,
                worker: row.opt_text(3)?,
                master: row.opt_text(4)?,
                epoch: row.opt_int(5)?.map(Epoch),
                started_at: row.time(6)?,
                state: row.text(7)?,
            })
        })
        .collect()
}
