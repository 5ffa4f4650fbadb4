//! What schedulers decide, and who runs them.

use muster_bus::Event;
use muster_core::policy::{Action, Permit};
use muster_core::{ChangeId, MasterId, SchedulerId};
use muster_store::{
    Error, Result, changes, query,
    schedulers::{self, Ownership, Singleton},
    troubles,
};
use serde_json::{Value, json};

use super::{abandon::alive, buildsets, owned::fence, permits::permitted};
use crate::{AddedBuildset, Data, NewBuildset, now, resources};

/// What a scheduler makes of a change.
#[derive(Clone, Debug)]
pub enum Classification {
    /// Nothing.
    Ignored,
    /// It waits with others for a buildset.
    Kept {
        /// An unimportant one is built only along with important ones.
        important: bool,
    },
    /// It is built.
    Built(Box<NewBuildset>),
}

impl Data {
    /// Records a scheduler's decision about one change, once and for all: a second call changes nothing.
    pub async fn classify_change(
        &self,
        scheduler: SchedulerId,
        change: ChangeId,
        classification: Classification,
    ) -> Result<Option<AddedBuildset>> {
        let classification = &classification;
        let policy = &self.collapse_policy();
        self.may_act()?;
        let owned = self.owned();
        let committed = self.db().tx("classify_change", |tx| async move {
            fence(&tx, owned).await?;
            if !changes::mark_seen(&tx, scheduler, change).await? {
                return Ok((None, Vec::new()));
            }
            let added = match classification {
                Classification::Ignored => (None, Vec::new()),
                Classification::Kept { important } => {
                    changes::keep(&tx, scheduler, change, *important).await?;
                    (None, Vec::new())
                }
                Classification::Built(set) => {
                    let (added, events) = buildsets::insert(&tx, set, policy).await?;
                    (Some(added), events)
                }
            };
            changes::raise_mark(&tx, scheduler).await?;
            Ok::<_, Error>(added)
        });
        Ok(self.tell_set(committed.await?, Option::as_ref))
    }

    /// Makes a buildset of kept changes, which are kept no longer.
    pub async fn build_kept_changes(
        &self,
        scheduler: SchedulerId,
        kept: &[ChangeId],
        set: NewBuildset,
    ) -> Result<AddedBuildset> {
        let set = &set;
        let policy = &self.collapse_policy();
        self.may_act()?;
        let owned = self.owned();
        let committed = self.db().tx("build_kept_changes", |tx| async move {
            fence(&tx, owned).await?;
            changes::drop_kept(&tx, scheduler, kept).await?;
            buildsets::insert(&tx, set, policy).await
        });
        Ok(self.tell_set(committed.await?, AddedBuildset::itself))
    }

    /// The changes a scheduler keeps, oldest first, and whether they are important.
    pub async fn kept_changes(&self, scheduler: SchedulerId) -> Result<Vec<(ChangeId, bool)>> {
        self.db().read("kept_changes", |tx| async move { changes::kept(&tx, scheduler).await }).await
    }

    /// Forgets kept changes.
    pub async fn drop_kept_changes(&self, scheduler: SchedulerId, kept: &[ChangeId]) -> Result<()> {
        self.may_act()?;
        let owned = self.owned();
        let dropped = self.db().tx("drop_kept_changes", |tx| async move {
            fence(&tx, owned).await?;
            changes::drop_kept(&tx, scheduler, kept).await
        });
        dropped.await.map(|committed| committed.into_inner())
    }

    /// Changes that a scheduler has not classified, oldest first.
    pub async fn unseen_changes(&self, scheduler: SchedulerId, limit: i64) -> Result<Vec<ChangeId>> {
        self.db()
            .read("unseen_changes", |tx| async move { changes::unseen(&tx, scheduler, limit).await })
            .await
    }

    /// Makes `master` the owner of a scheduler. A new scheduler begins at the present end of the changes.
    /// `None`: another master owns it.
    pub async fn start_scheduler(&self, master: MasterId, name: &str) -> Result<Option<Ownership>> {
        self.may_act()?;
        let started = self.db().tx("start_scheduler", |tx| async move {
            let scheduler = schedulers::find_or_create(&tx, name).await?;
            let ownership = schedulers::own(&tx, Singleton::Scheduler(scheduler), master).await?;
            if ownership.is_some() {
                changes::start_mark(&tx, scheduler).await?;
                let left_out = changes::leave_out_buildbots(&tx, scheduler, name, alive()).await?;
                if left_out > 0 {
                    tracing::info!(
                        "scheduler '{name}' leaves out {left_out} changes that a Buildbot has dealt with"
                    );
                }
            }
            Ok::<_, Error>(ownership)
        });
        started.await.map(|committed| committed.into_inner())
    }

