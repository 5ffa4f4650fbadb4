//! Builds while they run: claimed, written about by their owner alone, finished in one place.

use std::sync::Arc;

use muster_bus::Event;
use muster_core::{
    BuildId, BuilderId, Claim, LogKind, MasterId, Properties, Property, RequestId, Results, StepUrl,
    Timestamp, WorkerId,
};
use muster_store::{
    Error, Result, Tx, builds, buildsets,
    chunks::Chunk,
    control, locks, runs,
    runs::{JournalRow, RunKey, RunRow},
    steps, workers,
};
use serde_json::{Map, Value};

use super::{buildsets::complete_request, buildsets::request_event, control::worker_event};
use crate::{Data, now, resources};

/// A build to be started, as the distributor decided.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct NewRun {
    pub request: RequestId,
    pub builder: BuilderId,
    pub worker: WorkerId,
    pub snapshot: i64,
    /// JSON of the plan.
    pub plan: Arc<str>,
    /// All properties but `buildnumber`, which is known only now.
    pub properties: Properties,
}

/// A build that was started.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Started {
    pub key: RunKey,
    pub request: RequestId,
    pub number: i64,
}

/// What a worker's dial came to.
#[derive(Clone, Debug)]
pub enum Dialled {
    /// The session is here now.
    Won {
        /// Builds on this worker that another master had.
        moved: Vec<RunRow>,
        /// All builds on this worker: they are this master's now.
        builds: Vec<BuildId>,
    },
    /// A later dial of the same life was here already.
    Lost,
}

/// Something that a run's owner writes. Steps are addressed by their number, logs by name: the owner is the only
/// writer, so it knows them before the database does.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum RunWrite {
    BuildState(String),
    /// The build is shown from now on.
    BuildAnnounced,
    LocksDuration(i64),
    Plan(String),
    Property {
        name: String,
        property: Property,
    },
    StepStarted {
        step: u32,
        name: String,
        state: String,
        at: Timestamp,
    },
    StepLocksAcquired {
        step: u32,
        at: Timestamp,
    },
    StepState {
        step: u32,
        state: String,
    },
    StepUrl {
        step: u32,
        url: StepUrl,
    },
    /// Finishes its open logs, releases its locks and drops its journal, too.
    StepFinished {
        step: u32,
        results: Results,
        hidden: bool,
        state: String,
        at: Timestamp,
    },
    LogAdded {
        step: u32,
        slug: String,
        name: String,
        kind: LogKind,
    },
    LogAppended {
        step: u32,
        slug: String,
        chunks: Vec<Chunk>,
    },
    LogFinished {
        step: u32,
        slug: String,
    },
    Journal(JournalRow),
    /// The run is over: request and buildset are completed (or, on retry, the request is pending again), all locks
    /// are released.
    BuildFinished {
        results: Results,
        state: String,
        at: Timestamp,
    },
}

impl Data {
    /// Claims requests and starts their builds, each one whole or not at all; a request that somebody else has is
    /// left out.
    pub async fn start_runs(&self, master: MasterId, wanted: &[NewRun]) -> Result<Vec<Started>> {
        self.may_act()?;
        let committed = self.db().tx("start_runs", |tx| async move {
            let (mut started, mut events) = (Vec::new(), Vec::new());
            for run in wanted {
                if let Some((run, told)) = start(&tx, master, run).await? {
                    started.push(run);
                    events.extend(told);
                }
            }
            Ok::<_, Error>((started, events))
        });
        Ok(self.tell(committed.await?))
    }

    /// Applies what the owner of a run writes, in one fenced transaction. Nothing is written when the run has another
    /// owner or epoch.
    pub async fn commit_run(&self, run: &RunKey, request: RequestId, writes: &[RunWrite]) -> Result<()> {
        self.may_act()?;
        let committed = self.db().tx("commit_run", |tx| async move {
            runs::fence(&tx, run).await?;
            let mut events = Vec::new();
            for write in writes {
                apply(&tx, run, request, write, &mut events).await?;
            }
            Ok::<_, Error>(((), events))
        });
        self.tell(committed.await?);
        Ok(())
    }

    /// Takes over the runs that `owner` left behind: their epochs are raised, so that nobody else can write.
    pub async fn adopt_runs(&self, owner: MasterId, me: MasterId) -> Result<Vec<RunRow>> {
        self.may_act()?;
        let adopted = self.db().tx("adopt_runs", |tx| async move {
            let runs = runs::of_owner(&tx, owner).await?;
            adopt(&tx, runs, me).await
        });
        adopted.await.map(|committed| committed.into_inner())
    }

