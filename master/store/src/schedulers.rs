//! Schedulers and change sources: one owner in the cluster, by Buildbot's rows.

use muster_core::{ChangeSourceId, Epoch, MasterId, SchedulerId};

use crate::{Error, Result, Tx, names::NamedTable, params};

/// What there is only one of in a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Singleton {
    Scheduler(SchedulerId),
    ChangeSource(ChangeSourceId),
}

impl Singleton {
    fn kind(self) -> &'static str {
        match self {
            Singleton::Scheduler(_) => "scheduler",
            Singleton::ChangeSource(_) => "changesource",
        }
    }

    fn id(self) -> i64 {
        match self {
            Singleton::Scheduler(id) => id.0,
            Singleton::ChangeSource(id) => id.0,
        }
    }
}

/// The right to act as the owner of a singleton, in one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub struct Ownership {
    pub singleton: Singleton,
    pub owner: MasterId,
    pub epoch: Epoch,
}

/// The fence of a singleton: locks the owner's row, and fails when there is another owner or epoch (rule 2).
pub async fn fence(tx: &Tx, ownership: &Ownership) -> Result<()> {
    let update =
        "UPDATE muster_singletons SET epoch = epoch WHERE kind = ? AND thing = ? AND owner = ? AND epoch = ?";
    let Ownership { singleton, owner, epoch } = *ownership;
    match tx.execute(update, params![singleton.kind(), singleton.id(), owner, epoch]).await? {
        1 => Ok(()),
        _ => Err(Error::Disowned),
    }
}

/// Whether a singleton is owned so.
pub async fn is_owned(tx: &Tx, ownership: &Ownership) -> Result<bool> {
    let query = match ownership.singleton {
        Singleton::Scheduler(_) => OWNED_SCHEDULER,
        Singleton::ChangeSource(_) => OWNED_SOURCE,
    };
    let Ownership { singleton, owner, epoch } = *ownership;
    Ok(tx.query_opt(query, params![singleton.kind(), singleton.id(), owner, epoch]).await?.is_some())
}

const OWNED_SCHEDULER: &str = "SELECT 1 FROM muster_singletons s JOIN scheduler_masters m ON m.schedulerid = s.thing \
                               AND m.masterid = s.owner WHERE s.kind = ? AND s.thing = ? AND s.owner = ? AND s.epoch = ?";
const OWNED_SOURCE: &str = "SELECT 1 FROM muster_singletons s JOIN changesource_masters m ON m.changesourceid = s.thing \
                            AND m.masterid = s.owner WHERE s.kind = ? AND s.thing = ? AND s.owner = ? AND s.epoch = ?";

/// Makes `master` the owner, by Buildbot's row and in an epoch of our own. It keeps its epoch when it is the owner
/// already. `None`: another master is, of either kind.
pub async fn own(tx: &Tx, singleton: Singleton, master: MasterId) -> Result<Option<Ownership>> {
    let is_new = match singleton {
        Singleton::Scheduler(id) => claim(tx, id, master).await?,
        Singleton::ChangeSource(id) => claim_source(tx, id, master).await?,
    };
    let Some(is_new) = is_new else { return Ok(None) };
    let query = "SELECT owner, epoch FROM muster_singletons WHERE kind = ? AND thing = ? FOR UPDATE";
    let (kind, id) = (singleton.kind(), singleton.id());
    let epoch = match tx.query_opt(query, params![kind, id]).await? {
        Some(row) if !is_new && row.int(0)? == master.0 => Epoch(row.int(1)?),
        Some(row) => {
            let epoch = Epoch(row.int(1)? + 1);
            let update = "UPDATE muster_singletons SET owner = ?, epoch = ? WHERE kind = ? AND thing = ?";
            tx.later(update, params![master, epoch, kind, id]).await?;
            epoch
        }
        None => {
            let insert = "INSERT INTO muster_singletons (kind, thing, owner, epoch) VALUES (?, ?, ?, 1)";
            tx.later(insert, params![kind, id, master]).await?;
            Epoch(1)
        }
    };
    Ok(Some(Ownership { singleton, owner: master, epoch }))
}

