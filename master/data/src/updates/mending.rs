//! What operators do to a cluster by hand: to one run, or to all of them when the past was restored.

use muster_bus::Event;
use muster_core::policy::{Action, Permit};
use muster_core::{BuildId, Epoch};
use muster_store::{
    Error, Result, Tx, masters,
    runs::{self, RunKey},
    views::{self, ClusterMaster, ClusterRun},
    workers,
};

use super::abandon::{abandon, alive, give_up};
use super::permits::permitted;
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

/// What became of a build that an operator looked after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mended {
    /// It has ended; its request is pending again, unless somebody has ordered the build to stop.
    Ended,
    /// It is nobody's, and an engine goes on with it.
    Released,
    /// This master of Buildbot runs it.
    Theirs(String),
    /// It doesn't run.
    Over,
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

    /// Ends a build under way, so that its request is built again. Its owner notices at its next write or look.
    pub async fn retry_run(&self, permit: &Permit, build: BuildId) -> Result<Mended> {
        permitted(permit, Action::MendRuns, "build", build.0, "retry");
        let committed = self.db().tx("retry_run", |tx| async move {
            if let Some(run) = runs::by_build(&tx, build).await? {
                return Ok((Mended::Ended, give_up(&tx, &run, "ordered by an operator").await?));
            }
            end_foreign(&tx, build).await
        });
        Ok(self.tell(committed.await?))
    }

    /// Takes a run from its owner, so that any engine goes on with it. What a Buildbot that is gone has built can't be gone on
    /// with: it is ended, so that its request is built again.
    pub async fn release_run(&self, permit: &Permit, build: BuildId) -> Result<Mended> {
        permitted(permit, Action::MendRuns, "build", build.0, "release");
        let committed = self.db().tx("release_run", |tx| async move {
            let Some(run) = runs::by_build(&tx, build).await? else { return end_foreign(&tx, build).await };
            runs::adopt(&tx, &run.key, runs::NOBODY).await?;
            Ok::<_, Error>((Mended::Released, Vec::new()))
        });
        Ok(self.tell(committed.await?))
    }

    /// Ends all runs, so that their requests are pending again: before the way back to Buildbot. Answers how many there
    /// were.
    pub async fn release_all(&self, permit: &Permit, reason: &str) -> Result<usize> {
        permit.must_be_for(&Action::MendRuns);
        let committed = self.db().tx("release_all", |tx| async move {
            let (all, mut events) = (runs::all(&tx).await?, Vec::new());
            for run in &all {
                events.extend(give_up(&tx, run, reason).await?);
            }
            let left = masters::left_by_the_dead(&tx, alive(), now()).await?;
            for (owner, build, request) in &left {
                let key = RunKey { build: *build, owner: *owner, epoch: Epoch(0) };
                events.extend(abandon(&tx, &key, *request, reason).await?);
            }
            Ok::<_, Error>((all.len() + left.len(), events))
        });
        Ok(self.tell(committed.await?))
    }

    /// Makes a database that was restored from a backup fit for use: what ran when the backup was made is built again,
    /// nobody has a lease or a worker, and a new generation begins, which orders of the time before don't have. Answers
    /// the generation and how many builds ran.
    pub async fn restore(&self, permit: &Permit) -> Result<(i64, usize)> {
        permit.must_be_for(&Action::MendRuns);
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

/// Ends a build that no master of Muster runs, unless a Buildbot that is alive does.
async fn end_foreign(tx: &Tx, build: BuildId) -> Result<(Mended, Vec<Event>)> {
    let Some((master, request, acts)) = runs::without_run(tx, build, alive()).await? else {
        return Ok((Mended::Over, Vec::new()));
    };
    if acts {
        let name = masters::by_id(tx, master).await?.map(|master| master.name).unwrap_or_default();
        return Ok((Mended::Theirs(name), Vec::new()));
    }
    let key = RunKey { build, owner: master, epoch: Epoch(0) };
    Ok((Mended::Ended, abandon(tx, &key, request, "ordered by an operator").await?))
}
