//! One build.

use std::collections::BTreeMap;

use muster_core::{
    Build, BuildId, BuilderId, Log, LogId, RequestId, Results, SourceStamp, Step, StepId, Timestamp, integers,
};
use muster_store::{
    Result, Tx,
    query::{self, Select},
    views,
};
use serde::Serialize;

use super::{
    BuilderLine, ChangeLine, Keep, Part, STRIP, TextLine, changes::is_web_address, is_bad, usual_duration,
};
use crate::Data;

/// Lines of an open step's log.
const EXCERPT: i64 = 40;
/// Bytes of an open step's log, and of one of its lines; the log's own page has more.
const EXCERPT_BYTES: (usize, usize) = (64 << 10, 4 << 10);
/// Failing steps that are shown open.
const MAX_EXCERPTS: usize = 3;

/// One build.
#[derive(Clone, Debug, Serialize)]
pub struct BuildPage {
    /// Its id.
    pub id: BuildId,
    /// Its builder.
    pub builder: BuilderLine,
    /// Its number.
    pub number: i64,
    /// `None` while it runs.
    pub results: Option<Results>,
    /// What it does, or how it ended.
    pub state_string: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub complete_at: Option<Timestamp>,
    /// Seconds that it waited for locks.
    pub locks_duration_s: i64,
    /// Name of its worker.
    pub worker: Option<String>,
    /// Name of the master that runs or ran it.
    pub master: Option<String>,
    /// Its request.
    pub request: RequestId,
    /// When that was made.
    pub submitted_at: Option<Timestamp>,
    /// Why it was made.
    pub reason: String,
    /// The build that triggered it.
    pub parent: Option<BuildRef>,
    /// The build that it repeats.
    pub rebuilt: Option<BuildRef>,
    /// Its steps.
    pub steps: Vec<StepLine>,
    /// Its properties, by name.
    pub properties: Vec<PropertyLine>,
    /// What was built.
    pub sources: Vec<SourceLine>,
    /// What changed since the last good build.
    pub changes: Vec<ChangeLine>,
    /// Who made these changes, or asked for the build.
    pub responsible: Vec<String>,
    /// The number of its builder's newest build.
    pub newest: i64,
    /// Usual duration in seconds of its builder's builds.
    pub usual: Option<i64>,
}

/// Names another build.
#[derive(Clone, Debug, Serialize)]
pub struct BuildRef {
    /// Its id.
    pub id: BuildId,
    /// Its builder.
    pub builder: BuilderId,
    /// Its builder's name.
    pub builder_name: String,
    /// Its number.
    pub number: i64,
}

/// One step.
#[derive(Clone, Debug, Serialize)]
pub struct StepLine {
    /// Its id.
    pub id: StepId,
    /// Its number, from 0.
    pub number: i64,
    /// Its name.
    pub name: String,
    /// `None` while it runs or waits.
    pub results: Option<Results>,
    /// What it does, or how it ended.
    pub state_string: String,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it had its locks.
    pub locks_acquired_at: Option<Timestamp>,
    /// When it ended.
    pub complete_at: Option<Timestamp>,
    /// Not to be shown at first.
    pub hidden: bool,
    /// Links, by name; only `http` and `https`.
    pub urls: Vec<(String, String)>,
    /// Its logs.
    pub logs: Vec<LogRef>,
    /// The end of the log that matters, when the step is shown open.
    pub excerpt: Option<Excerpt>,
}

/// One log of a step.
#[derive(Clone, Debug, Serialize)]
pub struct LogRef {
    /// Its id.
    pub id: LogId,
    /// Its name.
    pub name: String,
    /// Its name in addresses.
    pub slug: String,
    /// Lines stored so far.
    pub num_lines: i64,
}

/// The end of a log.
#[derive(Clone, Debug, Serialize)]
pub struct Excerpt {
    /// The log.
    pub log: LogId,
    /// The log's name in addresses.
    pub slug: String,
    /// Lines before those shown.
    pub skipped: i64,
    /// The lines.
    pub lines: Vec<TextLine>,
}

