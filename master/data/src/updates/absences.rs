//! Workers that are missing for too long.

use muster_bus::Event;
use muster_core::Worker;
use muster_store::{
    Error, Result,
    absences::{self, Absence, Told},
    query,
};
use serde_json::json;

use crate::{Data, now, resources};

/// A worker that was away for its `missing_timeout`.
#[derive(Clone, Debug)]
pub struct MissingWorker {
    /// The worker.
    pub worker: Worker,
    /// When it was there last, as people write it.
    pub last_connection: String,
    /// Who wants to know.
    pub notify: Vec<String>,
}

impl Data {
    /// The configured workers that are not connected and about which not everybody was told.
    pub async fn absent_workers(&self) -> Result<Vec<Absence>> {
        let stale =
            self.db().read("absent_workers", |tx| async move { absences::is_stale(&tx).await }).await?;
        if stale {
            let refreshed =
                self.db().tx("absent_workers", |tx| async move { absences::refresh(&tx, now()).await });
            refreshed.await?.into_inner();
        }
        self.db().read("absent_workers", |tx| async move { absences::open(&tx).await }).await
    }

    /// Tells the event of a missing worker, once in the cluster; `None`: another master did, or the worker is back.
    /// Whoever gets it reports it, and says so by [`Data::missing_worker_is_reported`].
    pub async fn worker_is_missing(
        &self,
        absence: &Absence,
        last_connection: &str,
        notify: &[String],
    ) -> Result<Option<(MissingWorker, Absence)>> {
        let committed = self.db().tx("worker_is_missing", |tx| async move {
            let now = now();
            let worker = query::workers::by_id(&tx, absence.worker).await?;
            let Some(worker) = worker.filter(|worker| worker.connected_to.is_empty()) else {
                return Ok((None, Vec::new()));
            };
            if !absences::tell(&tx, absence, Told::Event, now).await? {
                return Ok((None, Vec::new()));
            }
            let mut payload = resources::worker(&worker);
            payload["last_connection"] = json!(last_connection);
            payload["notify"] = json!(notify);
            // An earlier teller may have died before its reporters were done: then this is for them alone.
            let is_news = absence.told == Told::Nobody;
            let events = match is_news {
                true => vec![Event::new([format!("workers/{}/missing", worker.id)], payload)],
                false => Vec::new(),
            };
            let missing = MissingWorker {
                worker,
                last_connection: last_connection.to_owned(),
                notify: notify.to_vec(),
            };
            let claimed = Absence { told: Told::Event, told_at: now, ..absence.clone() };
            Ok::<_, Error>((Some((missing, claimed)), events))
        });
        Ok(self.tell(committed.await?))
    }

    /// All reporters are done with it. `false`: the worker is back, or somebody else took over.
    pub async fn missing_worker_is_reported(&self, absence: &Absence) -> Result<bool> {
        let done = self.db().tx("missing_worker_is_reported", |tx| async move {
            absences::tell(&tx, absence, Told::Everybody, now()).await
        });
        done.await.map(|committed| committed.into_inner())
    }
}
