//! Steps of the configuration's own classes (the kind `python`): their code runs in the host, and what it does are effects that
//! this end performs (`config/python/muster_host/live/PROTOCOL.md`).
//!
//! A step has ended when its end has a row: from there on it is replayed without its code.

mod begin;
mod effects;
mod lines;
mod talk;

use muster_core::{Properties, Results};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::talk::{Talk, Turn};
use crate::effects::{Effect, Entry, OwnSummary, StepContext, StepEnd};

/// How many processes of the host may end under one step. Then the build is wanted again: the step itself may end them.
const MAX_DEATHS: u32 = 3;

/// What the host says about the end of a step.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct End {
    results: i64,
    #[serde(default)]
    summary: String,
    #[serde(default)]
    build_summary: Option<String>,
}

/// The end of a step as its row keeps it: properties are no part of other rows.
#[derive(Serialize, Deserialize)]
struct Ended {
    end: End,
    properties: Properties,
}

/// A step of the configuration's own.
pub(super) async fn python(context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
    let ending = Effect::once("python_end", &())?;
    if context.journal.skip_to(&ending)? {
        return ended_before(context, &ending);
    }
    let wanted = begin::wanted(context).await?;
    let (first, properties) = (context.journal.place(), context.core.properties.clone());
    let base = context.journal.begin_join();
    let end = run(context, wanted, first, &properties).await?;
    context.journal.end_join(base);
    if let Entry::Live(row) = context.journal.find(&ending, crate::effects::Matching::ByOrder)? {
        let ended = Ended { end: end.clone(), properties: context.new_properties.clone() };
        context.record(row, &ended)?;
    }
    conclude(context, end)
}

/// A step whose code has ended in an earlier execution.
fn ended_before(context: &mut StepContext<'_>, ending: &Effect) -> Result<Results, StepEnd> {
    let Entry::Recorded(recorded) = context.journal.find(ending, crate::effects::Matching::ByOrder)? else {
        return Err(StepEnd::Retry("can't be replayed: the row of the step's end is gone".to_owned()));
    };
    let Ended { end, properties } = crate::effects::outcome(&recorded.row)?;
    for (name, property) in properties {
        context.core.properties.set(&name, property.0.clone(), &property.1);
        context.new_properties.set(&name, property.0, &property.1);
    }
    conclude(context, end)
}

fn conclude(context: &mut StepContext<'_>, end: End) -> Result<Results, StepEnd> {
    let results = Results::from_code(end.results)
        .ok_or_else(|| StepEnd::Exception(format!("the host gave {} as the step's result", end.results)))?;
    context.set_own_summary(OwnSummary::Two(end.summary, end.build_summary));
    Ok(results)
}

/// Runs the step's code, in another process when one ends under it.
async fn run(
    context: &mut StepContext<'_>,
    wanted: Value,
    first: u32,
    properties: &Properties,
) -> Result<End, StepEnd> {
    let mut reason = String::new();
    for death in 0..MAX_DEATHS {
        if death > 0 {
            context.rewind(first, properties).await?;
            context.journal.begin_join();
        }
        let mut talk = Talk::begin(context, wanted.clone()).await?;
        loop {
            match talk.go_on(context).await? {
                Turn::Ended(end) => return Ok(end),
                Turn::Stock(seq, stock) => {
                    let answer = effects::run_stock(context, stock).await?;
                    talk.answer(seq, answer);
                }
                Turn::Gone(why) => {
                    let build = context.core.key.build;
                    tracing::warn!(%build, step = context.name, "the Python host ended under a step: {why}");
                    reason = why;
                    break;
                }
            }
        }
    }
    Err(StepEnd::Retry(format!("the Python host ended {MAX_DEATHS} times under the step: {reason}")))
}

/// Puts more steps into the plan.
fn add_to_plan(
    context: &mut StepContext<'_>,
    behind_current: bool,
    steps: Vec<muster_config::snapshot::StepConfig>,
) {
    let core = &mut *context.core;
    let plan = &mut core.facts.plan.steps;
    let place = if behind_current { (core.place + 1).min(plan.len()) } else { plan.len() };
    plan.splice(place..place, steps);
    core.write_plan();
}

/// The logs that the step has, with the number of their lines.
async fn logs_of(context: &mut StepContext<'_>) -> Result<Vec<muster_core::Log>, StepEnd> {
    Ok(context.core.logs_of(context.number).await?)
}
