//! Masters: Buildbot's rows and our leases.

use muster_core::{BuildId, Master, MasterId, RequestId, Role, Roles, Timestamp};

use crate::{
    Dialect, Error, Result, Row, Tx,
    migrate::{self, TakenOver},
    names::NamedTable,
    params,
};

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

/// Whether a master of Buildbot has shown life at `since` or later. It may have the name of one of ours that has ended.
pub async fn buildbot_lives(tx: &Tx, since: Timestamp) -> Result<bool> {
    let query = "SELECT 1 FROM masters m LEFT JOIN muster_masters l ON l.masterid = m.id \
                 WHERE m.active = 1 AND m.last_active >= ? AND (l.masterid IS NULL OR l.state IN ('stopped', 'expired')) \
                 LIMIT 1";
    Ok(tx.query_opt(query, params![since]).await?.is_some())
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
    tx.later(update, params![active, now, id]).await?;
    let upsert = "INSERT INTO muster_heartbeats (masterid, last_active, was_buildbot) VALUES (?, ?, 0) \
                  ON CONFLICT (masterid) DO UPDATE SET last_active = excluded.last_active";
    tx.later(upsert, params![id, now]).await
}

/// Whether the last life under a master's name was a Buildbot's: its heartbeat is not what Muster wrote.
pub async fn is_buildbots(tx: &Tx, id: MasterId) -> Result<bool> {
    let query = "SELECT m.active, m.last_active, h.last_active, l.masterid FROM masters m \
                 LEFT JOIN muster_heartbeats h ON h.masterid = m.id LEFT JOIN muster_masters l ON l.masterid = m.id \
                 WHERE m.id = ?";
    let Some(row) = tx.query_opt(query, params![id]).await? else { return Ok(false) };
    let (active, last, ours) = (row.bool(0)?, row.int(1)?, row.opt_int(2)?);
    Ok(match ours {
        Some(ours) => ours != last,
        // A lease without a heartbeat is of a Muster that wrote none; a row without either was made for this start.
        None => row.opt_int(3)?.is_none() && (active || last > 0),
    })
}

/// Notes that a Buildbot has run under a master's name.
pub async fn note_buildbot(tx: &Tx, id: MasterId) -> Result<()> {
    let upsert = "INSERT INTO muster_heartbeats (masterid, last_active, was_buildbot) \
                  SELECT id, last_active, 1 FROM masters WHERE id = ? \
                  ON CONFLICT (masterid) DO UPDATE SET was_buildbot = excluded.was_buildbot";
    tx.later(upsert, params![id]).await
}

/// The masters of Buildbot that keep one of this name from starting, and when each was last heard of: of the same name, and
/// of any on SQLite, which is for one master. They run, as far as anybody can see: they are heard of since `alive`. Works on a
/// database that Muster has not taken over yet.
pub async fn live_buildbots(tx: &Tx, name: &str, alive: Timestamp) -> Result<Vec<(String, Timestamp)>> {
    if !migrate::has_buildbots_tables(tx).await? {
        return Ok(Vec::new());
    }
    let taken_over = migrate::is_taken_over(tx).await?;
    let query = "SELECT id, name, last_active FROM masters WHERE active = 1 AND last_active >= ? ORDER BY id";
    let mut live = Vec::new();
    for row in tx.query(query, params![alive]).await? {
        let (id, found) = (MasterId(row.int(0)?), row.text(1)?);
        if found != name && tx.dialect() != Dialect::Sqlite {
            continue;
        }
        let is_theirs = match taken_over {
            TakenOver::Fully => is_buildbots(tx, id).await?,
            // A Muster that kept no heartbeats can't be told from a Buildbot.
            TakenOver::Formerly => false,
            TakenOver::No => true,
        };
        if is_theirs {
            live.push((found, row.time(2)?));
        }
    }
    Ok(live)
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
        tx.later(statement, params![id]).await?;
    }
    Ok(())
}

