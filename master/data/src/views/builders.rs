//! The list of builders, and one builder.

use std::collections::{BTreeMap, BTreeSet};

use muster_core::{BuilderId, Results};
use muster_store::{Result, Tx, views};
use serde::Serialize;

use super::{
    BuildLine, BuilderLine, MAX_BUILDERS, PendingPage, RecentBuild, STRIP, WorkerLine, queue, usual_duration,
};
use crate::Data;

/// Builds on one page of a builder.
const BUILDS_PER_PAGE: i64 = 25;
/// Builds in the drawing of a builder.
const DRAWN: i64 = 60;

/// A builder with its latest results.
#[derive(Clone, Debug, Serialize)]
pub struct BuilderSummary {
    /// The builder.
    #[serde(flatten)]
    pub builder: BuilderLine,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its last builds, oldest first.
    pub strip: Vec<RecentBuild>,
    /// The newest build that has ended.
    pub latest: Option<RecentBuild>,
    /// How many of its last builds run.
    pub running: usize,
    /// Usual duration in seconds.
    pub usual: Option<i64>,
}

impl BuilderSummary {
    /// 0 is worst.
    fn trouble(&self) -> u8 {
        match self.latest.as_ref().and_then(|build| build.results) {
            Some(Results::Failure | Results::Exception) => 0,
            Some(Results::Warnings) => 1,
            Some(Results::Retry | Results::Cancelled) => 2,
            Some(Results::Success | Results::Skipped) => 3,
            None => 4,
        }
    }
}

/// The list of builders.
#[derive(Clone, Debug, Serialize)]
pub struct BuildersPage {
    /// Those in trouble first, then by name.
    pub builders: Vec<BuilderSummary>,
    /// Every tag that is in use.
    pub tags: BTreeSet<String>,
    /// There are more builders than are shown.
    pub cut: bool,
}

/// One builder.
#[derive(Clone, Debug, Serialize)]
pub struct BuilderPage {
    /// The builder.
    #[serde(flatten)]
    pub builder: BuilderLine,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its workers.
    pub workers: Vec<WorkerLine>,
    /// Its last builds, oldest first, for the drawing.
    pub drawn: Vec<RecentBuild>,
    /// Usual duration in seconds.
    pub usual: Option<i64>,
    /// Its queue.
    pub pending: PendingPage,
    /// A page of its builds, newest first.
    pub builds: Vec<ListedBuild>,
    /// Where the next page begins: builds below this number.
    pub next: Option<i64>,
}

/// A build in the list of its builder.
#[derive(Clone, Debug, Serialize)]
pub struct ListedBuild {
    /// The build.
    #[serde(flatten)]
    pub build: BuildLine,
    /// Another build of the same revision ended otherwise.
    pub flaky: bool,
}

impl Data {
    /// The list of builders. `all` includes those that no master has any more.
    pub async fn builders_page(&self, all: bool) -> Result<BuildersPage> {
        self.db().read("page_builders", |tx| async move { builders_page(&tx, all).await }).await
    }

    /// The builder with this id, or of this name.
    pub async fn find_builder(&self, key: &str) -> Result<Option<BuilderLine>> {
        self.db().read("page_find_builder", |tx| async move { find(&tx, key).await }).await
    }

    /// One builder; its builds below a number where one is given.
    pub async fn builder_page(&self, builder: BuilderLine, below: Option<i64>) -> Result<BuilderPage> {
        self.db().read("page_builder", |tx| async move { builder_page(&tx, builder, below).await }).await
    }
}

async fn find(tx: &Tx, key: &str) -> Result<Option<BuilderLine>> {
    if let Ok(id) = key.parse()
        && let Some(builder) = views::builder_by_id(tx, BuilderId(id)).await?
    {
        return Ok(Some(builder));
    }
    views::builder_by_name(tx, key).await
}

