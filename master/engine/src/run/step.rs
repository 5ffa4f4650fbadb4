//! One step of a run: its name, whether it runs at all, its locks, its result.

use muster_config::snapshot::{LockAccess, LockSet, StepConfig};
use muster_core::{
    Results, Step,
    identifier::{MAX_IDENTIFIER, with_suffix},
    render::Renderable,
};
use muster_data::RunWrite;
use serde_json::Value;

use super::locks;
use crate::{
    effects::{Halt, OwnSummary, RunCore, StepContext, StepEnd, summary, unfinished_commands},
    steps,
};

/// What a step was, once it is over.
pub(crate) struct StepOutcome {
    pub(crate) name: String,
    pub(crate) results: Results,
    pub(crate) state: String,
    /// What the build's summary gets where it counts, unless that is the state.
    pub(crate) for_build: Option<String>,
    pub(crate) counts_for_build: bool,
    /// The worker went away under it.
    pub(crate) lost: bool,
}

/// A step that had ended before this execution of the run.
pub(super) fn finished_before(config: &StepConfig, row: &Step) -> StepOutcome {
    let results = row.results.unwrap_or(Results::Exception);
    StepOutcome {
        name: row.name.clone(),
        results,
        state: row.state_string.clone(),
        for_build: None,
        counts_for_build: summary::counts_for_build(
            &literal(&config.update_build_summary_policy),
            config.flags,
            results,
        ),
        lost: false,
    }
}

fn literal(renderable: &Renderable) -> Value {
    match renderable {
        Renderable::Literal(value) => value.clone(),
        _ => Value::Null,
    }
}

/// Runs a step to its end. `row` is there when an earlier execution had begun it.
pub(super) async fn run(
    core: &mut RunCore,
    number: u32,
    config: &StepConfig,
    row: Option<Step>,
    names: &[String],
) -> Result<StepOutcome, Halt> {
    let journal = if row.is_some() { core.journal_of(number).await? } else { Vec::new() };
    let mut context = StepContext::new(core, number, config, steps::changes(&config.kind), journal);
    let named = name_of(&mut context, names).await;
    let name = match (&row, &named) {
        (Some(row), _) => row.name.clone(),
        (None, Ok(name)) => name.clone(),
        (None, Err(_)) => unique_name(&config.kind, names),
    };
    context.name.clone_from(&name);
    if row.is_none() {
        let at = muster_data::now();
        let (step, name) = (number, name.clone());
        context.core.recorder.write(RunWrite::StepStarted { step, name, state: "pending".to_owned(), at });
    }
    let ended = match named {
        Ok(_) => conduct(&mut context, row.is_some()).await,
        Err(end) => Err(end),
    };
    let results = match ended {
        Ok(results) => results,
        Err(end) => steps::settle(&mut context, end).await?,
    };
    conclude(context, results).await
}

/// Ends a step of which the database won't ever take what it did in an earlier execution of the run here. What it does still
/// on the worker ends, too.
pub(super) async fn refuse(
    core: &mut RunCore,
    number: u32,
    config: &StepConfig,
    row: Option<Step>,
    names: &[String],
    reason: &str,
) -> Result<StepOutcome, Halt> {
    let (journal, slugs) = match row {
        Some(_) => (core.journal_of(number).await?, core.slugs_of(number).await?),
        None => (Vec::new(), Vec::new()),
    };
    let commands = unfinished_commands(core.key.build, &journal);
    let name = row.as_ref().map_or_else(|| unique_name(harmless_name(config), names), |row| row.name.clone());
    if row.is_none() {
        let at = muster_data::now();
        let (name, state) = (name.clone(), "pending".to_owned());
        core.recorder.write(RunWrite::StepStarted { step: number, name, state, at });
    }
    let mut context = StepContext::new(core, number, config, steps::changes(&config.kind), Vec::new());
    context.slugs = slugs;
    let said = format!("What this step did can't be stored, and what it did last is not. {reason}\n");
    let results = context.settle(StepEnd::Exception(said))?;
    let state = summary::finished(None, results, None);
    let at = muster_data::now();
    core.recorder.write(RunWrite::StepFinished {
        step: number,
        results,
        hidden: false,
        state: state.clone(),
        at,
    });
    core.recorder.flush().await?;
    commands.into_iter().for_each(|command| core.slot.forget(command, core.key.epoch));
    core.releases.send_modify(|count| *count += 1);
    Ok(StepOutcome { name, results, state, for_build: None, counts_for_build: true, lost: false })
}

/// The configured name, if that is certainly not what the database doesn't take.
fn harmless_name(config: &StepConfig) -> &str {
    match &config.name {
        Renderable::Literal(Value::String(name)) if name.is_ascii() && name.len() <= MAX_IDENTIFIER => name,
        _ => &config.kind,
    }
}