/// Takes the lease of a master under a new incarnation.
pub async fn take_lease(tx: &Tx, id: MasterId, life: &Life, now: Timestamp) -> Result<()> {
    tx.later("DELETE FROM muster_masters WHERE masterid = ?", params![id]).await?;
    let insert = "INSERT INTO muster_masters (masterid, incarnation, counter, roles, version, state, started_at) \
                  VALUES (?, ?, 0, ?, ?, 'running', ?)";
    let (roles, version) = (life.roles.to_string(), &life.version);
    tx.later(insert, params![id, &life.incarnation, roles, version, now]).await?;
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

/// The lease of a master, if it has or had one; `true`: it acts. Whoever else asks under this name waits until this
/// transaction ends: the row of the master is locked, since that of a lease may not be there yet.
pub async fn lease_of(tx: &Tx, id: MasterId) -> Result<Option<(Lease, bool)>> {
    tx.query_opt("SELECT 1 FROM masters WHERE id = ? FOR UPDATE", params![id]).await?;
    let query =
        "SELECT masterid, incarnation, counter, state FROM muster_masters WHERE masterid = ? FOR UPDATE";
    let row = tx.query_opt(query, params![id]).await?;
    row.map(|row| Ok((lease(&row)?, !GONE.contains(&row.text(3)?.as_str())))).transpose()
}

/// States in which a master acts no more.
const GONE: [&str; 2] = ["stopped", "expired"];

/// The cluster's generation: raised when a backup was restored.
pub async fn generation(tx: &Tx) -> Result<i64> {
    let row = tx.query_opt("SELECT generation FROM muster_cluster WHERE id = 1", params![]).await?;
    row.ok_or_else(|| Error::Data("table muster_cluster has no row".to_owned()))?.int(0)
}

/// Begins a new generation; answers it. It is never one that was there before, in whichever past: it is not below the
/// present second.
pub async fn raise_generation(tx: &Tx, now: Timestamp) -> Result<i64> {
    let generation = (generation(tx).await? + 1).max(now.0);
    tx.later("UPDATE muster_cluster SET generation = ? WHERE id = 1", params![generation]).await?;
    Ok(generation)
}

/// Takes up a lease that others have ended while its holder could not act: it is the same process, and it goes on with
/// nothing. `false`: another process acts under this name.
pub async fn rejoin(tx: &Tx, id: MasterId, incarnation: &str, state: &str) -> Result<bool> {
    let update = "UPDATE muster_masters SET counter = counter + 1, state = ? \
                  WHERE masterid = ? AND incarnation = ? AND state = 'expired'";
    Ok(tx.execute(update, params![state, id, incarnation]).await? == 1)
}

/// Longest list of session addresses, as the column has it.
const MAX_ADDRESSES: usize = 2048;

async fn set_addresses(tx: &Tx, id: MasterId, sessions: &[String]) -> Result<()> {
    tx.later("DELETE FROM muster_addresses WHERE masterid = ?", params![id]).await?;
    let text = sessions.join(" ");
    if text.len() > MAX_ADDRESSES {
        return Err(Error::Data(format!("the session addresses are longer than {MAX_ADDRESSES} characters")));
    }
    if !text.is_empty() {
        let insert = "INSERT INTO muster_addresses (masterid, sessions) VALUES (?, ?)";
        tx.later(insert, params![id, text]).await?;
    }
    Ok(())
}

/// The masters that run with a role: neither going nor gone.
pub async fn live_with(tx: &Tx, role: Role) -> Result<Vec<MasterId>> {
    let query = "SELECT masterid, roles FROM muster_masters WHERE state = 'running' ORDER BY masterid";
    let mut live = Vec::new();
    for row in tx.query(query, params![]).await? {
        // A newer master may have roles that are unknown here.
        if row.text(1)?.split(',').any(|name| name == role.name()) {
            live.push(MasterId(row.int(0)?));
        }
    }
    Ok(live)
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
    rows.iter().map(lease).collect()
}

fn lease(row: &Row) -> Result<Lease> {
    Ok(Lease { master: MasterId(row.int(0)?), incarnation: row.text(1)?, counter: row.int(2)? })
}

/// Ends a lease whose counter stands still. `false`: it was raised meanwhile, or somebody else was first.
pub async fn expire_lease(tx: &Tx, lease: &Lease) -> Result<bool> {
    let update = "UPDATE muster_masters SET state = 'expired' \
                  WHERE masterid = ? AND incarnation = ? AND counter = ? AND state <> 'expired'";
    Ok(tx.execute(update, params![lease.master, &lease.incarnation, lease.counter]).await? == 1)
}

/// Marks a Buildbot as down that somebody has seen to be gone.
pub async fn bury_buildbot(tx: &Tx, name: &str) -> Result<()> {
    let update = "UPDATE masters SET active = 0 WHERE name_hash = ?";
    tx.later(update, params![muster_core::hash::name_hash(name)]).await
}

/// The masters of which nobody acts any more, by Muster's leases and Buildbot's heartbeats since `alive`; and what they left
/// unfinished that is no run of Muster's: (master, build, request).
pub async fn left_by_the_dead(
    tx: &Tx,
    alive: Timestamp,
    begun: Timestamp,
) -> Result<Vec<(MasterId, BuildId, RequestId)>> {
    let query = "SELECT b.masterid, b.id, b.buildrequestid FROM builds b JOIN masters m ON m.id = b.masterid \
                 LEFT JOIN muster_masters l ON l.masterid = m.id WHERE b.results IS NULL AND b.started_at < ? \
                 AND NOT EXISTS (SELECT 1 FROM muster_runs r WHERE r.buildid = b.id) \
                 AND (m.active = 0 OR m.last_active < ?) AND COALESCE(l.state, 'expired') IN ('stopped', 'expired') \
                 ORDER BY b.id";
    let rows = tx.query(query, params![begun, alive]).await?;
    rows.iter().map(|row| Ok((MasterId(row.int(0)?), BuildId(row.int(1)?), RequestId(row.int(2)?)))).collect()
}

/// Masters of Buildbot that are shown as active and were not heard of since `limit`.
pub async fn silent_buildbots(tx: &Tx, limit: Timestamp) -> Result<Vec<MasterId>> {
    let query = "SELECT m.id FROM masters m LEFT JOIN muster_masters l ON l.masterid = m.id \
                 WHERE m.active = 1 AND m.last_active < ? AND COALESCE(l.state, 'expired') IN ('stopped', 'expired') \
                 ORDER BY m.id";
    let rows = tx.query(query, params![limit]).await?;
    rows.iter().map(|row| row.int(0).map(MasterId)).collect()
}

/// Marks such a master as down. `false`: it was heard of meanwhile.
pub async fn expire_buildbot(tx: &Tx, id: MasterId, limit: Timestamp) -> Result<bool> {
    let update = "UPDATE masters SET active = 0 WHERE id = ? AND active = 1 AND last_active < ?";
    Ok(tx.execute(update, params![id, limit]).await? == 1)
}

/// Ends all leases, and frees what their masters had: none of them runs.
pub async fn expire_all(tx: &Tx) -> Result<()> {
    for row in tx.query("SELECT masterid FROM muster_masters ORDER BY masterid", params![]).await? {
        let id = MasterId(row.int(0)?);
        forget_configuration(tx, id).await?;
        set_inactive(tx, id).await?;
    }
    tx.later("UPDATE muster_masters SET state = 'expired'", params![]).await
}

/// Clears Buildbot's flag and leaves the last heartbeat as it was.
pub async fn set_inactive(tx: &Tx, id: MasterId) -> Result<()> {
    tx.later("UPDATE masters SET active = 0 WHERE id = ?", params![id]).await
}

/// Tells in which state of its life a master is (`running`, `handing-off`, `stopped` …).
pub async fn set_lease_state(tx: &Tx, id: MasterId, incarnation: &str, state: &str) -> Result<()> {
    let update = "UPDATE muster_masters SET state = ? WHERE masterid = ? AND incarnation = ?";
    tx.later(update, params![state, id, incarnation]).await
}
