//! Force schedulers of the whole cluster. Masters may have different files; whichever is asked has the forms of all that
//! live, from the configurations that they keep in the database.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use muster_config::snapshot::{SchedulerConfig, SchedulerKind, Snapshot};
use muster_data::Data;
use tokio::sync::Mutex;

/// How old the list of other masters' configurations may be. Forms appear that much later, and the database is asked no more
/// often, however many people look.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// What is known; clones know the same.
#[derive(Clone, Default)]
pub(crate) struct Forcing(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    looked: Option<Instant>,
    /// Other masters' configurations by their numbers, as far as forms need them.
    others: BTreeMap<i64, Arc<Snapshot>>,
}

/// The configurations with forms: this master's, then the others, the newest first. Two masters may have a form in two
/// versions for a while.
pub(crate) struct Forms(Vec<Arc<Snapshot>>);

impl Forms {
    /// The force schedulers, each name once.
    pub(crate) fn schedulers(&self) -> impl Iterator<Item = &SchedulerConfig> {
        let mut names = BTreeSet::new();
        let all = self.0.iter().flat_map(|snapshot| &snapshot.schedulers);
        all.filter(move |scheduler| names.insert(scheduler.name.as_str()))
            .filter(|scheduler| is_force(scheduler))
    }

    /// The force scheduler of this name.
    pub(crate) fn scheduler(&self, name: &str) -> Option<&SchedulerConfig> {
        self.schedulers().find(|scheduler| scheduler.name == name)
    }

    /// The configuration that a scheduler of this name stands in, whose rules hold for what people enter; this master's
    /// own when there is none.
    pub(crate) fn of(&self, name: &str) -> &Snapshot {
        let with = self.0.iter().find(|snapshot| snapshot.scheduler(name).is_some());
        with.unwrap_or(&self.0[0])
    }
}

impl Forcing {
    /// What is known, with this master's own configuration. When the database doesn't answer, that is what was known before.
    pub(crate) async fn with(&self, data: &Data, own: Arc<Snapshot>) -> Forms {
        let mut known = self.0.lock().await;
        if known.looked.is_none_or(|looked| looked.elapsed() >= LOOK_AGAIN) {
            match known.look(data).await {
                Ok(()) => known.looked = Some(Instant::now()),
                Err(error) => tracing::debug!(%error, "can't look for other masters' force schedulers"),
            }
        }
        Forms(std::iter::once(own).chain(known.others.values().rev().cloned()).collect())
    }
}

impl Known {
    async fn look(&mut self, data: &Data) -> Result<(), muster_data::read::Error> {
        let in_force: BTreeSet<i64> = data.snapshots_in_force_elsewhere().await?.into_iter().collect();
        self.others.retain(|id, _| in_force.contains(id));
        for id in in_force {
            if self.others.contains_key(&id) {
                continue;
            }
            if let Some(text) = data.snapshot(id).await? {
                self.others.insert(id, Arc::new(forms_in(id, text).await));
            }
        }
        Ok(())
    }
}

/// What forms need of a stored configuration. It may be long, so it isn't read on the runtime's threads.
async fn forms_in(id: i64, text: String) -> Snapshot {
    let read = tokio::task::spawn_blocking(move || {
        let mut snapshot: Snapshot = serde_json::from_str(&text)?;
        snapshot.schedulers.retain(is_force);
        snapshot.builders.clear();
        snapshot.workers.clear();
        Ok::<_, serde_json::Error>(snapshot)
    });
    match read.await {
        Ok(Ok(snapshot)) => snapshot,
        Ok(Err(error)) => {
            tracing::warn!(%error, "configuration {id} is of another version; its force schedulers are not shown here");
            Snapshot::empty()
        }
        Err(error) => {
            tracing::error!(%error, "configuration {id} could not be read");
            Snapshot::empty()
        }
    }
}

fn is_force(scheduler: &SchedulerConfig) -> bool {
    matches!(scheduler.kind, SchedulerKind::Force(_))
}