    /// A worker dials this master. If the dial wins the session, the builds on that worker come along: a build follows
    /// its worker, and its former owner is fenced.
    pub async fn worker_dials(
        &self,
        master: MasterId,
        worker: WorkerId,
        boot_id: &str,
        dial_no: i64,
        info: &Map<String, Value>,
    ) -> Result<Dialled> {
        self.may_act()?;
        let committed = self.db().tx("worker_dials", |tx| async move {
            let dial = workers::win_session(&tx, worker, boot_id, dial_no, master).await?;
            if dial == workers::Dial::Lost {
                return Ok((Dialled::Lost, Vec::new()));
            }
            workers::connected(&tx, master, worker, &muster_store::json_text(info)?).await?;
            let elsewhere = runs::of_worker_elsewhere(&tx, worker, master).await?;
            let moved = adopt(&tx, elsewhere, master).await?;
            let builds = runs::builds_on(&tx, worker).await?;
            Ok::<_, Error>((
                Dialled::Won { moved, builds },
                vec![worker_event(&tx, worker, "connected").await?],
            ))
        });
        Ok(self.tell(committed.await?))
    }

    /// A worker's connection is gone.
    pub async fn worker_is_gone(&self, master: MasterId, worker: WorkerId) -> Result<()> {
        let committed = self.db().tx("worker_is_gone", |tx| async move {
            workers::disconnected(&tx, master, worker).await?;
            Ok::<_, Error>(((), vec![worker_event(&tx, worker, "disconnected").await?]))
        });
        self.tell(committed.await?);
        Ok(())
    }
}

/// Makes `me` the owner of runs, of their builds and of their claims.
pub(super) async fn adopt(tx: &Tx, mut runs: Vec<RunRow>, me: MasterId) -> Result<Vec<RunRow>> {
    for run in &mut runs {
        run.key = runs::adopt(tx, &run.key, me).await?;
        builds::set_master(tx, run.key.build, me).await?;
        buildsets::move_claim(tx, run.request, me).await?;
    }
    Ok(runs)
}

/// Ends a run that nobody is to go on with, whoever owns it: its request is pending again.
pub(super) async fn give_up(tx: &Tx, run: &RunRow, reason: &str) -> Result<Vec<Event>> {
    let key = runs::adopt(tx, &run.key, run.key.owner).await?;
    abandon(tx, &key, run.request, reason).await
}

/// Ends a build, with all that is unfinished of it, so that its request is pending again.
pub(super) async fn abandon(tx: &Tx, key: &RunKey, request: RequestId, reason: &str) -> Result<Vec<Event>> {
    let (build, at) = (key.build, now());
    let mut events = Vec::new();
    for row in steps::of_build(tx, build).await?.into_iter().filter(|row| row.results.is_none()) {
        let finished = RunWrite::StepFinished {
            step: u32::try_from(row.number).unwrap_or_default(),
            results: Results::Retry,
            hidden: false,
            state: row.state_string,
            at,
        };
        apply_to_step(tx, build, &finished, &mut events).await?;
    }
    events.extend(finish(tx, key, request, Results::Retry, &format!("retry {reason}"), at).await?);
    Ok(events)
}

async fn start(tx: &Tx, master: MasterId, run: &NewRun) -> Result<Option<(Started, Vec<Event>)>> {
    let now = now();
    // Another master may have the worker's session by now.
    if !workers::holds_session(tx, run.worker, master).await? {
        return Ok(None);
    }
    if !buildsets::claim(tx, run.request, Claim { master, at: now }).await? {
        return Ok(None);
    }
    let (build, number) = builds::insert(tx, run.builder, run.request, run.worker, master, now).await?;
    let mut properties = run.properties.clone();
    properties.set("buildnumber", number, "Build");
    builds::insert_properties(tx, build, &properties).await?;
    let key = runs::insert(tx, build, master, run.worker, run.snapshot, &run.plan, now).await?;
    let events = vec![request_event(tx, run.request, "claimed").await?];
    Ok(Some((Started { key, request: run.request, number }, events)))
}

async fn apply(
    tx: &Tx,
    run: &RunKey,
    request: RequestId,
    write: &RunWrite,
    events: &mut Vec<Event>,
) -> Result<()> {
    let build = run.build;
    match write {
        RunWrite::BuildState(state) => {
            builds::set_state(tx, build, state).await?;
            events.push(build_event(tx, build, "update").await?);
        }
        RunWrite::BuildAnnounced => events.push(build_event(tx, build, "new").await?),
        RunWrite::LocksDuration(seconds) => {
            builds::add_locks_duration(tx, build, *seconds).await?;
            events.push(build_event(tx, build, "update").await?);
        }
        RunWrite::Plan(plan) => runs::set_plan(tx, build, plan).await?,
        RunWrite::Property { name, property } => {
            builds::set_properties(tx, build, [(name.as_str(), property)]).await?;
            let payload = Value::Object(Map::from_iter([(name.clone(), serde_json::json!(property))]));
            events.push(Event::new([format!("builds/{build}/properties/update")], payload));
        }
        RunWrite::Journal(row) => runs::journal(tx, build, row).await?,
        RunWrite::BuildFinished { results, state, at } => {
            events.extend(finish(tx, run, request, *results, state, *at).await?);
        }
        write => apply_to_step(tx, build, write, events).await?,
    }
    Ok(())
}