async fn name_of(context: &mut StepContext<'_>, names: &[String]) -> Result<String, StepEnd> {
    let config = context.config;
    let name = match context.render(&config.name).await? {
        Value::String(name) if !name.is_empty() => context.core.recorder.concealed(&name).into_owned(),
        _ => config.kind.clone(),
    };
    let name: String = name.chars().take(MAX_IDENTIFIER).collect();
    Ok(unique_name(&name, names))
}

/// Everything between a step's start and its result.
async fn conduct(context: &mut StepContext<'_>, resumed: bool) -> Result<Results, StepEnd> {
    let config = context.config;
    if !context.decide(&config.do_step_if, None).await? {
        return steps::skip(context).await;
    }
    take_locks(context, resumed).await?;
    let description = context.render(&config.description).await?;
    let suffix = context.render(&config.description_suffix).await?;
    if !resumed {
        context.set_state(&summary::current(&description, &suffix));
    }
    steps::run(context).await
}

async fn take_locks(context: &mut StepContext<'_>, resumed: bool) -> Result<(), StepEnd> {
    let accesses: Vec<LockAccess> = match &context.config.locks {
        LockSet::Accesses(accesses) => accesses.clone(),
        LockSet::Renderable(renderable) => {
            let rendered = context.render(renderable).await?;
            serde_json::from_value(rendered)
                .map_err(|error| StepEnd::Exception(format!("locks don't render to locks: {error}")))?
        }
    };
    let began = muster_data::now();
    let wishes = locks::wishes(&context.core.facts.snapshot, &accesses, &context.core.facts.worker);
    let (step, build_step) = (context.number, i64::from(context.number));
    if !wishes.is_empty() {
        context.set_state("acquiring locks");
    }
    match locks::take(context.core, build_step, &wishes).await? {
        locks::Wait::Held => {}
        locks::Wait::Stopped => return Err(StepEnd::Cancelled),
    }
    if !resumed {
        let at = muster_data::now();
        context.core.recorder.write(RunWrite::StepLocksAcquired { step, at });
        if at.0 > began.0 {
            context.core.recorder.write(RunWrite::LocksDuration(at.0 - began.0));
        }
    }
    Ok(())
}

/// Writes a step's end down. Its properties reach the build with it.
async fn conclude(mut context: StepContext<'_>, results: Results) -> Result<StepOutcome, Halt> {
    let config = context.config;
    // A step of the configuration's own says so itself.
    let is_told = config.kind == steps::CUSTOM_KIND;
    if let Some(order) = context.stopped().filter(|_| results == Results::Cancelled && !is_told) {
        let written = context.add_complete_log("cancelled", muster_core::LogKind::Text, &order.reason);
        if let Err(end) = written {
            context.settle(end)?;
        }
    }
    let own = match &context.own_summary {
        OwnSummary::Silent => Some(None),
        OwnSummary::Two(_, for_build) => Some(for_build.clone()),
        OwnSummary::None | OwnSummary::Text(_) => None,
    };
    let (results, state, hidden) = match last_words(&mut context, results).await {
        Ok((state, hidden)) => (results, state, hidden),
        Err(end) => {
            let results = context.settle(end)?.worst(results);
            (results, summary::finished(None, results, None), false)
        }
    };
    let state = context.core.recorder.concealed(&state).into_owned();
    let policy = literal(&config.update_build_summary_policy);
    let properties = std::mem::take(&mut context.new_properties);
    let (name, lost) = (std::mem::take(&mut context.name), context.lost);
    let core = context.core;
    for (name, property) in properties {
        core.recorder.write(RunWrite::Property { name, property });
    }
    let at = muster_data::now();
    let step = context.number;
    core.recorder.write(RunWrite::StepFinished { step, results, hidden, state: state.clone(), at });
    if !config_has_no_locks(config) {
        core.recorder.flush().await?;
        core.releases.send_modify(|count| *count += 1);
    }
    let counts_for_build = match &own {
        Some(for_build) => for_build.is_some(),
        None => summary::counts_for_build(&policy, config.flags, results),
    };
    let for_build = own.flatten().map(|text| core.recorder.concealed(&text).into_owned());
    Ok(StepOutcome { name, results, state, for_build, counts_for_build, lost })
}

fn config_has_no_locks(config: &StepConfig) -> bool {
    matches!(&config.locks, LockSet::Accesses(accesses) if accesses.is_empty())
}

async fn last_words(context: &mut StepContext<'_>, results: Results) -> Result<(String, bool), StepEnd> {
    let config = context.config;
    let done = context.render(&config.description_done).await?;
    let description = context.render(&config.description).await?;
    let suffix = context.render(&config.description_suffix).await?;
    let texts = summary::Texts { outcome: context.outcome.take(), default: context.summary.take() };
    let state = match std::mem::take(&mut context.own_summary) {
        OwnSummary::Text(text) | OwnSummary::Two(text, _) => text,
        OwnSummary::Silent => summary::finished(None, Results::Success, None),
        OwnSummary::None => {
            summary::finished(texts.choose(&done, &description, &suffix), results, context.note)
        }
    };
    let hidden = context.decide(&config.hide_step_if, Some(results)).await?;
    Ok((state, hidden))
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