/// One property.
#[derive(Clone, Debug, Serialize)]
pub struct PropertyLine {
    /// Its name.
    pub name: String,
    /// Its value as JSON; a text without its quotes.
    pub value: String,
    /// Where it came from.
    pub source: String,
}

/// What was built of one codebase.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct SourceLine {
    pub codebase: String,
    pub branch: Option<String>,
    pub revision: Option<String>,
    pub repository: String,
    pub project: String,
    pub patched: bool,
}

impl Data {
    /// One build of a builder.
    pub async fn build_page(&self, builder: BuilderLine, number: i64) -> Result<Option<BuildPage>> {
        let read =
            self.db().read("page_build", |tx| async move { build_page(&tx, builder, number).await }).await?;
        let Some((mut page, logs)) = read else { return Ok(None) };
        for (index, log) in excerpts(&page.steps, &logs) {
            let from = (log.num_lines - EXCERPT).max(0) + 1;
            let part = Part { from, count: EXCERPT, keep: Keep::Last };
            let lines = self.log_part(log.id, log.kind, part, EXCERPT_BYTES).await?;
            let skipped = lines.first().map_or(from, |line| line.number) - 1;
            page.steps[index].excerpt = Some(Excerpt { log: log.id, slug: log.slug.clone(), skipped, lines });
        }
        Ok(Some(page))
    }
}

/// The steps that are shown open, by their place, each with the log that says most.
fn excerpts<'a>(steps: &[StepLine], logs: &'a BTreeMap<StepId, Vec<Log>>) -> Vec<(usize, &'a Log)> {
    let bad = |step: &StepLine| step.results.is_some_and(is_bad);
    let runs = |step: &StepLine| step.started_at.is_some() && step.results.is_none();
    let open = steps.iter().enumerate().filter(|(_, step)| bad(step) || runs(step));
    open.filter_map(|(index, step)| Some((index, telling(logs.get(&step.id)?)?))).take(MAX_EXCERPTS).collect()
}

fn telling(logs: &[Log]) -> Option<&Log> {
    let readable = |log: &&Log| matches!(log.kind, muster_core::LogKind::Stdio | muster_core::LogKind::Text);
    let with_lines = || logs.iter().filter(readable).filter(|log| log.num_lines > 0);
    let preferred = ["err.text", "stdio"];
    preferred
        .iter()
        .find_map(|name| with_lines().find(|log| log.name == *name))
        .or_else(|| with_lines().next())
}

type WithLogs = (BuildPage, BTreeMap<StepId, Vec<Log>>);

async fn build_page(tx: &Tx, builder: BuilderLine, number: i64) -> Result<Option<WithLogs>> {
    let Some(build) = query::builds::by_number(tx, builder.id, number).await? else { return Ok(None) };
    let steps = query::steps::list(tx, &query::steps::of_build(Select::all(), build.id)).await?;
    let mut logs = BTreeMap::new();
    for step in &steps {
        logs.insert(step.id, query::logs::list(tx, &query::logs::of_step(Select::all(), step.id)).await?);
    }
    let request = query::requests::by_id(tx, build.request).await?;
    let buildset = match &request {
        Some(request) => query::buildsets::by_id(tx, request.buildset).await?,
        None => None,
    };
    let origin = buildset.as_ref();
    let properties = query::properties::of_build(tx, build.id).await?;
    let changes = query::changes::of_build(tx, &build).await?;
    let changes: Vec<ChangeLine> = changes.iter().map(ChangeLine::from).collect();
    let recent = views::recent(tx, Some(builder.id), STRIP).await?;
    let page = BuildPage {
        worker: worker_name(tx, &build).await?,
        master: query::masters::by_id(tx, build.master).await?.map(|master| master.name),
        submitted_at: request.map(|request| request.submitted_at),
        reason: origin.map(|set| set.reason.clone()).unwrap_or_default(),
        parent: build_ref(tx, origin.and_then(|set| set.parent_build)).await?,
        rebuilt: build_ref(tx, origin.and_then(|set| set.rebuilt_build)).await?,
        steps: steps.iter().map(|step| step_line(step, &logs)).collect(),
        sources: origin.map(|set| set.sourcestamps.iter().map(source_line).collect()).unwrap_or_default(),
        responsible: responsible(&changes, &properties),
        properties: property_lines(&properties),
        changes,
        newest: recent.first().map_or(number, |build| build.number),
        usual: usual_duration(&recent),
        id: build.id,
        number,
        results: build.results,
        state_string: build.state_string,
        started_at: build.started_at,
        complete_at: build.complete_at,
        locks_duration_s: build.locks_duration_s,
        request: build.request,
        builder,
    };
    Ok(Some((page, logs)))
}

