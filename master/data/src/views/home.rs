//! The home page: what is broken, what runs, what waits.

use std::collections::BTreeMap;

use muster_core::{BuilderId, RequestId, Scheduler, Timestamp};
use muster_store::{
    Result, Tx, query,
    troubles::{self, Trouble},
    views,
};
use serde::Serialize;

use super::{
    BuildLine, BuilderSummary, ChangeLine, MAX_RUNNING, MAX_WORKERS, MasterLine, PendingSummary, RecentBuild,
    RunningBuild, builders, is_bad,
};
use crate::Data;

/// Builds that are looked back over for the last good one.
const LOOK_BACK: i64 = 500;
/// Failing builders whose beginning is looked for; the others are listed without.
const MAX_TRACED: usize = 50;
/// Builds in the list of the latest.
const LATEST: i64 = 12;

/// The home page.
#[derive(Clone, Debug, Serialize)]
pub struct Home {
    /// Builders whose last build failed, the longest broken last.
    pub failing: Vec<Failing>,
    /// Schedulers that can't do something, by name.
    pub troubled: Vec<Troubled>,
    /// What runs.
    pub running: Vec<Running>,
    /// The queue.
    pub pending: PendingSummary,
    /// The workers.
    pub workers: WorkerCounts,
    /// The masters.
    pub masters: Vec<MasterLine>,
    /// How many builders are configured.
    pub builders: usize,
    /// The newest builds that have ended.
    pub latest: Vec<BuildLine>,
}

/// A scheduler that can't do something.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Troubled {
    pub name: String,
    pub since: Timestamp,
    pub trouble: String,
}

/// A running build with its estimate.
#[derive(Clone, Debug, Serialize)]
pub struct Running {
    /// The build.
    #[serde(flatten)]
    pub build: RunningBuild,
    /// Usual duration in seconds of its builder's builds.
    pub usual: Option<i64>,
}

/// A builder whose last build failed.
#[derive(Clone, Debug, Serialize)]
pub struct Failing {
    /// Its id.
    pub id: BuilderId,
    /// Its name.
    pub name: String,
    /// Its last finished build.
    pub latest: RecentBuild,
    /// Its last builds, oldest first.
    pub strip: Vec<RecentBuild>,
    /// Where it began.
    pub since: Option<Since>,
}

/// The first of a row of failures.
#[derive(Clone, Debug, Serialize)]
pub struct Since {
    /// Its number.
    pub number: i64,
    /// When it ended, or began.
    pub at: Timestamp,
    /// Nothing good was found as far as was looked: it may have begun earlier.
    pub or_earlier: bool,
    /// The newest change in it.
    pub change: Option<ChangeLine>,
}

/// Workers in figures.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct WorkerCounts {
    /// Connected ones.
    pub connected: usize,
    /// Configured ones.
    pub configured: usize,
    /// Connected ones that are paused.
    pub paused: usize,
}

impl Data {
    /// The home page.
    pub async fn home_page(&self) -> Result<Home> {
        self.db().read("page_home", |tx| async move { home(&tx).await }).await
    }
}

async fn home(tx: &Tx) -> Result<Home> {
    let mut summaries = builders::summaries(tx).await?;
    summaries.retain(|summary| summary.builder.active);
    let running = with_estimates(views::running(tx, MAX_RUNNING).await?, &summaries);
    let mut latest = views::latest_builds(tx, LATEST).await?;
    latest.retain(|build| build.results.is_some());
    Ok(Home {
        builders: summaries.len(),
        failing: failing(tx, summaries).await?,
        troubled: troubled(tx).await?,
        running,
        pending: views::pending_summary(tx).await?,
        workers: worker_counts(tx).await?,
        masters: views::masters(tx).await?,
        latest,
    })
}

/// Adds to each running build how long its builder's builds usually take.
fn with_estimates(running: Vec<RunningBuild>, summaries: &[BuilderSummary]) -> Vec<Running> {
    let usual: BTreeMap<BuilderId, i64> =
        summaries.iter().filter_map(|summary| Some((summary.builder.id, summary.usual?))).collect();
    running.into_iter().map(|build| Running { usual: usual.get(&build.builder).copied(), build }).collect()
}

async fn failing(tx: &Tx, summaries: Vec<BuilderSummary>) -> Result<Vec<Failing>> {
    let mut failing = Vec::new();
    for summary in summaries {
        let Some(latest) = summary.latest.filter(|build| build.results.is_some_and(is_bad)) else { continue };
        let since = if failing.len() < MAX_TRACED { since(tx, &latest).await? } else { None };
        let (id, name) = (summary.builder.id, summary.builder.name);
        failing.push(Failing { id, name, latest, strip: summary.strip, since });
    }
    failing.sort_by_key(|entry| std::cmp::Reverse(entry.since.as_ref().map_or(0, |since| since.at.0)));
    Ok(failing)
}

async fn troubled(tx: &Tx) -> Result<Vec<Troubled>> {
    let mut troubles = troubles::of_schedulers(tx).await?;
    if troubles.is_empty() {
        return Ok(Vec::new());
    }
    let schedulers = query::masters::schedulers(tx, &query::Select::all()).await?;
    let troubled = |scheduler: Scheduler| {
        let Trouble { since, text } = troubles.remove(&scheduler.id)?;
        Some(Troubled { name: scheduler.name, since, trouble: text })
    };
    let mut found: Vec<Troubled> = schedulers.into_iter().filter_map(troubled).collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

async fn since(tx: &Tx, latest: &RecentBuild) -> Result<Option<Since>> {
    let good = views::good_before(tx, latest.builder, latest.number, LOOK_BACK).await?;
    let number = good.map_or((latest.number - LOOK_BACK).max(1), |good| good + 1);
    let Some(first) = query::builds::by_number(tx, latest.builder, number).await? else { return Ok(None) };
    Ok(Some(Since {
        number,
        at: first.complete_at.unwrap_or(first.started_at),
        or_earlier: good.is_none() && number > 1,
        change: newest_change(tx, first.request).await?,
    }))
}

async fn newest_change(tx: &Tx, request: RequestId) -> Result<Option<ChangeLine>> {
    let Some(request) = query::requests::by_id(tx, request).await? else { return Ok(None) };
    let Some(buildset) = query::buildsets::by_id(tx, request.buildset).await? else { return Ok(None) };
    let mut newest: Option<ChangeLine> = None;
    for source in &buildset.sourcestamps {
        let select = query::changes::of_sourcestamp(query::Select::all(), source.id);
        let Some(column) = query::changes::TABLE.column("changeid") else { continue };
        let found = query::changes::list(tx, &select.order_by(column, true).limit(1)).await?;
        newest = newest.into_iter().chain(found.iter().map(ChangeLine::from)).max_by_key(|change| change.id);
    }
    Ok(newest)
}

async fn worker_counts(tx: &Tx) -> Result<WorkerCounts> {
    let mut counts = WorkerCounts::default();
    for worker in views::workers(tx, MAX_WORKERS).await? {
        counts.configured += usize::from(worker.configured);
        counts.connected += usize::from(worker.configured && worker.connected);
        counts.paused += usize::from(worker.configured && worker.connected && worker.paused);
    }
    Ok(counts)
}
