//! Masters come and go: leases, and what becomes of those that stand still.

use muster_bus::Event;
use muster_core::{MasterId, Role, Timestamp, lease::BUILDBOT_DEAD};
use muster_store::{
    Db, Dialect, Error, Result, Tx, builders, control,
    masters::{self, EngineAddress, Lease, Life},
    runs::{self, RunKey, RunRow},
    steps,
};
use serde_json::json;

use super::{
    abandon::{alive, end_former_life},
    configure::configure,
    runs::adopt,
};
use crate::{Data, Setup, now};

/// What a start came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// The lease is this life's.
    Leased(MasterId),
    /// Another life acts under this name, as far as the database knows.
    Occupied(Lease),
    /// Another master acts on this file of SQLite, as far as the database knows.
    Crowded(Lease),
    /// A Buildbot is in the way, and nobody has seen its end.
    Buildbot {
        /// Its name: that of the master, or on SQLite any.
        name: String,
        /// When it was last heard of.
        heard: Timestamp,
    },
}

/// Which other masters a master expects beside itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    /// It is to be the only one, where the database is for one.
    Nobody,
    /// Several engines in one process, which see to each other: in simulations.
    Others,
}

/// What a renewal came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The lease goes on, in this generation of the cluster.
    Renewed {
        /// Raised when a backup was restored.
        generation: i64,
    },
    /// Others have ended it.
    Lost,
}

impl Data {
    /// A master starts: its row, its lease, and nothing configured yet. Another life under the same name must be over:
    /// it said so, or its incarnation is `dead`, or its lease is one of those that were seen to stand still (`expired`). A Buildbot of this name must
    /// be over, too: `buildbot_is_gone` when its process was seen to be. What it has left is ended.
    pub async fn master_starts(
        &self,
        name: &str,
        life: &Life,
        dead: Option<&str>,
        expired: &[Lease],
        beside: Beside,
        buildbot_is_gone: bool,
    ) -> Result<Start> {
        let started = self.db().tx("master_starts", |tx| async move {
            let buildbots = masters::live_buildbots(&tx, name, alive()).await?;
            let mut living = buildbots.into_iter().filter(|(who, _)| !(buildbot_is_gone && who == name));
            if let Some((name, heard)) = living.next() {
                return Ok((Start::Buildbot { name, heard }, Vec::new()));
            }
            let id = masters::find_or_create(&tx, name).await?;
            if let Some((lease, acts)) = masters::lease_of(&tx, id).await? {
                let is_over = !acts || dead == Some(lease.incarnation.as_str()) || expired.contains(&lease);
                if !is_over && lease.incarnation != life.incarnation {
                    return Ok((Start::Occupied(lease), Vec::new()));
                }
            }
            // SQLite is for one master; whether the others live, whoever starts has to see.
            if tx.dialect() == Dialect::Sqlite && beside == Beside::Nobody {
                let others = masters::leases_of_others(&tx, id).await?;
                if let Some(other) = others.into_iter().find(|other| !expired.contains(other)) {
                    return Ok((Start::Crowded(other), Vec::new()));
                }
            }
            let was_buildbot = masters::is_buildbots(&tx, id).await?;
            if was_buildbot {
                masters::note_buildbot(&tx, id).await?;
            }
            masters::forget_configuration(&tx, id).await?;
            // It is down until it is ready; what it has claimed and doesn't build is free.
            masters::set_inactive(&tx, id).await?;
            masters::take_lease(&tx, id, life, now()).await?;
            // Orders to go were for the life before.
            control::done(&tx, "master", id.0).await?;
            let (ended, events) = end_former_life(&tx, id).await?;
            if was_buildbot {
                steps::end_those_left(&tx, id, now()).await?;
            }
            if ended > 0 {
                tracing::warn!(
                    builds = ended,
                    "ended builds that a former life under this name has left; they are built again"
                );
            }
            Ok::<_, Error>((Start::Leased(id), events))
        });
        Ok(self.tell(started.await?))
    }

    /// The Buildbots that keep a master of this name from starting, because they still seem to run, and when each was last
    /// heard of. The database may be one that Muster has not taken over yet.
    pub async fn live_buildbots(db: &Db, name: &str) -> Result<Vec<(String, Timestamp)>> {
        db.look("live_buildbots", |tx| async move { masters::live_buildbots(&tx, name, alive()).await }).await
    }