async fn apply_to_step(tx: &Tx, build: BuildId, write: &RunWrite, events: &mut Vec<Event>) -> Result<()> {
    match write {
        RunWrite::StepStarted { step, name, state, at } => {
            steps::insert(tx, build, *step, name, state, *at).await?;
            events.push(step_event(tx, build, *step, "new").await?);
            events.push(step_event(tx, build, *step, "started").await?);
        }
        RunWrite::StepLocksAcquired { step, at } => {
            steps::set_locks_acquired(tx, steps::id_of(tx, build, *step).await?, *at).await?;
        }
        RunWrite::StepState { step, state } => {
            steps::set_state(tx, steps::id_of(tx, build, *step).await?, state).await?;
            events.push(step_event(tx, build, *step, "updated").await?);
        }
        RunWrite::StepUrl { step, url } => {
            steps::add_url(tx, steps::id_of(tx, build, *step).await?, url).await?;
            events.push(step_event(tx, build, *step, "updated").await?);
        }
        RunWrite::StepFinished { step, results, hidden, state, at } => {
            let id = steps::id_of(tx, build, *step).await?;
            for log in steps::open_logs(tx, id).await? {
                steps::finish_log(tx, log).await?;
                events.push(log_event(tx, log, "finished").await?);
            }
            steps::finish(tx, id, *results, *hidden, state, *at).await?;
            locks::release_step(tx, build, i64::from(*step)).await?;
            runs::drop_journal(tx, build, *step).await?;
            events.push(step_event(tx, build, *step, "finished").await?);
        }
        RunWrite::LogAdded { step, slug, name, kind } => {
            let id = steps::insert_log(tx, steps::id_of(tx, build, *step).await?, name, slug, *kind).await?;
            events.push(log_event(tx, id, "new").await?);
        }
        RunWrite::LogAppended { step, slug, chunks } => {
            let id = log_id(tx, build, *step, slug).await?;
            steps::append(tx, id, chunks).await?;
            events.push(log_event(tx, id, "append").await?);
        }
        RunWrite::LogFinished { step, slug } => {
            let id = log_id(tx, build, *step, slug).await?;
            steps::finish_log(tx, id).await?;
            events.push(log_event(tx, id, "finished").await?);
        }
        other => return Err(Error::Data(format!("{other:?} is not about a step"))),
    }
    Ok(())
}

/// The one place that finishes a build.
async fn finish(
    tx: &Tx,
    run: &RunKey,
    request: RequestId,
    results: Results,
    state: &str,
    at: Timestamp,
) -> Result<Vec<Event>> {
    let build = run.build;
    // A stranger may have finished it (a Python master's housekeeping): then its word stands.
    builds::finish(tx, build, results, state, at).await?;
    runs::delete(tx, build).await?;
    locks::release_build(tx, build).await?;
    control::done(tx, "build", build.0).await?;
    let mut events = vec![build_event(tx, build, "update").await?, build_event(tx, build, "finished").await?];
    if results == Results::Retry {
        if buildsets::unclaim(tx, request, run.owner).await? {
            events.push(request_event(tx, request, "unclaimed").await?);
        }
        return Ok(events);
    }
    events.extend(complete_request(tx, request, results, at).await?);
    Ok(events)
}

async fn log_id(tx: &Tx, build: BuildId, step: u32, slug: &str) -> Result<muster_core::LogId> {
    let step_id = steps::id_of(tx, build, step).await?;
    let log = steps::find_log(tx, step_id, slug).await?;
    log.map(|log| log.id)
        .ok_or_else(|| Error::Data(format!("step {step} of build {build} has no log {slug}")))
}

async fn build_event(tx: &Tx, id: BuildId, what: &str) -> Result<Event> {
    let Some(build) = builds::by_id(tx, id).await? else {
        return Err(Error::Data(format!("there is no build {id}")));
    };
    let mut names = vec![
        format!("builders/{}/builds/{}/{what}", build.builder, build.number),
        format!("builds/{id}/{what}"),
    ];
    names.extend(build.worker.map(|worker| format!("workers/{worker}/builds/{id}/{what}")));
    Ok(Event::new(names, resources::build(&build)))
}

async fn step_event(tx: &Tx, build: BuildId, number: u32, what: &str) -> Result<Event> {
    let id = steps::id_of(tx, build, number).await?;
    let step = steps::by_id(tx, id).await?;
    let payload = step.map_or(Value::Null, |step| resources::step(&step));
    Ok(Event::new([format!("builds/{build}/steps/{id}/{what}"), format!("steps/{id}/{what}")], payload))
}

async fn log_event(tx: &Tx, id: muster_core::LogId, what: &str) -> Result<Event> {
    let Some(log) = steps::log_by_id(tx, id).await? else {
        return Err(Error::Data(format!("there is no log {id}")));
    };
    let names = [format!("logs/{id}/{what}"), format!("steps/{}/logs/{}/{what}", log.step, log.slug)];
    Ok(Event::new(names, resources::log(&log)))
}
