//! A run: one task owns a build, takes its steps in order, and finishes it. There is one place that does.
//!
//! The same loop starts a build and goes on with one that another master (or an earlier life of this one) began:
//! finished steps are folded from their rows, the unfinished one is run again from its beginning with its journal.

mod command;
mod context;
mod execute;
mod facts;
mod journal;
mod logs;
pub(crate) mod properties;
mod recorder;
mod step;
pub(crate) mod summary;
mod transfer;

use std::{path::PathBuf, sync::Arc, time::Duration};

use muster_config::snapshot::Condition;
use muster_core::{Properties, Results, Step, identifier::with_suffix};
use muster_data::{Data, RunWrite};
use muster_store::runs::{self, JournalRow, RunKey};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{callables::Callables, locks, sessions::Slot};

pub use command::{CommandRequest, CommandResult, MAX_COLLECTED};
pub(crate) use context::truth;
pub use context::{HaltReason, StepContext, StepEnd};
pub use execute::LineObserver;
pub(crate) use facts::Facts;
pub use logs::LogRef;
pub(crate) use recorder::{Halt, Recorder};
pub(crate) use step::StepOutcome;
pub use transfer::Transfer;

/// The wait before a database that refused is asked again.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// An order to stop a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StopOrder {
    pub(crate) reason: String,
}

/// Where an order to stop shows up. Cloned receivers see the same orders.
pub(crate) type StopReceiver = watch::Receiver<Option<Arc<StopOrder>>>;

/// Waits for an order to stop; for ever, when none can come any more.
pub(crate) async fn ordered(stop: &mut StopReceiver) {
    if stop.wait_for(Option::is_some).await.is_err() {
        std::future::pending().await
    }
}

/// What a run works with.
pub(crate) struct RunCore {
    pub(crate) data: Data,
    pub(crate) key: RunKey,
    pub(crate) facts: Facts,
    pub(crate) properties: Properties,
    pub(crate) recorder: Recorder,
    pub(crate) slot: Slot,
    pub(crate) stop: StopReceiver,
    /// This master goes: put everything down, leave the rows.
    pub(crate) leaving: CancellationToken,
    /// Tells whoever waits for locks that some were released.
    pub(crate) releases: watch::Sender<u64>,
    pub(crate) basedir: PathBuf,
    pub(crate) callables: Callables,
}

/// What the steps so far mean for the build.
struct Progress {
    results: Results,
    /// Only steps that always run are still run.
    stopping: bool,
    /// Nothing is run any more: the worker is gone.
    lost: bool,
    stop_reason: Option<String>,
    texts: Vec<String>,
    names: Vec<String>,
    /// The number of the next step.
    next: u32,
    /// Rows of an earlier execution.
    rows: Vec<Step>,
}

/// Runs a build to its end, or until it must be put down.
pub(crate) async fn execute(mut core: RunCore, rows: Vec<Step>) -> Result<(), Halt> {
    let mut progress = Progress::new(rows);
    if progress.rows.is_empty() {
        let leaving = core.leaving.clone();
        let wanted = tokio::select! {
            wanted = is_wanted(&core, &mut progress) => wanted,
            () = leaving.cancelled() => return Err(Halt::Leaving),
        };
        if !wanted {
            return finish(core, progress).await;
        }
    }
    prepare(&mut core, &mut progress).await?;
    let plan = core.facts.plan.steps.clone();
    for config in &plan {
        if progress.lost || (progress.stopping && !config.flags.always_run) {
            continue;
        }
        if let Some(order) = core.stop_order() {
            progress.stop(order);
            core.forget_stop();
            if !config.flags.always_run {
                continue;
            }
        }
        let (number, row) = progress.next_step();
        let outcome = match row {
            Some(row) if row.results.is_some() => step::finished_before(config, &row),
            row => step::run(&mut core, number, config, row, &progress.names).await?,
        };
        progress.fold(&mut core, config, outcome);
    }
    finish(core, progress).await
}

impl RunCore {
    fn stop_order(&self) -> Option<Arc<StopOrder>> {
        self.stop.borrow().clone()
    }

    /// What an earlier execution of a step has done. A database that refuses is asked again.
    async fn journal_of(&self, step: u32) -> Result<Vec<JournalRow>, Halt> {
        let build = self.key.build;
        loop {
            let read =
                self.data.db().read("journal", |tx| async move { runs::journal_of(&tx, build, step).await });
            match read.await {
                Ok(rows) => return Ok(rows),
                Err(error) => tracing::error!(%build, %error, "can't read the journal; trying again"),
            }
            tokio::select! {
                () = tokio::time::sleep(READ_AGAIN) => {}
                () = self.leaving.cancelled() => return Err(Halt::Leaving),
            }
        }
    }

    /// The order was carried out: steps that always run must not be stopped by it, too.
    fn forget_stop(&mut self) {
        let (sender, receiver) = watch::channel(None);
        drop(sender);
        self.stop = receiver;
    }
}

/// Whether the build has steps at all, by the builder's `do_build_if`.
async fn is_wanted(core: &RunCore, progress: &mut Progress) -> bool {
    let answer = match &core.facts.plan.do_build_if {
        Condition::Fixed(wanted) => Ok(*wanted),
        Condition::Renderable(renderable) => facts::render_plainly(renderable, &core.properties, &core.facts),
        Condition::Callable(callable) => {
            let answer = core.callables.ask_about_build(callable, &core.properties, &core.facts).await;
            answer.map(|value| truth(&value))
        }
    };
    match answer {
        Ok(true) => return true,
        Ok(false) => progress.results = Results::Skipped,
        Err(reason) => {
            progress.results = Results::Exception;
            progress.texts.push(format!("do_build_if: {}", reason.lines().next().unwrap_or_default()));
        }
    }
    false
}