    /// Marks a Buildbot as down that was seen to be gone.
    pub async fn bury_buildbot(db: &Db, name: &str) -> Result<()> {
        let buried = db.tx("bury_buildbot", |tx| async move { masters::bury_buildbot(&tx, name).await });
        buried.await.map(|committed: muster_store::Committed<()>| committed.into_inner())
    }

    /// The master is ready: it is shown as active from now on.
    pub async fn master_is_ready(&self, id: MasterId) -> Result<()> {
        self.set_master_active(id, true, "started").await
    }

    /// The master goes; what it had is free for others.
    pub async fn master_stops(&self, id: MasterId, incarnation: &str) -> Result<()> {
        let gone = self.db().tx("master_goes", |tx| async move {
            masters::forget_configuration(&tx, id).await?;
            masters::set_lease_state(&tx, id, incarnation, "stopped").await
        });
        gone.await?.into_inner();
        self.set_master_active(id, false, "stopped").await
    }

    /// Tells in which state of its life a master is: `running`, `handing-off`, `finishing`, `flushing`.
    pub async fn set_master_state(&self, id: MasterId, incarnation: &str, state: &str) -> Result<()> {
        let set = self.db().tx("master_state", |tx| async move {
            masters::set_lease_state(&tx, id, incarnation, state).await
        });
        set.await.map(|committed| committed.into_inner())
    }

    async fn set_master_active(&self, id: MasterId, active: bool, what: &'static str) -> Result<()> {
        let committed = self.db().tx("master_active", |tx| async move {
            masters::set_active(&tx, id, active, now()).await?;
            Ok::<_, Error>(((), vec![master_event(&tx, id, what, active).await?]))
        });
        self.tell(committed.await?);
        Ok(())
    }

    /// Raises the lease's counter and, now and then, Buildbot's heartbeat.
    pub async fn renew_lease(&self, id: MasterId, incarnation: &str, heartbeat: bool) -> Result<Renewal> {
        let renewed = self.db().tx("renew_lease", |tx| async move {
            if !masters::renew_lease(&tx, id, incarnation).await? {
                return Ok(Renewal::Lost);
            }
            if heartbeat {
                masters::set_active(&tx, id, true, now()).await?;
            }
            Ok::<_, Error>(Renewal::Renewed { generation: masters::generation(&tx).await? })
        });
        renewed.await.map(|committed| committed.into_inner())
    }

    /// Takes up a lease that others have ended while this process could not act, and registers its configuration anew.
    /// What it owned is no longer its. `false`: another process acts under this name.
    pub async fn rejoin(&self, id: MasterId, incarnation: &str, state: &str, setup: &Setup) -> Result<bool> {
        let committed = self.db().tx("rejoin", |tx| async move {
            if !masters::rejoin(&tx, id, incarnation, state).await? {
                return Ok((false, Vec::new()));
            }
            masters::set_active(&tx, id, true, now()).await?;
            let (_, mut events) = configure(&tx, id, setup).await?;
            events.push(master_event(&tx, id, "started", true).await?);
            Ok::<_, Error>((true, events))
        });
        Ok(self.tell(committed.await?))
    }

    /// The leases of other masters that act.
    pub async fn leases_of_others(&self, me: MasterId) -> Result<Vec<Lease>> {
        self.db().look("leases_of_others", |tx| async move { masters::leases_of_others(&tx, me).await }).await
    }

    /// The cluster's generation.
    pub async fn generation(&self) -> Result<i64> {
        self.db().look("generation", |tx| async move { masters::generation(&tx).await }).await
    }

    /// The masters that run with a role.
    pub async fn live_with(&self, role: Role) -> Result<Vec<MasterId>> {
        self.db().read("live_with", |tx| async move { masters::live_with(&tx, role).await }).await
    }

    /// The engines that take workers now, this master's own among them, with the addresses they give.
    pub async fn live_engines(&self) -> Result<Vec<EngineAddress>> {
        self.db().read("live_engines", |tx| async move { masters::live_engines(&tx).await }).await
    }

    /// Ends the lease of a master that stands still, and frees what it had but its builds. `false`: it was raised
    /// meanwhile, or somebody else was first.
    pub async fn expire(&self, lease: &Lease) -> Result<bool> {
        self.may_act()?;
        let committed = self.db().tx("expire", |tx| async move {
            let events = expire(&tx, lease).await?;
            Ok::<_, Error>((events.is_some(), events.unwrap_or_default()))
        });
        Ok(self.tell(committed.await?))
    }

