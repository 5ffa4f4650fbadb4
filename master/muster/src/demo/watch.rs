//! Follows workers and builds as the database tells them, and shows what is new.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use muster_core::{BuildId, Results};
use muster_data::Data;
use muster_data::views::{BuildLine, BuildPage, StepLine};
use muster_store::views::latest_builds;

use super::progress::Progress;

/// How long to wait for more events before looking again: a build makes many at once.
const GATHER: Duration = Duration::from_millis(100);
/// How often to look anyway, which also moves the clock on the terminal.
const TICK: Duration = Duration::from_secs(1);
/// Builds that are looked at; a demo does not run more at once.
const WATCHED: i64 = 20;
/// Lines of a failing step that are shown.
const LAST_LINES: usize = 20;

/// Shows builds that begin after its own beginning.
pub struct Watcher<'a> {
    data: &'a Data,
    progress: &'a Progress,
    url: &'a str,
    /// Builds up to this one are not new.
    known: BuildId,
    shown: BTreeMap<BuildId, Shown>,
}

/// What of a build was shown.
struct Shown {
    began: Instant,
    steps: BTreeMap<i64, StepShown>,
    is_finished: bool,
}

struct StepShown {
    began: Instant,
    is_finished: bool,
}

/// A build that has ended.
pub struct Finished {
    page: BuildPage,
    results: Results,
    took: Duration,
}

impl Finished {
    /// Whether the build did what it should.
    pub fn is_good(&self) -> bool {
        matches!(self.results, Results::Success | Results::Warnings)
    }
}

impl<'a> Watcher<'a> {
    /// Builds that are there already are not shown.
    pub async fn new(data: &'a Data, progress: &'a Progress, url: &'a str) -> Result<Watcher<'a>> {
        let known = latest(data).await?.first().map_or(BuildId(0), |build| build.id);
        Ok(Watcher { data, progress, url, known, shown: BTreeMap::new() })
    }

    /// Waits until a worker is connected.
    pub async fn wait_for_worker(&mut self) -> Result<()> {
        let began = Instant::now();
        loop {
            let mut events = self.data.bus().subscribe();
            if let Some(summary) =
                self.data.workers_page().await?.iter().find(|summary| summary.worker.connected)
            {
                self.progress.say(&format!("the worker {} is connected", summary.worker.name));
                return Ok(());
            }
            self.progress
                .meanwhile(&format!("waiting for the worker {:.0} s", began.elapsed().as_secs_f64()));
            wake_up(&mut events).await;
        }
    }

    /// Shows what goes on until a build has ended.
    pub async fn next_finished(&mut self) -> Result<Finished> {
        loop {
            // Registered before the look, so that what happens meanwhile wakes us.
            let mut events = self.data.bus().subscribe();
            if let Some(finished) = self.look().await? {
                return Ok(finished);
            }
            wake_up(&mut events).await;
        }
    }

    async fn look(&mut self) -> Result<Option<Finished>> {
        let mut builds = latest(self.data).await?;
        builds.reverse();
        let known = self.known;
        for build in builds.into_iter().filter(|build| build.id > known) {
            if self.shown.get(&build.id).is_some_and(|shown| shown.is_finished) {
                continue;
            }
            let page = self.page(&build).await?;
            if let Some(finished) = self.show(page) {
                return Ok(Some(finished));
            }
        }
        Ok(None)
    }

    async fn page(&self, build: &BuildLine) -> Result<BuildPage> {
        let builder = self.data.find_builder(&build.builder_name).await?;
        let builder = builder.with_context(|| format!("the builder {} is gone", build.builder_name))?;
        let page = self.data.build_page(builder, build.number).await?;
        page.with_context(|| format!("the build {} {} is gone", build.builder_name, build.number))
    }

    fn show(&mut self, page: BuildPage) -> Option<Finished> {
        let shown = self.shown.entry(page.id).or_insert_with(|| {
            let worker = page.worker.as_deref().unwrap_or("no worker");
            let (builder, number) = (&page.builder.name, page.number);
            self.progress.say(&format!("{builder} {number} begins on {worker}: {}", page.reason));
            Shown { began: Instant::now(), steps: BTreeMap::new(), is_finished: false }
        });
        for step in page.steps.iter().filter(|step| step.started_at.is_some()) {
            show_step(self.progress, shown, step);
        }
        let results = page.results?;
        shown.is_finished = true;
        Some(Finished { results, took: shown.began.elapsed(), page })
    }

    /// The end of a build: its result and address; of a bad one also the end of the log that matters.
    pub fn tell_end(&self, build: &Finished) {
        let page = &build.page;
        if !build.is_good() {
            self.tell_failures(page);
        }
        let (name, number, took) = (&page.builder.name, page.number, build.took.as_secs_f64());
        let address = format!("{}builders/{}/builds/{number}", self.url, page.builder.id);
        self.progress.say(&format!("{name} {number}: {} after {took:.1} s, {address}", build.results));
    }

    fn tell_failures(&self, page: &BuildPage) {
        for step in page.steps.iter().filter(|step| step.results.is_some_and(is_bad)) {
            self.progress.say(&format!("the last lines of the step {}:", step.name));
            // Headers tell the environment and the like; what the command said matters more.
            let lines =
                step.excerpt.iter().flat_map(|excerpt| &excerpt.lines).filter(|line| line.stream != 'h');
            let texts: Vec<&str> = lines.map(|line| line.text.as_str()).collect();
            self.progress.quote(texts[texts.len().saturating_sub(LAST_LINES)..].iter().copied());
        }
    }
}

fn show_step(progress: &Progress, shown: &mut Shown, step: &StepLine) {
    let seen =
        shown.steps.entry(step.number).or_insert(StepShown { began: Instant::now(), is_finished: false });
    if seen.is_finished {
        return;
    }
    let (name, state, took) = (&step.name, &step.state_string, seen.began.elapsed().as_secs_f64());
    match step.results {
        None => progress.meanwhile(&format!("  {name:<18} {:<9} {took:6.1} s  {state}", "…")),
        Some(results) => {
            seen.is_finished = true;
            if !step.hidden {
                progress.say(&format!("  {name:<18} {:<9} {took:6.1} s  {state}", results.name()));
            }
        }
    }
}

fn is_bad(results: Results) -> bool {
    !matches!(results, Results::Success | Results::Warnings | Results::Skipped)
}

async fn latest(data: &Data) -> Result<Vec<BuildLine>> {
    Ok(data.db().read("demo_builds", |tx| async move { latest_builds(&tx, WATCHED).await }).await?)
}

async fn wake_up(events: &mut muster_bus::Subscription) {
    tokio::select! {
        _ = events.next() => tokio::time::sleep(GATHER).await,
        () = tokio::time::sleep(TICK) => {}
    }
}
