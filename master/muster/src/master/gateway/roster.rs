//! Who may come in to the gateway, as the configurations in force say.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use muster_config::snapshot::{ChangeSourceConfig, ChangeSourceKind, Snapshot, WorkerConfig};
use muster_core::render::Renderable;
use muster_data::Data;
use muster_engine::Active;
use muster_gateway::{BuilderDir, ChangeAccount, Roster, StockWorker};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::master::listeners::own_port;

/// How often other masters' configurations are looked for.
const LOOK: Duration = Duration::from_secs(5);

/// The builders of the whole cluster: a worker that deletes left-over directories is told them all, so that it loses
/// none because masters differ.
pub struct Union {
    data: Data,
    /// The snapshots that other masters have in force, by number. They never change.
    others: HashMap<i64, Arc<Snapshot>>,
}

impl Union {
    /// Nobody else's yet.
    pub fn new(data: Data) -> Union {
        Union { data, others: HashMap::new() }
    }

    /// The roster of `active` and what other masters add to it. While the database is away it is what it was before.
    pub async fn roster(&mut self, active: &Active) -> Roster {
        if let Err(error) = self.look(active.ids.snapshot).await {
            tracing::warn!(%error, "can't look at the builders of other masters");
        }
        roster(&active.snapshot, self.others.values().map(|other| &**other))
    }

    async fn look(&mut self, mine: i64) -> muster_store::Result<()> {
        let in_force = self.data.snapshots_in_force().await?;
        self.others.retain(|id, _| in_force.contains(id));
        for id in in_force.into_iter().filter(|id| *id != mine) {
            if self.others.contains_key(&id) {
                continue;
            }
            let Some(text) = self.data.snapshot(id).await? else { continue };
            match serde_json::from_str(&text) {
                Ok(snapshot) => drop(self.others.insert(id, Arc::new(snapshot))),
                Err(error) => {
                    tracing::warn!(snapshot = id, %error, "another master's configuration can't be read")
                }
            }
        }
        Ok(())
    }
}

/// Keeps the roster up to date until `stop`.
pub async fn follow(
    mut union: Union,
    mut active: watch::Receiver<Arc<Active>>,
    publish: watch::Sender<Arc<Roster>>,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            changed = active.changed() => if changed.is_err() {
                return stop.cancelled().await;
            },
            () = tokio::time::sleep(LOOK) => {}
            () = stop.cancelled() => return,
        }
        let in_force = active.borrow_and_update().clone();
        let roster = Arc::new(union.roster(&in_force).await);
        publish.send_if_modified(|known| {
            let is_new = *known != roster;
            *known = roster;
            is_new
        });
    }
}

/// Every worker gets every builder that may run on it, at any master.
fn roster<'a>(snapshot: &'a Snapshot, others: impl Iterator<Item = &'a Snapshot>) -> Roster {
    let mut builders: HashMap<&str, BTreeSet<BuilderDir>> = HashMap::new();
    for builder in std::iter::once(snapshot).chain(others).flat_map(|snapshot| &snapshot.builders) {
        let dir = BuilderDir { name: builder.name.clone(), dir: builder.worker_builddir.clone() };
        for worker in &builder.worker_names {
            builders.entry(worker).or_default().insert(dir.clone());
        }
    }
    let worker = |worker: &WorkerConfig| {
        let password = plain(worker.password.as_ref()?)?;
        let builders = builders.get(worker.name.as_str()).into_iter().flatten().cloned().collect();
        let keepalive = Duration::try_from_secs_f64(worker.keepalive_interval).unwrap_or(Duration::MAX);
        Some((worker.name.clone(), StockWorker { password, builders, keepalive }))
    };
    Roster {
        workers: snapshot.workers.iter().filter_map(worker).collect(),
        change_sources: change_accounts(snapshot),
    }
}

/// Every account for changes whose password is plain text.
fn change_accounts(snapshot: &Snapshot) -> Vec<ChangeAccount> {
    let account = |source: &ChangeSourceConfig| {
        let ChangeSourceKind::Pb(config) = &source.kind else { return None };
        let Some(password) = plain(&config.password) else {
            tracing::error!(
                source = source.name,
                "its password is not plain text; nobody can send changes to it"
            );
            return None;
        };
        Some(ChangeAccount {
            source: source.name.clone(),
            user: config.user.clone(),
            password,
            prefix: config.prefix.clone(),
            port: own_port(snapshot, config.port.as_deref()),
        })
    };
    snapshot.change_sources.iter().filter_map(account).collect()
}

fn plain(password: &Renderable) -> Option<String> {
    match password {
        Renderable::Literal(Value::String(password)) => Some(password.clone()),
        _ => None,
    }
}