/// Step 0, and the wait for the build's locks.
async fn prepare(core: &mut RunCore, progress: &mut Progress) -> Result<(), Halt> {
    let (number, row) = progress.next_step();
    progress.names.push("worker_preparation".to_owned());
    if row.is_none() {
        let now = muster_data::now();
        core.recorder.write(RunWrite::StepStarted {
            step: number,
            name: "worker_preparation".to_owned(),
            state: "pending".to_owned(),
            at: now,
        });
        core.recorder.write(RunWrite::BuildState("preparing worker".to_owned()));
        core.recorder.write(RunWrite::BuildAnnounced);
        core.recorder.write(RunWrite::StepLocksAcquired { step: number, at: now });
    }
    if row.is_none_or(|row| row.results.is_none()) {
        core.recorder.write(RunWrite::StepFinished {
            step: number,
            results: Results::Success,
            hidden: false,
            state: format!("worker {} ready", core.facts.worker),
            at: muster_data::now(),
        });
    }
    acquire_build_locks(core, progress).await?;
    core.recorder.write(RunWrite::BuildState("building".to_owned()));
    Ok(())
}

async fn acquire_build_locks(core: &mut RunCore, progress: &mut Progress) -> Result<(), Halt> {
    let snapshot = core.facts.snapshot.clone();
    let worker = &core.facts.worker;
    let mut wishes = locks::wishes(&snapshot, locks::known(&core.facts.plan.locks), worker);
    if let Some(config) = snapshot.worker(worker) {
        wishes.extend(locks::wishes(&snapshot, locks::known(&config.locks), worker));
    }
    if wishes.is_empty() {
        return Ok(());
    }
    let (step, row) = progress.next_step();
    progress.names.push("locks_acquire".to_owned());
    let began = muster_data::now();
    if row.is_none() {
        core.recorder.write(RunWrite::BuildState("acquiring locks".to_owned()));
        core.recorder.write(RunWrite::StepStarted {
            step,
            name: "locks_acquire".to_owned(),
            state: "waiting for locks".to_owned(),
            at: began,
        });
    }
    let wait = locks::take(core, -1, &wishes).await?;
    if row.is_some_and(|row| row.results.is_some()) {
        return Ok(());
    }
    let now = muster_data::now();
    core.recorder.write(RunWrite::LocksDuration(now.0 - began.0));
    core.recorder.write(RunWrite::StepLocksAcquired { step, at: now });
    let (results, state) = match wait {
        locks::Wait::Held => (Results::Success, "locks acquired"),
        locks::Wait::Stopped => (Results::Cancelled, "cancelled while waiting for locks"),
    };
    core.recorder.write(RunWrite::StepFinished {
        step,
        results,
        hidden: false,
        state: state.to_owned(),
        at: now,
    });
    Ok(())
}

/// The one place that ends a build.
async fn finish(mut core: RunCore, mut progress: Progress) -> Result<(), Halt> {
    // An order that came after the last step still counts.
    if let Some(order) = core.stop_order() {
        progress.stop(order);
    }
    let state = summary::build(progress.results, progress.stop_reason.as_deref(), &progress.texts);
    core.recorder.write(RunWrite::BuildFinished { results: progress.results, state, at: muster_data::now() });
    core.recorder.flush().await?;
    core.releases.send_modify(|count| *count += 1);
    Ok(())
}

impl Progress {
    fn new(rows: Vec<Step>) -> Progress {
        Progress {
            results: Results::Success,
            stopping: false,
            lost: false,
            stop_reason: None,
            texts: Vec::new(),
            names: Vec::new(),
            next: 0,
            rows,
        }
    }

    fn next_step(&mut self) -> (u32, Option<Step>) {
        let number = self.next;
        self.next += 1;
        (number, self.rows.iter().find(|row| row.number == i64::from(number)).cloned())
    }

    fn stop(&mut self, order: Arc<StopOrder>) {
        self.results = self.results.worst(Results::Cancelled);
        self.stopping = true;
        self.stop_reason = Some(order.reason.clone());
    }

    fn fold(
        &mut self,
        core: &mut RunCore,
        config: &muster_config::snapshot::StepConfig,
        outcome: StepOutcome,
    ) {
        let contribution = config.flags.contribution(outcome.results);
        self.results = self.results.worst(contribution.results);
        self.stopping |= contribution.stop;
        self.lost |= outcome.results == Results::Retry;
        if outcome.results == Results::Cancelled {
            if let Some(order) = core.stop_order() {
                self.stop(order);
            }
            // Also when it hasn't come (again) yet: an adopted run must not have its last steps stopped by it.
            core.forget_stop();
        }
        if outcome.counts_for_build {
            self.texts.push(outcome.state);
            core.recorder.write(RunWrite::BuildState(self.texts.join(" ")));
        }
        self.names.push(outcome.name);
    }
}

/// A name that no step of the build has yet: `a`, then `a_1`, `a_2` …
fn unique_name(name: &str, taken: &[String]) -> String {
    let mut candidate = name.to_owned();
    let mut number = 0;
    while taken.contains(&candidate) {
        number += 1;
        candidate = with_suffix(name, number);
    }
    candidate
}
