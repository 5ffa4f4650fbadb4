//! The rows that the writes of a commit are about, changed in memory, then stored.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join3;
use muster_bus::Event;
use muster_core::{Build, BuildId, Log, LogId, LogKind, Property, Step, StepId, Timestamp};
use muster_store::{
    Error, Result, Tx, builds,
    chunks::Chunk,
    locks, regroup,
    runs::{self, JournalRow},
    steps::{self, Placed},
};
use serde_json::Value;

use super::{
    super::runs::properties_event,
    RunPart, RunWrite,
    ends::{self, End},
};
use crate::resources;

/// Lines of a log that is worth the work of being grouped: a shorter one has few chunks in any case.
const WORTH_GROUPING: i64 = 20;

type StepKey = (BuildId, u32);
type LogKey = (BuildId, u32, String);

/// A row as it will be.
struct Kept<T> {
    row: T,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// As it is stored.
    Same,
    Changed,
    /// Not stored yet: its id is unknown.
    New,
}

impl<T> Kept<T> {
    fn change(&mut self) -> &mut T {
        if self.state == State::Same {
            self.state = State::Changed;
        }
        &mut self.row
    }
}

/// Something to tell, as it was at that moment; ids of new rows are put in when they are known.
enum Told<'a> {
    Build(Box<Build>, &'static str),
    Step(StepKey, Box<Step>, &'static str),
    Log(LogKey, Box<Log>, &'static str),
    /// Those that one step set, or that were set at once.
    Properties(BuildId, Vec<(&'a str, &'a Property)>),
    /// What follows from the end with this number.
    End(usize),
}

#[derive(Default)]
pub(super) struct Fold<'a> {
    builds: BTreeMap<BuildId, Kept<Build>>,
    steps: BTreeMap<StepKey, Kept<Step>>,
    logs: BTreeMap<LogKey, Kept<Log>>,
    /// In the order in which they were made, which their ids tell people later.
    new_logs: Vec<LogKey>,
    chunks: Vec<(LogKey, i64, &'a Chunk)>,
    /// Logs that had chunks before: one or many.
    begun: BTreeSet<LogKey>,
    /// Logs that have more than one chunk, as far as is known.
    in_pieces: BTreeSet<LogKey>,
    properties: Vec<(BuildId, &'a str, &'a Property)>,
    plans: BTreeMap<BuildId, &'a str>,
    journal: BTreeMap<(BuildId, u32, u32, u8), &'a JournalRow>,
    ended_steps: Vec<StepKey>,
    ends: Vec<End>,
    told: Vec<Told<'a>>,
}

impl<'a> Fold<'a> {
    /// Reads what the writes refer to and don't make themselves.
    pub(super) async fn load(tx: &Tx, parts: &[RunPart<'a>]) -> Result<Fold<'a>> {
        let (mut with_builds, mut with_steps) = (Vec::new(), BTreeSet::new());
        let (mut numbers, mut needs_logs) = (BTreeSet::new(), false);
        for part in parts {
            let build = part.run.build;
            if part.writes.iter().any(is_about_build) {
                with_builds.push(build);
            }
            let mut made = BTreeSet::new();
            for write in part.writes {
                match write {
                    RunWrite::StepStarted { step, .. } => {
                        made.insert(*step);
                    }
                    write => {
                        if let Some(step) = step_of(write).filter(|step| !made.contains(step)) {
                            with_steps.insert(build);
                            numbers.insert(step);
                            needs_logs |= !matches!(
                                write,
                                RunWrite::StepLocksAcquired { .. }
                                    | RunWrite::StepState { .. }
                                    | RunWrite::StepUrl { .. }
                            );
                        }
                    }
                }
            }
        }
        let (with_steps, numbers) = (Vec::from_iter(with_steps), Vec::from_iter(numbers));
        let with_logs = if needs_logs { with_steps.as_slice() } else { &[] };
        let (builds, steps, logs) = join3(
            builds::by_ids(tx, &with_builds),
            steps::numbered(tx, &with_steps, &numbers),
            steps::logs_of_numbered(tx, with_logs, &numbers),
        )
        .await;
        Ok(Fold::of(builds?, steps?, logs?))
    }

    fn of(builds: Vec<Build>, steps: Vec<Step>, logs: Vec<Log>) -> Fold<'a> {
        let mut fold = Fold::default();
        for row in builds {
            fold.builds.insert(row.id, Kept { row, state: State::Same });
        }
        let mut keys = BTreeMap::new();
        for row in steps {
            let key = (row.build, u32::try_from(row.number).unwrap_or(u32::MAX));
            keys.insert(row.id, key);
            fold.steps.insert(key, Kept { row, state: State::Same });
        }
        for row in logs {
            let Some((build, step)) = keys.get(&row.step) else { continue };
            let key = (*build, *step, row.slug.clone());
            if row.num_lines > 0 {
                fold.begun.insert(key.clone());
            }
            fold.logs.insert(key, Kept { row, state: State::Same });
        }
        fold
    }

    /// Applies the writes of one run.
    pub(super) fn add(&mut self, part: &RunPart<'a>) -> Result<()> {
        for write in part.writes {
            self.apply(part, write)?;
        }
        Ok(())
    }

    fn apply(&mut self, part: &RunPart<'a>, write: &'a RunWrite) -> Result<()> {
        let build = part.run.build;
        match write {
            RunWrite::BuildState(state) => {
                self.build(build)?.change().state_string.clone_from(state);
                self.tell_build(build, "update")?;
            }
            RunWrite::BuildAnnounced => self.tell_build(build, "new")?,
            RunWrite::LocksDuration(seconds) => {
                self.build(build)?.change().locks_duration_s += seconds;
                self.tell_build(build, "update")?;
            }
            RunWrite::Plan(plan) => {
                self.plans.insert(build, plan);
            }
            RunWrite::Property { name, property } => {
                self.properties.push((build, name, property));
                match self.told.last_mut() {
                    Some(Told::Properties(same, told)) if *same == build => told.push((name, property)),
                    _ => self.told.push(Told::Properties(build, vec![(name, property)])),
                }
            }
            RunWrite::Journal(row) => {
                self.journal.insert((build, row.step, row.ordinal, row.part), row);
            }
            RunWrite::BuildFinished { results, state, at } => {
                let row = self.build(build)?;
                let at = not_before(row.row.started_at, *at);
                // A stranger may have finished it (a Python master's housekeeping): then its word stands.
                if row.row.results.is_none() {
                    // People are told the last words first, then the end.
                    row.change().state_string.clone_from(state);
                    self.tell_build(build, "update")?;
                    let row = self.build(build)?.change();
                    (row.results, row.complete_at) = (Some(*results), Some(at));
                }
                self.tell_build(build, "finished")?;
                self.told.push(Told::End(self.ends.len()));
                let (owner, request) = (part.run.owner, part.request);
                self.ends.push(End { build, owner, request, results: *results, at });
            }
            RunWrite::LogAdded { step, slug, name, kind } => {
                self.add_log((build, *step, slug.clone()), name, *kind)?;
            }
            RunWrite::LogAppended { step, slug, chunks } => {
                self.append((build, *step, slug.clone()), chunks)?;
            }
            RunWrite::LogFinished { step, slug } => self.finish_log(&(build, *step, slug.clone()))?,
            write => self.apply_to_step(build, write)?,
        }
        Ok(())
    }

    fn apply_to_step(&mut self, build: BuildId, write: &'a RunWrite) -> Result<()> {
        match write {
            RunWrite::StepStarted { step, name, state, at } => {
                let row = Step {
                    id: StepId(0),
                    build,
                    number: i64::from(*step),
                    name: name.clone(),
                    started_at: Some(*at),
                    locks_acquired_at: None,
                    complete_at: None,
                    state_string: state.clone(),
                    results: None,
                    urls: Vec::new(),
                    hidden: false,
                };
                self.steps.insert((build, *step), Kept { row, state: State::New });
                self.tell_step((build, *step), "new")?;
                self.tell_step((build, *step), "started")
            }
            RunWrite::StepLocksAcquired { step, at } => {
                let row = self.step((build, *step))?.change();
                row.locks_acquired_at = Some(row.started_at.map_or(*at, |begin| not_before(begin, *at)));
                self.tell_step((build, *step), "updated")
            }
            RunWrite::StepState { step, state } => {
                self.step((build, *step))?.change().state_string.clone_from(state);
                self.tell_step((build, *step), "updated")
            }
            RunWrite::StepUrl { step, url } => {
                let row = self.step((build, *step))?;
                if !row.row.urls.contains(url) {
                    row.change().urls.push(url.clone());
                }
                self.tell_step((build, *step), "updated")
            }
            RunWrite::StepFinished { step, results, hidden, state, at } => {
                let key = (build, *step);
                let open = self.logs.range((build, *step, String::new())..);
                let open = open.take_while(|((build, step, _), _)| (*build, *step) == key);
                let open: Vec<LogKey> =
                    open.filter(|(_, log)| !log.row.complete).map(|(key, _)| key.clone()).collect();
                for log in &open {
                    self.finish_log(log)?;
                }
                let row = self.step(key)?;
                let at = row.row.started_at.map_or(*at, |begin| not_before(begin, *at));
                if row.row.results.is_none() {
                    row.change().state_string.clone_from(state);
                    self.tell_step(key, "updated")?;
                    let row = self.step(key)?.change();
                    (row.results, row.complete_at, row.hidden) = (Some(*results), Some(at), *hidden);
                }
                self.journal.retain(|(of, number, ..), _| (*of, *number) != key);
                self.ended_steps.push(key);
                self.tell_step(key, "finished")
            }
            other => Err(Error::Data(format!("{other:?} is not about a step"))),
        }
    }

    fn add_log(&mut self, key: LogKey, name: &str, kind: LogKind) -> Result<()> {
        let step = self.step((key.0, key.1))?.row.id;
        let row = Log {
            id: LogId(0),
            step,
            name: name.to_owned(),
            slug: key.2.clone(),
            complete: false,
            num_lines: 0,
            kind,
        };
        self.logs.insert(key.clone(), Kept { row, state: State::New });
        self.new_logs.push(key.clone());
        self.tell_log(&key, "new")
    }

    fn append(&mut self, key: LogKey, chunks: &'a [Chunk]) -> Result<()> {
        let log = self.log(&key)?;
        let before = log.row.num_lines;
        let row = log.change();
        let mut placed = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            placed.push((key.clone(), row.num_lines, chunk));
            row.num_lines += chunk.lines;
        }
        if before > 0 || chunks.len() > 1 {
            self.in_pieces.insert(key.clone());
        }
        self.chunks.extend(placed);
        self.tell_log(&key, "append")
    }

    fn finish_log(&mut self, key: &LogKey) -> Result<()> {
        self.log(key)?.change().complete = true;
        if self.begun.contains(key) {
            self.in_pieces.insert(key.clone());
        }
        self.tell_log(key, "finished")
    }

    fn build(&mut self, id: BuildId) -> Result<&mut Kept<Build>> {
        self.builds.get_mut(&id).ok_or_else(|| Error::Data(format!("there is no build {id}")))
    }

    fn step(&mut self, (build, step): StepKey) -> Result<&mut Kept<Step>> {
        let found = self.steps.get_mut(&(build, step));
        found.ok_or_else(|| Error::Data(format!("build {build} has no step {step}")))
    }

    fn log(&mut self, key: &LogKey) -> Result<&mut Kept<Log>> {
        let found = self.logs.get_mut(key);
        found.ok_or_else(|| Error::Data(format!("step {} of build {} has no log {}", key.1, key.0, key.2)))
    }

    fn tell_build(&mut self, id: BuildId, what: &'static str) -> Result<()> {
        let row = Box::new(self.build(id)?.row.clone());
        self.told.push(Told::Build(row, what));
        Ok(())
    }

    fn tell_step(&mut self, key: StepKey, what: &'static str) -> Result<()> {
        let row = Box::new(self.step(key)?.row.clone());
        self.told.push(Told::Step(key, row, what));
        Ok(())
    }

    fn tell_log(&mut self, key: &LogKey, what: &'static str) -> Result<()> {
        let row = Box::new(self.log(key)?.row.clone());
        self.told.push(Told::Log(key.clone(), row, what));
        Ok(())
    }

    /// Writes everything down; answers whether some log has ended whose chunks should be grouped.
    pub(super) async fn store(&mut self, tx: &Tx) -> Result<bool> {
        self.store_steps(tx).await?;
        let regroup = self.store_logs(tx).await?;
        let mut by_build: BTreeMap<BuildId, Vec<(&str, &Property)>> = BTreeMap::new();
        for (build, name, property) in &self.properties {
            by_build.entry(*build).or_default().push((name, property));
        }
        for (build, properties) in by_build {
            builds::set_properties(tx, build, properties).await?;
        }
        let over: BTreeSet<BuildId> = self.ends.iter().map(|end| end.build).collect();
        for (build, plan) in self.plans.iter().filter(|(build, _)| !over.contains(build)) {
            runs::set_plan(tx, *build, plan).await?;
        }
        // What belongs to steps of builds that are over goes with these.
        let ended: BTreeSet<StepKey> =
            self.ended_steps.iter().filter(|(build, _)| !over.contains(build)).copied().collect();
        let journal = self
            .journal
            .iter()
            .filter(|((build, step, ..), _)| !over.contains(build) && !ended.contains(&(*build, *step)));
        let journal: Vec<(BuildId, &JournalRow)> = journal.map(|(key, row)| (key.0, *row)).collect();
        runs::journal_all(tx, &journal).await?;
        // A step that has begun only now has nothing there.
        let was_known = |key: &&StepKey| self.steps.get(*key).is_none_or(|step| step.state != State::New);
        let with_journal: Vec<StepKey> = ended.iter().filter(was_known).copied().collect();
        runs::drop_journals(tx, &with_journal).await?;
        for (build, step) in &ended {
            locks::release_step(tx, *build, i64::from(*step)).await?;
        }
        for build in self.builds.values().filter(|build| build.state == State::Changed) {
            builds::update(tx, &build.row).await?;
        }
        Ok(regroup)
    }

    async fn store_steps(&mut self, tx: &Tx) -> Result<()> {
        for step in self.steps.values().filter(|step| step.state == State::Changed) {
            steps::update(tx, &step.row).await?;
        }
        let mut new: Vec<&mut Kept<Step>> =
            self.steps.values_mut().filter(|step| step.state == State::New).collect();
        let rows: Vec<&Step> = new.iter().map(|step| &step.row).collect();
        let ids = steps::insert_all(tx, &rows).await?;
        for (step, id) in new.iter_mut().zip(ids) {
            step.row.id = id;
        }
        Ok(())
    }

    async fn store_logs(&mut self, tx: &Tx) -> Result<bool> {
        for key in &self.new_logs {
            if let (Some(log), Some(step)) = (self.logs.get_mut(key), self.steps.get(&(key.0, key.1))) {
                log.row.step = step.row.id;
            }
        }
        let rows: Vec<&Log> =
            self.new_logs.iter().filter_map(|key| self.logs.get(key)).map(|log| &log.row).collect();
        let ids = steps::insert_logs(tx, &rows).await?;
        for (key, id) in self.new_logs.iter().zip(ids) {
            if let Some(log) = self.logs.get_mut(key) {
                log.row.id = id;
            }
        }
        let id_of = |key: &LogKey| self.logs.get(key).map_or(LogId(0), |log| log.row.id);
        let placed: Vec<Placed<'_>> =
            self.chunks.iter().map(|(key, first, chunk)| Placed(id_of(key), *first, chunk)).collect();
        steps::insert_chunks(tx, &placed).await?;
        let changed: Vec<&Log> =
            self.logs.values().filter(|log| log.state == State::Changed).map(|log| &log.row).collect();
        steps::update_logs(tx, &changed).await?;
        let ended = |key: &&LogKey| {
            self.logs.get(*key).is_some_and(|log| log.row.complete && log.row.num_lines >= WORTH_GROUPING)
        };
        let due: Vec<LogId> = self.in_pieces.iter().filter(ended).map(id_of).collect();
        regroup::wanted(tx, &due).await?;
        Ok(!due.is_empty())
    }

    /// What there is to tell, in the order of the writes. Ends the builds that are over.
    pub(super) async fn events(self, tx: &Tx) -> Result<Vec<Event>> {
        let mut of_ends = ends::store(tx, &self.ends).await?;
        let mut events = Vec::with_capacity(self.told.len());
        for told in self.told {
            match told {
                Told::Build(build, what) => events.push(build_event(&build, what)),
                Told::Step(key, mut step, what) => {
                    step.id = self.steps.get(&key).map_or(step.id, |kept| kept.row.id);
                    events.push(step_event(&step, what));
                }
                Told::Log(key, mut log, what) => {
                    if let Some(kept) = self.logs.get(&key) {
                        (log.id, log.step) = (kept.row.id, kept.row.step);
                    }
                    events.push(log_event(&log, what));
                }
                Told::Properties(build, properties) => {
                    let pair =
                        |(name, property): (&str, &Property)| (name.to_owned(), serde_json::json!(property));
                    let payload = Value::Object(properties.into_iter().map(pair).collect());
                    events.push(properties_event(build, payload));
                }
                Told::End(index) => events.append(&mut of_ends[index]),
            }
        }
        Ok(events)
    }
}

/// The step that a write needs to be there.
fn step_of(write: &RunWrite) -> Option<u32> {
    match write {
        RunWrite::StepLocksAcquired { step, .. }
        | RunWrite::StepState { step, .. }
        | RunWrite::StepUrl { step, .. }
        | RunWrite::StepFinished { step, .. }
        | RunWrite::LogAdded { step, .. }
        | RunWrite::LogAppended { step, .. }
        | RunWrite::LogFinished { step, .. } => Some(*step),
        _ => None,
    }
}

fn is_about_build(write: &RunWrite) -> bool {
    matches!(
        write,
        RunWrite::BuildState(_)
            | RunWrite::BuildAnnounced
            | RunWrite::LocksDuration(_)
            | RunWrite::BuildFinished { .. }
    )
}

fn build_event(build: &Build, what: &str) -> Event {
    let id = build.id;
    let mut names = vec![
        format!("builders/{}/builds/{}/{what}", build.builder, build.number),
        format!("builds/{id}/{what}"),
    ];
    names.extend(build.worker.map(|worker| format!("workers/{worker}/builds/{id}/{what}")));
    Event::new(names, resources::build(build))
}

fn step_event(step: &Step, what: &str) -> Event {
    let (build, id) = (step.build, step.id);
    Event::new(
        [format!("builds/{build}/steps/{id}/{what}"), format!("steps/{id}/{what}")],
        resources::step(step),
    )
}

fn log_event(log: &Log, what: &str) -> Event {
    let id = log.id;
    let names = [format!("logs/{id}/{what}"), format!("steps/{}/logs/{}/{what}", log.step, log.slug)];
    Event::new(names, resources::log(log))
}

/// The time of something that follows `begin`. A clock that was stepped back meanwhile reverses nothing.
fn not_before(begin: Timestamp, at: Timestamp) -> Timestamp {
    at.max(begin)
}