    /// Forgets where schedulers stood that are no longer configured, so that one which comes back later doesn't build
    /// everything that happened meanwhile.
    pub async fn keep_schedulers(&self, names: &[String]) -> Result<()> {
        let kept = self
            .db()
            .tx("keep_schedulers", |tx| async move { changes::forget_schedulers_except(&tx, names).await });
        kept.await.map(|committed| committed.into_inner())
    }

    /// Gives a scheduler or change source back, so that another master takes it at once.
    pub async fn release(&self, ownership: Ownership) -> Result<()> {
        let released = self.db().tx("release_singleton", |tx| async move {
            let mut events = Vec::new();
            if schedulers::disown(&tx, &ownership).await? {
                let (kind, id) = match ownership.singleton {
                    Singleton::Scheduler(id) => ("schedulers", id.0),
                    Singleton::ChangeSource(id) => ("changesources", id.0),
                };
                let payload = json!({ "masterid": ownership.owner });
                events.push(Event::new([format!("{kind}/{id}/stopped")], payload));
            }
            Ok::<_, Error>(((), events))
        });
        self.tell(released.await?);
        Ok(())
    }

    /// Whether a scheduler or change source is still owned so.
    pub async fn owns(&self, ownership: Ownership) -> Result<bool> {
        self.db().read("owns", |tx| async move { schedulers::is_owned(&tx, &ownership).await }).await
    }

    /// A handle for the owner of a scheduler or change source: what it changes as one is fenced by the epoch.
    pub fn owning(&self, ownership: Ownership) -> Data {
        Data { owned: Some(ownership), ..self.clone() }
    }

    /// Makes `master` the owner of a change source. `None`: another master owns it.
    pub async fn start_change_source(&self, master: MasterId, name: &str) -> Result<Option<Ownership>> {
        self.may_act()?;
        let started = self.db().tx("start_change_source", |tx| async move {
            let source = schedulers::find_or_create_source(&tx, name).await?;
            schedulers::own(&tx, Singleton::ChangeSource(source), master).await
        });
        started.await.map(|committed| committed.into_inner())
    }

    /// Says what a scheduler can't do; `None`: it works. Its owner says it, and pages hear of it.
    pub async fn say_scheduler_trouble(
        &self,
        scheduler: SchedulerId,
        master: MasterId,
        text: Option<&str>,
    ) -> Result<()> {
        self.may_act()?;
        let owned = self.owned();
        let committed = self.db().tx("say_scheduler_trouble", |tx| async move {
            fence(&tx, owned).await?;
            troubles::say(&tx, scheduler, master, now(), text).await?;
            let stored = query::masters::scheduler(&tx, scheduler).await?;
            let payload = stored.map_or(Value::Null, |scheduler| resources::scheduler(&scheduler));
            Ok::<_, Error>(((), vec![Event::new([format!("schedulers/{scheduler}/trouble")], payload)]))
        });
        self.tell(committed.await?);
        Ok(())
    }

    /// Switches a scheduler on or off; an unknown id is no error, as in Buildbot's API.
    pub async fn set_scheduler_enabled(
        &self,
        permit: &Permit,
        scheduler: SchedulerId,
        enabled: bool,
    ) -> Result<()> {
        let what = if enabled { "on" } else { "off" };
        permitted(permit, Action::EnableScheduler, "scheduler", scheduler.0, what);
        let committed = self.db().tx("set_scheduler_enabled", |tx| async move {
            let mut events = Vec::new();
            if schedulers::set_enabled(&tx, scheduler, enabled).await? {
                let stored = query::masters::scheduler(&tx, scheduler).await?;
                let payload = stored.map_or(Value::Null, |scheduler| resources::scheduler(&scheduler));
                events.push(Event::new([format!("schedulers/{scheduler}/updated")], payload));
            }
            Ok::<_, Error>(((), events))
        });
        self.tell(committed.await?);
        Ok(())
    }
}
