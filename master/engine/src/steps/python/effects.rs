//! The effects of the host's steps: read from the pipe, performed as those of all steps.

use std::collections::HashMap;

use muster_config::snapshot::StepConfig;
use muster_core::{Results, render::Renderable};
use muster_session::Command;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    super::{CUSTOM_KIND, REGISTRY},
    lines::{Feed, Feeding},
};
use crate::effects::{
    Effect, Entry, LogRef, Matching, Outcome, PerformOptions, SharedContext, StepContext, StepEnd,
};

/// Most steps that one step may add.
const MAX_ADDED: usize = 1000;

/// What an effect came to.
pub(super) type Answer = Result<Value, StepEnd>;

/// What a step asks for.
pub(super) enum Asked {
    Effect { effect: Effect, wants_lines: bool },
    AddSteps { effect: Effect, behind_current: bool, steps: Vec<StepConfig> },
}

/// The engine's own step that is to run inside of one.
#[derive(Deserialize)]
pub(super) struct Stock {
    kind: String,
    args: Map<String, Value>,
    #[serde(default)]
    workdir: Value,
}

#[derive(Deserialize)]
struct AddSteps {
    #[serde(rename = "where")]
    place: String,
    steps: Vec<StepConfig>,
}

/// The engine's own step, if that is what is asked for.
pub(super) fn stock_of(effect: &Value) -> Option<Stock> {
    if effect["effect"] != "stock" {
        return None;
    }
    serde_json::from_value(effect.clone()).ok()
}

/// Reads an effect; an error says what is wrong with it. Logs stand in it by the numbers of the effects that made them.
pub(super) fn read(mut effect: Value, logs: &HashMap<u64, LogRef>) -> Result<Asked, String> {
    if effect["effect"] == "add_steps" {
        return read_steps(effect);
    }
    let Some(fields) = effect.as_object_mut() else { return Err("an effect must be an object".to_owned()) };
    for name in ["log", "stdio"] {
        if let Some(number) = fields.get(name).and_then(Value::as_u64) {
            fields.insert(name.to_owned(), log(number, logs)?);
        }
    }
    if let Some(Value::Array(files)) = fields.get_mut("logfiles") {
        // Those without a log get one with their first line.
        files.retain(|file| file[1].is_u64());
        for file in files {
            file[1] = log(file[1].as_u64().unwrap_or_default(), logs)?;
        }
    }
    let wants_lines = fields.remove("lines").is_some_and(|wants| wants == true);
    let effect =
        serde_json::from_value(effect).map_err(|error| format!("the effect can't be read: {error}"))?;
    Ok(Asked::Effect { effect, wants_lines })
}

fn log(number: u64, logs: &HashMap<u64, LogRef>) -> Result<Value, String> {
    let log = logs.get(&number).ok_or_else(|| format!("there is no log {number}"))?;
    serde_json::to_value(log).map_err(|error| error.to_string())
}

/// Whether this engine runs such steps.
fn is_known(kind: &str) -> bool {
    kind == CUSTOM_KIND || REGISTRY.get(kind).is_some()
}

fn read_steps(effect: Value) -> Result<Asked, String> {
    let args = json!([effect["where"], effect["steps"]]);
    let AddSteps { place, steps } =
        serde_json::from_value(effect).map_err(|error| format!("the steps can't be read: {error}"))?;
    if steps.len() > MAX_ADDED {
        return Err(format!("{} steps are too many; {MAX_ADDED} can be added at a time", steps.len()));
    }
    if let Some(unknown) = steps.iter().find(|step| !is_known(&step.kind)) {
        return Err(format!("Muster can't run the step {} yet", unknown.kind));
    }
    Ok(Asked::AddSteps {
        effect: Effect::Once { act: "add_steps".to_owned(), args },
        behind_current: place == "current",
        steps,
    })
}

impl Asked {
    fn effect(&self) -> &Effect {
        match self {
            Asked::Effect { effect, .. } | Asked::AddSteps { effect, .. } => effect,
        }
    }

    /// The effect as the journal keys it.
    fn keyed(&self, context: &StepContext<'_>) -> Effect {
        let mut effect = self.effect().clone();
        if let Effect::Command(request) = &mut effect
            && let Command::Shell(shell) = &mut request.command
        {
            shell.encoding = context.log_encoding();
        }
        effect
    }

    /// Whether doing it twice is the same as once, so that it has no row.
    fn has_no_row(&self) -> bool {
        matches!(
            self.effect(),
            Effect::AddUrl { .. }
                | Effect::SetState { .. }
                | Effect::SetSummary { .. }
                | Effect::FinishLog { .. }
        )
    }