async fn worker_name(tx: &Tx, build: &Build) -> Result<Option<String>> {
    let Some(id) = build.worker else { return Ok(None) };
    Ok(query::workers::by_id(tx, id).await?.map(|worker| worker.name))
}

async fn build_ref(tx: &Tx, id: Option<BuildId>) -> Result<Option<BuildRef>> {
    let Some(id) = id else { return Ok(None) };
    let Some(build) = query::builds::by_id(tx, id).await? else { return Ok(None) };
    let Some(builder) = views::builder_by_id(tx, build.builder).await? else { return Ok(None) };
    Ok(Some(BuildRef { id, builder: builder.id, builder_name: builder.name, number: build.number }))
}

fn step_line(step: &Step, logs: &BTreeMap<StepId, Vec<Log>>) -> StepLine {
    let log_ref = |log: &Log| LogRef {
        id: log.id,
        name: log.name.clone(),
        slug: log.slug.clone(),
        num_lines: log.num_lines,
    };
    let urls = step.urls.iter().filter(|link| is_web_address(&link.url));
    StepLine {
        id: step.id,
        number: step.number,
        name: step.name.clone(),
        results: step.results,
        state_string: step.state_string.clone(),
        started_at: step.started_at,
        locks_acquired_at: step.locks_acquired_at,
        complete_at: step.complete_at,
        hidden: step.hidden,
        urls: urls.map(|link| (link.name.clone(), link.url.clone())).collect(),
        logs: logs.get(&step.id).map(|logs| logs.iter().map(log_ref).collect()).unwrap_or_default(),
        excerpt: None,
    }
}

fn source_line(source: &SourceStamp) -> SourceLine {
    let some = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    SourceLine {
        codebase: source.codebase.clone(),
        branch: some(&source.branch),
        revision: some(&source.revision),
        repository: source.repository.clone(),
        project: source.project.clone(),
        patched: source.patch.is_some(),
    }
}

fn property_lines(properties: &muster_core::Properties) -> Vec<PropertyLine> {
    let mut lines: Vec<PropertyLine> = properties.iter().map(property_line).collect();
    lines.sort_by(|a, b| a.name.cmp(&b.name));
    lines
}

fn property_line((name, property): (&str, &muster_core::Property)) -> PropertyLine {
    let value = match property.value() {
        serde_json::Value::String(text) => integers::digits(text).unwrap_or(text).to_owned(),
        other => integers::numbers(&other.to_string()).into_owned(),
    };
    PropertyLine { name: name.to_owned(), value, source: property.source().to_owned() }
}

/// Authors of the changes, then the owner of a forced build; each once.
fn responsible(changes: &[ChangeLine], properties: &muster_core::Properties) -> Vec<String> {
    let mut people: Vec<String> = changes.iter().map(|change| change.author.clone()).collect();
    people.extend(properties.get("owner").and_then(|owner| owner.as_str()).map(str::to_owned));
    let mut seen = std::collections::BTreeSet::new();
    people.retain(|person| !person.is_empty() && seen.insert(person.clone()));
    people
}
