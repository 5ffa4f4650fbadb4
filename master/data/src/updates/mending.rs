//! What operators do to a cluster by hand: to one run, or to all of them when the past was restored.

use muster_core::BuildId;
use muster_store::{
    Error, Result, masters, runs,
    views::{self, ClusterMaster, ClusterRun},
    workers,
};

use super::abandon::give_up;
use crate::{
    Data, now,
    views::{MAX_RUNNING, PendingPage},
};

/// The cluster at one moment.
#[derive(Clone, Debug)]
pub struct ClusterStatus {
    /// Of the cluster; see `muster cluster restore`.
    pub generation: i64,
    /// All masters that ever were.
    pub masters: Vec<ClusterMaster>,
    /// Builds under way.
    pub runs: Vec<ClusterRun>,
}

impl Data {
    /// The cluster as it is now.
    pub async fn cluster_status(&self) -> Result<ClusterStatus> {
        self.db()
            .read("cluster_status", |tx| async move {
                Ok::<_, Error>(ClusterStatus {
                    generation: masters::generation(&tx).await?,
                    masters: views::cluster_masters(&tx).await?,
                    runs: views::cluster_runs(&tx, MAX_RUNNING).await?,
                })
            })
            .await
    }

    /// What waits, and why.
    pub async fn cluster_waiting(&self) -> Result<PendingPage> {
        self.pending_page().await
    }

    /// Ends a run, so that its request is built again. Its owner notices at its next write or look. `false`: no such run.
    pub async fn retry_run(&self, build: BuildId) -> Result<bool> {
        let committed = self.db().tx("retry_run", |tx| async move {
            let Some(run) = runs::by_build(&tx, build).await? else { return Ok((false, Vec::new())) };
            Ok::<_, Error>((true, give_up(&tx, &run, "ordered by an operator").await?))
        });
        Ok(self.tell(committed.await?))
    }

    /// Takes a run from its owner, so that any engine goes on with it. `false`: no such run.
    pub async fn release_run(&self, build: BuildId) -> Result<bool> {
        let released = self.db().tx("release_run", |tx| async move {
            let Some(run) = runs::by_build(&tx, build).await? else { return Ok(false) };
            runs::adopt(&tx, &run.key, runs::NOBODY).await?;
            Ok::<_, Error>(true)
        });
        released.await.map(|committed| committed.into_inner())
    }

    /// Ends all runs, so that their requests are pending again: before the way back to Buildbot. Answers how many there
    /// were.
    pub async fn release_all(&self, reason: &str) -> Result<usize> {
        let committed = self.db().tx("release_all", |tx| async move {
            let (all, mut events) = (runs::all(&tx).await?, Vec::new());
            for run in &all {
                events.extend(give_up(&tx, run, reason).await?);
            }
            Ok::<_, Error>((all.len(), events))
        });
        Ok(self.tell(committed.await?))
    }

    /// Makes a database that was restored from a backup fit for use: what ran when the backup was made is built again,
    /// nobody has a lease or a worker, and a new generation begins, which orders of the time before don't have. Answers
    /// the generation and how many builds ran.
    pub async fn restore(&self) -> Result<(i64, usize)> {
        let committed = self.db().tx("restore", |tx| async move {
            let (all, mut events) = (runs::all(&tx).await?, Vec::new());
            for run in &all {
                events.extend(give_up(&tx, run, "the database was restored").await?);
            }
            workers::forget_sessions(&tx).await?;
            masters::expire_all(&tx).await?;
            let generation = masters::raise_generation(&tx, now()).await?;
            Ok::<_, Error>(((generation, all.len()), events))
        });
        Ok(self.tell(committed.await?))
    }
}