    pub(super) fn is_recorded(&self, shared: &SharedContext<'_, '_>) -> Result<bool, StepEnd> {
        Ok(self.has_no_row()
            || shared.with(|context| {
                let keyed = self.keyed(context);
                context.journal.has_row(&keyed)
            })?)
    }

    /// Whether recorded effects have to be asked for before it: what is new comes behind them.
    pub(super) fn must_wait(&self, shared: &SharedContext<'_, '_>) -> Result<bool, StepEnd> {
        let is_replay = shared.with(|context| context.journal.open().is_some());
        Ok(is_replay && !self.is_recorded(shared)?)
    }

    /// Whether somebody else has to act for it.
    pub(super) fn takes_time(&self) -> bool {
        matches!(
            self.effect(),
            Effect::Command(_)
                | Effect::Ask { .. }
                | Effect::Sleep { .. }
                | Effect::Call { .. }
                | Effect::Render { .. }
        )
    }

    pub(super) fn wants_lines(&self) -> bool {
        matches!(self, Asked::Effect { wants_lines: true, .. })
    }

    /// Performs an effect that nobody waits for.
    pub(super) fn perform_now(
        self,
        shared: &SharedContext<'_, '_>,
        seq: u64,
        logs: &mut HashMap<u64, LogRef>,
        feeding: &Feeding,
    ) -> Answer {
        shared.with(|context| match self {
            Asked::AddSteps { effect, behind_current, steps } => {
                let count = steps.len();
                if let Entry::Live(row) = context.journal.find(&effect, Matching::ByOccurrence)? {
                    super::add_to_plan(context, behind_current, steps);
                    context.record(row, &count)?;
                }
                Ok(json!(count))
            }
            Asked::Effect { effect, .. } => {
                if let Effect::Append { log, text, .. } = &effect
                    && !context.journal.has_row(&effect)?
                {
                    feeding.wrote(log, text);
                }
                match context.perform_now(&effect, Matching::ByOccurrence)? {
                    Outcome::Log(log) => {
                        logs.insert(seq, log);
                        Ok(Value::Null)
                    }
                    Outcome::Time(time) => Ok(json!(time.0)),
                    _ => Ok(Value::Null),
                }
            }
        })
    }

    /// Performs an effect to its end.
    pub(super) async fn perform(self, shared: &SharedContext<'_, '_>, feed: Option<Feed>) -> Answer {
        let effect = match self {
            Asked::Effect { effect, .. } | Asked::AddSteps { effect, .. } => effect,
        };
        let outcome = match feed {
            Some(feed) => feed.observe(shared, effect).await?,
            None => {
                let options =
                    PerformOptions { matching: Matching::ByOccurrence, ..PerformOptions::default() };
                shared.perform_with(effect, options).await?
            }
        };
        match outcome {
            Outcome::Command(result) => serde_json::to_value(result)
                .map_err(|error| StepEnd::Exception(format!("a command's result can't be told: {error}"))),
            Outcome::Answer(Ok(Renderable::Literal(value))) | Outcome::Value(value) => Ok(value),
            Outcome::Answer(Ok(other)) => {
                Err(StepEnd::Exception(format!("a plain value was expected, not {other:?}")))
            }
            Outcome::Answer(Err(reason)) => Err(StepEnd::Exception(reason)),
            _ => Ok(Value::Null),
        }
    }
}

/// Runs the engine's own step of some kind, in the place of one of the configuration's.
pub(super) async fn run_stock(
    context: &mut StepContext<'_>,
    stock: Stock,
) -> Result<Result<Value, String>, StepEnd> {
    let Stock { kind, args, workdir } = stock;
    if !is_known(&kind) || kind == CUSTOM_KIND {
        return Ok(Err(format!("Muster has no step {kind} to run")));
    }
    let args = args.into_iter().map(|(name, value)| (name, Renderable::Literal(value))).collect();
    let workdir = Renderable::Literal(workdir);
    let config = StepConfig { kind, args, workdir, ..context.config().clone() };
    context.journal.end_join(0);
    let mut nested = context.nested(&config);
    let ended = Box::pin(super::super::run(&mut nested)).await;
    let parts = nested.into_parts();
    let summary = context.bring_back(parts);
    context.journal.begin_join();
    let results = match ended {
        Ok(results) => results,
        Err(StepEnd::Failed) => Results::Failure,
        Err(StepEnd::Cancelled) => Results::Cancelled,
        Err(StepEnd::Exception(reason)) => return Ok(Err(reason)),
        Err(end) => return Err(end),
    };
    let properties = serde_json::to_value(&context.new_properties)
        .map_err(|error| StepEnd::Exception(format!("the step's properties can't be told: {error}")))?;
    Ok(Ok(json!({"results": results.code(), "summary": summary, "properties": properties})))
}
