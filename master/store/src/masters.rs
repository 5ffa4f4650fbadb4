//! Masters: Buildbot's rows and our leases.

use muster_core::{Master, MasterId, Roles, Timestamp};

use crate::{Error, Result, Row, Tx, names::NamedTable, params};

const MASTERS: NamedTable = NamedTable {
    select: "SELECT id FROM masters WHERE name_hash = ?",
    insert: "INSERT INTO masters (name, name_hash, active, last_active) VALUES (?, ?, 0, 0)",
};

/// The master's id by its name, `host:basedir`; makes an inactive row when absent.
pub async fn find_or_create(tx: &Tx, name: &str) -> Result<MasterId> {
    MASTERS.find_or_create(tx, name).await.map(MasterId)
}

/// One master.
pub async fn by_id(tx: &Tx, id: MasterId) -> Result<Option<Master>> {
    let query = "SELECT id, name, active, last_active FROM masters WHERE id = ?";
    tx.query_opt(query, params![id]).await?.map(|row| from_row(&row)).transpose()
}

/// Whether a master is one of Muster, and not one of Buildbot that shares the database.
pub async fn is_ours(tx: &Tx, id: MasterId) -> Result<bool> {
    let query = "SELECT 1 FROM muster_masters WHERE masterid = ?";
    Ok(tx.query_opt(query, params![id]).await?.is_some())
}

pub(crate) fn from_row(row: &Row) -> Result<Master> {
    Ok(Master {
        id: MasterId(row.int(0)?),
        name: row.text(1)?,
        active: row.bool(2)?,
        last_active: row.time(3)?,
    })
}

/// Sets Buildbot's flag and heartbeat, which Python masters look at.
pub async fn set_active(tx: &Tx, id: MasterId, active: bool, now: Timestamp) -> Result<()> {
    let update = "UPDATE masters SET active = ?, last_active = ? WHERE id = ?";
    tx.execute(update, params![active, now, id]).await?;
    Ok(())
}

/// Forgets which builders, workers, schedulers and change sources a master had: it stopped, or starts anew.
pub async fn forget_configuration(tx: &Tx, id: MasterId) -> Result<()> {
    let statements = [
        "DELETE FROM configured_workers WHERE buildermasterid IN (SELECT id FROM builder_masters WHERE masterid = ?)",
        "DELETE FROM builder_masters WHERE masterid = ?",
        "DELETE FROM scheduler_masters WHERE masterid = ?",
        "DELETE FROM changesource_masters WHERE masterid = ?",
        "DELETE FROM connected_workers WHERE masterid = ?",
    ];
    for statement in statements {
        tx.execute(statement, params![id]).await?;
    }
    Ok(())
}

/// Takes the lease of a master under a new incarnation.
pub async fn take_lease(tx: &Tx, id: MasterId, life: &Life, now: Timestamp) -> Result<()> {
    tx.execute("DELETE FROM muster_masters WHERE masterid = ?", params![id]).await?;
    let insert = "INSERT INTO muster_masters (masterid, incarnation, counter, roles, version, state, started_at) \
                  VALUES (?, ?, 0, ?, ?, 'running', ?)";
    let (roles, version) = (life.roles.to_string(), &life.version);
    tx.execute(insert, params![id, &life.incarnation, roles, version, now]).await?;
    set_addresses(tx, id, &life.sessions).await
}

/// One life of a master's process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// Unique to it.
    pub incarnation: String,
    /// What it does.
    pub roles: Roles,
    /// Of the program.
    pub version: String,
    /// Where workers reach its engine (`ws://HOST:PORT`).
    pub sessions: Vec<String>,
}

/// Longest list of session addresses, as the column has it.
const MAX_ADDRESSES: usize = 2048;

async fn set_addresses(tx: &Tx, id: MasterId, sessions: &[String]) -> Result<()> {
    tx.execute("DELETE FROM muster_addresses WHERE masterid = ?", params![id]).await?;
    let text = sessions.join(" ");
    if text.len() > MAX_ADDRESSES {
        return Err(Error::Data(format!("the session addresses are longer than {MAX_ADDRESSES} characters")));
    }
    if !text.is_empty() {
        let insert = "INSERT INTO muster_addresses (masterid, sessions) VALUES (?, ?)";
        tx.execute(insert, params![id, text]).await?;
    }
    Ok(())
}

/// An engine that takes workers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct EngineAddress {
    pub master: MasterId,
    pub sessions: Vec<String>,
}

/// The engines that take workers now: neither going nor gone.
pub async fn live_engines(tx: &Tx) -> Result<Vec<EngineAddress>> {
    let query = "SELECT a.masterid, a.sessions FROM muster_addresses a JOIN muster_masters m \
                 ON m.masterid = a.masterid WHERE m.state = 'running' ORDER BY a.masterid";
    let rows = tx.query(query, params![]).await?;
    rows.iter()
        .map(|row| {
            let sessions = row.text(1)?.split(' ').map(str::to_owned).collect();
            Ok(EngineAddress { master: MasterId(row.int(0)?), sessions })
        })
        .collect()
}

/// Raises the lease's counter. `false`: another incarnation has it, or others have taken over; this one must stop
/// acting.
pub async fn renew_lease(tx: &Tx, id: MasterId, incarnation: &str) -> Result<bool> {
    let update = "UPDATE muster_masters SET counter = counter + 1 \
                  WHERE masterid = ? AND incarnation = ? AND state <> 'expired'";
    Ok(tx.execute(update, params![id, incarnation]).await? == 1)
}

/// A lease as its holder left it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Lease {
    pub master: MasterId,
    pub incarnation: String,
    pub counter: i64,
}

/// The leases of other masters that act.
pub async fn leases_of_others(tx: &Tx, me: MasterId) -> Result<Vec<Lease>> {
    let query = "SELECT masterid, incarnation, counter FROM muster_masters \
                 WHERE masterid <> ? AND state NOT IN ('stopped', 'expired') ORDER BY masterid";
    let rows = tx.query(query, params![me]).await?;
    rows.iter()
        .map(|row| {
            Ok(Lease { master: MasterId(row.int(0)?), incarnation: row.text(1)?, counter: row.int(2)? })
        })
        .collect()
}

/// Ends a lease whose counter stands still. `false`: it was raised meanwhile, or somebody else was first.
pub async fn expire_lease(tx: &Tx, lease: &Lease) -> Result<bool> {
    let update = "UPDATE muster_masters SET state = 'expired' \
                  WHERE masterid = ? AND incarnation = ? AND counter = ? AND state <> 'expired'";
    Ok(tx.execute(update, params![lease.master, &lease.incarnation, lease.counter]).await? == 1)
}

/// Clears Buildbot's flag and leaves the last heartbeat as it was.
pub async fn set_inactive(tx: &Tx, id: MasterId) -> Result<()> {
    tx.execute("UPDATE masters SET active = 0 WHERE id = ?", params![id]).await?;
    Ok(())
}

/// Tells in which state of its life a master is (`running`, `handing-off`, `stopped` …).
pub async fn set_lease_state(tx: &Tx, id: MasterId, incarnation: &str, state: &str) -> Result<()> {
    let update = "UPDATE muster_masters SET state = ? WHERE masterid = ? AND incarnation = ?";
    tx.execute(update, params![state, id, incarnation]).await?;
    Ok(())
}
