//! A run: one task owns a build, takes its steps in order, and finishes it. There is one place that does.
//!
//! The same loop starts a build and goes on with one that another master (or an earlier life of this one) began:
//! finished steps are folded from their rows, the unfinished one is run again from its beginning with its journal.

pub(crate) mod locks;
pub(crate) mod properties;
mod step;

use std::sync::Arc;

use muster_config::snapshot::{Condition, StepConfig};
use muster_core::{Results, Step};
use muster_data::RunWrite;
use serde_json::json;

use crate::effects::{Halt, RunCore, StopOrder, render_plainly, summary, truth};
use step::StepOutcome;

/// What the steps so far mean for the build.
struct Progress {
    results: Results,
    /// Only steps that always run are still run.
    stopping: bool,
    /// Nothing is run any more: the worker is gone.
    lost: bool,
    /// The worker went away under a step.
    connection_lost: bool,
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
    let leaving = core.leaving.clone();
    tokio::select! {
        () = core.conceal_again() => {}
        () = leaving.cancelled() => return Err(Halt::Leaving),
    }
    if progress.rows.is_empty() {
        let wanted = tokio::select! {
            wanted = is_wanted(&core, &mut progress) => wanted,
            () = leaving.cancelled() => return Err(Halt::Leaving),
        };
        if !wanted {
            return finish(core, progress).await;
        }
    }
    prepare(&mut core, &mut progress).await?;
    // A step may add others behind itself.
    for place in 0.. {
        let Some(config) = core.facts.plan.steps.get(place).cloned() else { break };
        let config = &config;
        core.place = place;
        if progress.lost || (progress.stopping && !config.flags.always_run) {
            continue;
        }
        if let Some(order) = core.stop_before(place, progress.has_begun_next()) {
            progress.stop(order);
            core.stop.carry_out();
            if !config.flags.always_run {
                continue;
            }
        }
        let (number, row) = progress.next_step();
        let outcome = match row {
            Some(row) if row.results.is_some() => step::finished_before(config, &row),
            row => match core.refused.take() {
                Some(reason) => {
                    step::refuse(&mut core, number, config, row, &progress.names, &reason).await?
                }
                None => step::run(&mut core, number, config, row, &progress.names).await?,
            },
        };
        progress.fold(&mut core, config, outcome);
    }
    finish(core, progress).await
}

/// Whether the build has steps at all, by the builder's `do_build_if`.
async fn is_wanted(core: &RunCore, progress: &mut Progress) -> bool {
    let answer = match &core.facts.plan.do_build_if {
        Condition::Fixed(wanted) => Ok(*wanted),
        Condition::Renderable(renderable) => render_plainly(renderable, &core.properties, &core.facts),
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
        core.recorder.write(RunWrite::StepLocksAcquired { step: number, at: now });
        core.recorder.write(RunWrite::BuildState("starting".to_owned()));
        core.recorder.write(RunWrite::BuildAnnounced);
        core.recorder.write(RunWrite::BuildState("preparing worker".to_owned()));
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
    if row.as_ref().is_some_and(|row| row.results == Some(Results::Cancelled)) {
        return Ok(());
    }
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
    // No step was left that could say so.
    if let Some(reason) = core.refused.take() {
        progress.results = progress.results.worst(Results::Exception);
        progress.texts = vec![core.recorder.concealed(&reason).into_owned()];
    }
    let state = summary::build(
        progress.results,
        progress.connection_lost,
        progress.stop_reason.as_deref(),
        &progress.texts,
    );
    core.recorder.write(RunWrite::BuildFinished { results: progress.results, state, at: muster_data::now() });
    core.recorder.flush().await?;
    if progress.results == Results::Retry {
        core.slot.doubt();
    }
    core.releases.send_modify(|count| *count += 1);
    Ok(())
}

impl Progress {
    fn new(rows: Vec<Step>) -> Progress {
        Progress {
            results: Results::Success,
            stopping: false,
            lost: false,
            connection_lost: false,
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

    /// Whether an earlier execution has begun the next step.
    fn has_begun_next(&self) -> bool {
        self.rows.iter().any(|row| row.number == i64::from(self.next))
    }

    fn stop(&mut self, order: Arc<StopOrder>) {
        self.results = self.results.worst(Results::Cancelled);
        self.stopping = true;
        self.stop_reason = Some(order.reason.clone());
    }

    fn fold(&mut self, core: &mut RunCore, config: &StepConfig, outcome: StepOutcome) {
        let done = json!({"name": outcome.name, "results": outcome.results.code(), "state": outcome.state});
        let contribution = config.flags.contribution(outcome.results);
        self.results = self.results.worst(contribution.results);
        self.stopping |= contribution.stop;
        self.lost |= outcome.results == Results::Retry;
        self.connection_lost |= outcome.lost;
        if outcome.results == Results::Cancelled {
            if let Some(order) = core.stop.newest() {
                self.stop(order);
            }
            core.stop.carry_out();
        }
        if outcome.counts_for_build {
            self.texts.push(outcome.for_build.unwrap_or(outcome.state));
            core.recorder.write(RunWrite::BuildState(self.texts.join(" ")));
        }
        core.results = self.results;
        core.done.push(done);
        self.names.push(outcome.name);
    }
}