/// Gives it back, if it is still this owner's. Whoever takes it gets a new epoch, so that nothing of this one is written
/// any more.
pub async fn disown(tx: &Tx, ownership: &Ownership) -> Result<bool> {
    match fence(tx, ownership).await {
        Ok(()) => {}
        Err(Error::Disowned) => return Ok(false),
        Err(error) => return Err(error),
    }
    match ownership.singleton {
        Singleton::Scheduler(id) => release(tx, id, ownership.owner).await?,
        Singleton::ChangeSource(id) => release_source(tx, id, ownership.owner).await?,
    }
    Ok(true)
}

const SCHEDULERS: NamedTable = NamedTable {
    select: "SELECT id FROM schedulers WHERE name_hash = ?",
    insert: "INSERT INTO schedulers (name, name_hash) VALUES (?, ?)",
};
const CHANGE_SOURCES: NamedTable = NamedTable {
    select: "SELECT id FROM changesources WHERE name_hash = ?",
    insert: "INSERT INTO changesources (name, name_hash) VALUES (?, ?)",
};

/// The scheduler of this name; makes its row when absent.
pub async fn find_or_create(tx: &Tx, name: &str) -> Result<SchedulerId> {
    SCHEDULERS.find_or_create(tx, name).await.map(SchedulerId)
}

/// Makes `master` the owner of a scheduler by Buildbot's row; answers whether it was not before. `None`: another master
/// is.
async fn claim(tx: &Tx, scheduler: SchedulerId, master: MasterId) -> Result<Option<bool>> {
    let insert = "INSERT INTO scheduler_masters (schedulerid, masterid) VALUES (?, ?) ON CONFLICT DO NOTHING";
    let is_new = tx.execute(insert, params![scheduler, master]).await? == 1;
    let query = "SELECT 1 FROM scheduler_masters WHERE schedulerid = ? AND masterid = ?";
    Ok(tx.query_opt(query, params![scheduler, master]).await?.map(|_| is_new))
}

async fn release(tx: &Tx, scheduler: SchedulerId, master: MasterId) -> Result<()> {
    let delete = "DELETE FROM scheduler_masters WHERE schedulerid = ? AND masterid = ?";
    tx.later(delete, params![scheduler, master]).await
}

/// Switches a scheduler on or off. `false`: there is no such scheduler.
pub async fn set_enabled(tx: &Tx, scheduler: SchedulerId, enabled: bool) -> Result<bool> {
    let update = "UPDATE schedulers SET enabled = ? WHERE id = ?";
    Ok(tx.execute(update, params![enabled, scheduler]).await? == 1)
}

/// The change source of this name; makes its row when absent.
pub async fn find_or_create_source(tx: &Tx, name: &str) -> Result<ChangeSourceId> {
    CHANGE_SOURCES.find_or_create(tx, name).await.map(ChangeSourceId)
}

async fn claim_source(tx: &Tx, source: ChangeSourceId, master: MasterId) -> Result<Option<bool>> {
    let insert =
        "INSERT INTO changesource_masters (changesourceid, masterid) VALUES (?, ?) ON CONFLICT DO NOTHING";
    let is_new = tx.execute(insert, params![source, master]).await? == 1;
    let query = "SELECT 1 FROM changesource_masters WHERE changesourceid = ? AND masterid = ?";
    Ok(tx.query_opt(query, params![source, master]).await?.map(|_| is_new))
}

async fn release_source(tx: &Tx, source: ChangeSourceId, master: MasterId) -> Result<()> {
    let delete = "DELETE FROM changesource_masters WHERE changesourceid = ? AND masterid = ?";
    tx.later(delete, params![source, master]).await
}
