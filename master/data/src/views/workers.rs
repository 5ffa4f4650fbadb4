//! Workers.

use muster_core::Timestamp;
use muster_store::{Result, Tx, views};
use serde::Serialize;

use super::{BuildLine, MAX_RUNNING, MAX_WORKERS, RunningBuild, WorkerLine};
use crate::Data;

/// Builds in the strip of a worker.
const STRIP: i64 = 10;
/// Builds on the page of a worker.
const BUILDS: i64 = 50;
/// Workers whose last builds are read; the others are listed without.
const MAX_STRIPS: usize = 300;

/// A worker and what it does.
#[derive(Clone, Debug, Serialize)]
pub struct WorkerSummary {
    /// The worker.
    #[serde(flatten)]
    pub worker: WorkerLine,
    /// What it runs.
    pub running: Vec<RunningBuild>,
    /// Its last builds, oldest first.
    pub strip: Vec<BuildLine>,
    /// When its last build began.
    pub last_build: Option<Timestamp>,
}

/// One worker.
#[derive(Clone, Debug, Serialize)]
pub struct WorkerPage {
    /// The worker.
    #[serde(flatten)]
    pub worker: WorkerLine,
    /// What it runs.
    pub running: Vec<RunningBuild>,
    /// Its builds, newest first.
    pub builds: Vec<BuildLine>,
}

impl Data {
    /// All workers: those that are missing first, then the paused ones, then by name.
    pub async fn workers_page(&self) -> Result<Vec<WorkerSummary>> {
        self.db().read("page_workers", |tx| async move { workers_page(&tx).await }).await
    }

    /// The worker of this name.
    pub async fn worker_page(&self, name: &str) -> Result<Option<WorkerPage>> {
        self.db().read("page_worker", |tx| async move { worker_page(&tx, name).await }).await
    }
}

async fn workers_page(tx: &Tx) -> Result<Vec<WorkerSummary>> {
    let running = views::running(tx, MAX_RUNNING).await?;
    let mut workers = views::workers(tx, MAX_WORKERS).await?;
    workers.sort_by_key(|worker| (!worker.configured, worker.connected, !worker.paused));
    let mut summaries = Vec::with_capacity(workers.len());
    for worker in workers {
        let limit = if summaries.len() < MAX_STRIPS { STRIP } else { 0 };
        let mut strip = views::builds_of_worker(tx, worker.id, limit).await?;
        strip.reverse();
        summaries.push(WorkerSummary {
            running: running_on(&worker, &running),
            last_build: strip.last().map(|build| build.started_at),
            strip,
            worker,
        });
    }
    Ok(summaries)
}

async fn worker_page(tx: &Tx, name: &str) -> Result<Option<WorkerPage>> {
    let workers = views::workers(tx, MAX_WORKERS).await?;
    let Some(worker) = workers.into_iter().find(|worker| worker.name == name) else { return Ok(None) };
    let running = running_on(&worker, &views::running(tx, MAX_RUNNING).await?);
    let builds = views::builds_of_worker(tx, worker.id, BUILDS).await?;
    Ok(Some(WorkerPage { running, builds, worker }))
}

fn running_on(worker: &WorkerLine, running: &[RunningBuild]) -> Vec<RunningBuild> {
    running.iter().filter(|build| build.worker == Some(worker.id)).cloned().collect()
}