async fn builders_page(tx: &Tx, all: bool) -> Result<BuildersPage> {
    let mut builders = summaries(tx).await?;
    let cut = builders.len() as i64 >= MAX_BUILDERS;
    builders.retain(|summary| all || summary.builder.active);
    builders.sort_by(|a, b| (a.trouble(), &a.builder.name).cmp(&(b.trouble(), &b.builder.name)));
    let tags = builders.iter().flat_map(|summary| summary.tags.iter().cloned()).collect();
    Ok(BuildersPage { builders, tags, cut })
}

/// All builders with their latest results.
pub(super) async fn summaries(tx: &Tx) -> Result<Vec<BuilderSummary>> {
    let mut tags = tags(tx).await?;
    let mut strips = strips(tx).await?;
    let summary = |builder: BuilderLine| {
        let mut strip = strips.remove(&builder.id).unwrap_or_default();
        strip.reverse();
        BuilderSummary {
            tags: tags.remove(&builder.id).unwrap_or_default(),
            latest: strip.iter().rev().find(|build| build.results.is_some()).cloned(),
            running: strip.iter().filter(|build| build.results.is_none()).count(),
            usual: usual_duration(&strip),
            strip,
            builder,
        }
    };
    Ok(views::builders(tx, MAX_BUILDERS).await?.into_iter().map(summary).collect())
}

/// The last builds of each builder, newest first.
pub(super) async fn strips(tx: &Tx) -> Result<BTreeMap<BuilderId, Vec<RecentBuild>>> {
    let mut strips: BTreeMap<BuilderId, Vec<RecentBuild>> = BTreeMap::new();
    for build in views::recent(tx, None, STRIP).await? {
        strips.entry(build.builder).or_default().push(build);
    }
    Ok(strips)
}

async fn tags(tx: &Tx) -> Result<BTreeMap<BuilderId, Vec<String>>> {
    let mut tags: BTreeMap<BuilderId, Vec<String>> = BTreeMap::new();
    for tag in views::tags(tx).await? {
        tags.entry(tag.builder).or_default().push(tag.tag);
    }
    Ok(tags)
}

async fn builder_page(tx: &Tx, builder: BuilderLine, below: Option<i64>) -> Result<BuilderPage> {
    let id = builder.id;
    let mut drawn = views::recent(tx, Some(id), DRAWN).await?;
    let newest = drawn.iter().take(STRIP as usize).cloned().collect::<Vec<_>>();
    drawn.reverse();
    let builds = views::builds_of_builder(tx, id, below, BUILDS_PER_PAGE).await?;
    let next = builds.last().map(|build| build.number).filter(|number| *number > 1);
    let mine: BTreeSet<_> =
        views::workers_of_builders(tx, Some(id)).await?.into_iter().map(|pair| pair.worker).collect();
    let mut workers = views::workers(tx, super::MAX_WORKERS).await?;
    workers.retain(|worker| mine.contains(&worker.id));
    Ok(BuilderPage {
        tags: tags(tx).await?.remove(&id).unwrap_or_default(),
        workers,
        drawn,
        usual: usual_duration(&newest),
        pending: queue::pending_page(tx, Some(id)).await?,
        builds: mark_flaky(builds),
        next,
        builder,
    })
}

/// Marks builds of one revision that ended both well and badly: the sources were not the difference.
fn mark_flaky(builds: Vec<BuildLine>) -> Vec<ListedBuild> {
    let mut good = BTreeSet::new();
    let mut bad = BTreeSet::new();
    for build in &builds {
        let Some(revision) = build.revision.clone().filter(|revision| !revision.is_empty()) else { continue };
        match build.results {
            Some(Results::Success | Results::Warnings) => good.insert(revision),
            Some(Results::Failure | Results::Exception) => bad.insert(revision),
            _ => continue,
        };
    }
    let both: BTreeSet<&String> = good.intersection(&bad).collect();
    let flaky = |build: &BuildLine| build.revision.as_ref().is_some_and(|revision| both.contains(revision));
    builds.into_iter().map(|build| ListedBuild { flaky: flaky(&build), build }).collect()
}