    /// The same, and takes over its builds. `None`: it was raised meanwhile, or somebody else was first.
    pub async fn take_over(&self, lease: &Lease, me: MasterId) -> Result<Option<Vec<RunRow>>> {
        self.may_act()?;
        let committed = self.db().tx("take_over", |tx| async move {
            let Some(events) = expire(&tx, lease).await? else { return Ok((None, Vec::new())) };
            let left = runs::of_owner(&tx, lease.master).await?;
            Ok::<_, Error>((Some(adopt(&tx, left, me).await?), events))
        });
        Ok(self.tell(committed.await?))
    }

    /// Does for masters of Buildbot that died what Buildbot's masters do for each other, by their own rule of ten minutes
    /// without a heartbeat: what they had is free, what they built is built again. Answers the masters.
    pub async fn expire_buildbots(&self) -> Result<Vec<MasterId>> {
        self.may_act()?;
        let limit = Timestamp(now().0 - BUILDBOT_DEAD.as_secs() as i64);
        let silent = self
            .db()
            .read("silent_buildbots", |tx| async move { masters::silent_buildbots(&tx, limit).await });
        let mut expired = Vec::new();
        for master in silent.await? {
            let committed = self.db().tx("expire_buildbot", |tx| async move {
                if !masters::expire_buildbot(&tx, master, limit).await? {
                    return Ok((false, Vec::new()));
                }
                masters::forget_configuration(&tx, master).await?;
                let mut events = vec![master_event(&tx, master, "stopped", false).await?];
                events.extend(end_former_life(&tx, master).await?.1);
                steps::end_those_left(&tx, master, now()).await?;
                Ok::<_, Error>((true, events))
            });
            if self.tell(committed.await?) {
                expired.push(master);
            }
        }
        Ok(expired)
    }

    /// The runs of masters that are gone, and whether their owner stopped by itself: then it may come back for them.
    pub async fn orphaned_runs(&self) -> Result<Vec<(RunRow, bool)>> {
        self.db()
            .read("orphaned_runs", |tx| async move {
                let mut orphans = Vec::new();
                for (state, stopped) in [("expired", false), ("stopped", true)] {
                    let rows = runs::orphaned(&tx, state).await?;
                    orphans.extend(rows.into_iter().map(|row| (row, stopped)));
                }
                Ok::<_, Error>(orphans)
            })
            .await
    }

    /// Takes over these runs, as far as nobody else was first.
    pub async fn adopt_orphans(&self, orphans: Vec<RunRow>, me: MasterId) -> Result<Vec<RunRow>> {
        self.may_act()?;
        let mut adopted = Vec::with_capacity(orphans.len());
        for orphan in orphans {
            let orphan = &orphan;
            let taken =
                self.db().tx("adopt_orphan", |tx| async move { adopt(&tx, vec![orphan.clone()], me).await });
            match taken.await {
                Ok(runs) => adopted.extend(runs.into_inner()),
                Err(Error::Fenced(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(adopted)
    }

    /// The runs that are a master's, by the epochs under which it may write.
    pub async fn owned_runs(&self, master: MasterId) -> Result<Vec<RunKey>> {
        self.db().look("owned_runs", |tx| async move { runs::keys_of_owner(&tx, master).await }).await
    }
}

/// Ends a lease; answers the events that tell about it. `None`: it was raised, or ended by somebody else.
async fn expire(tx: &Tx, lease: &Lease) -> Result<Option<Vec<Event>>> {
    if !masters::expire_lease(tx, lease).await? {
        return Ok(None);
    }
    let gone = lease.master;
    let mut events = Vec::new();
    for (builder, name) in builders::of_master(tx, gone).await? {
        let payload = json!({ "builderid": builder, "masterid": gone, "name": name });
        events.push(Event::new([format!("builders/{builder}/stopped")], payload));
    }
    masters::forget_configuration(tx, gone).await?;
    masters::set_inactive(tx, gone).await?;
    events.push(master_event(tx, gone, "stopped", false).await?);
    Ok(Some(events))
}

async fn master_event(tx: &Tx, id: MasterId, what: &str, active: bool) -> Result<Event> {
    let name = masters::by_id(tx, id).await?.map(|master| master.name);
    let payload = json!({ "masterid": id, "name": name, "active": active });
    Ok(Event::new([format!("masters/{id}/{what}")], payload))
}
