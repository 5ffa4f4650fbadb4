//! ForceScheduler: a person asks for builds with a form (`docs/compat/behaviour-3-changes-schedulers.md` 3.7).

mod fields;

use std::collections::BTreeMap;

use muster_config::snapshot::{CodebaseDefaults, ForceConfig, SchedulerConfig, SchedulerKind, Snapshot};
use muster_core::{BuilderId, Properties, policy::Permit, render::py_str};
use muster_data::{AddedBuildset, Data, NewPatch, NewSourceStamp};
use muster_store::query;
use serde_json::{Map, Value, json};

use crate::{
    buildset::{BUILDSET, ComposeError, Composer, Draft, stamps_with_defaults},
    callables::Callables,
    reason,
};
use fields::{Form, Outcome, Validation};

/// The source of properties that come from the form.
const FORM: &str = "Force Build Form";

/// Why nothing was forced.
#[derive(Debug, thiserror::Error)]
pub enum ForceError {
    /// No ForceScheduler has this name.
    #[error("there is no ForceScheduler '{0}'")]
    UnknownScheduler(String),
    /// None of the wanted builders belongs to the scheduler.
    #[error("builderNames not specified or not supported")]
    NoBuilders,
    /// Fields with values that are refused: a text for each, by full name.
    #[error("{}", .0.values().map(String::as_str).collect::<Vec<_>>().join("; "))]
    Fields(BTreeMap<String, String>),
    /// The configuration of the scheduler gives no usable value.
    #[error("{0}")]
    Configuration(String),
    /// The database can't hold what the form asks for.
    #[error("{0}")]
    Unstorable(String),
    /// The database.
    #[error(transparent)]
    Store(#[from] muster_store::Error),
}

impl From<ComposeError> for ForceError {
    fn from(error: ComposeError) -> ForceError {
        match error {
            ComposeError::Store(error) => ForceError::Store(error),
            // Of a force, that is what the form asks for.
            ComposeError::Configuration { what, reason } if what == BUILDSET => {
                ForceError::Unstorable(reason)
            }
            other => ForceError::Configuration(other.to_string()),
        }
    }
}

/// Makes the buildset that the form of `scheduler` describes, on any master that has it configured.
///
/// Whoever has logged in is the owner; of others the form's user name counts. `params` are `builderNames`
/// or `builderid`, and a value or a list of values for each field, by its full name; others are ignored.
pub async fn force(
    data: &Data,
    snapshot: &Snapshot,
    permit: &Permit,
    scheduler: &str,
    params: Map<String, Value>,
) -> Result<AddedBuildset, ForceError> {
    let Some((config, form)) = snapshot.scheduler(scheduler).and_then(force_config) else {
        return Err(ForceError::UnknownScheduler(scheduler.to_owned()));
    };
    let builder_names = wanted_builders(data, config, &params).await?;
    if builder_names.is_empty() {
        return Err(ForceError::NoBuilders);
    }
    let validation = Validation::new(&snapshot.validation)
        .map_err(|error| ForceError::Configuration(error.to_string()))?;
    let outcome = Form::new(params, &validation)
        .read(&form.fields, permit.actor().owner())
        .map_err(ForceError::Fields)?;
    let set = compose(data, config, form, builder_names, outcome).await?;
    Ok(data.force(permit, set).await?)
}

/// The builders that a force would have built, for rules that name builders; none when there is no such scheduler.
pub async fn forced_builders(
    data: &Data,
    snapshot: &Snapshot,
    scheduler: &str,
    params: &Map<String, Value>,
) -> Result<Vec<String>, ForceError> {
    match snapshot.scheduler(scheduler).and_then(force_config) {
        Some((config, _)) => wanted_builders(data, config, params).await,
        None => Ok(Vec::new()),
    }
}

/// What is wrong with the patterns that hold for all schedulers, for the load to say.
pub fn unusable_patterns(snapshot: &Snapshot) -> Vec<String> {
    let validation = Validation::new(&snapshot.validation);
    validation.err().map(|error| format!("c['validation']: {error}")).into_iter().collect()
}

/// The REST resource `forcescheduler`; `None` for other kinds of schedulers. `enabled` is the scheduler's switch.
pub fn force_spec(scheduler: &SchedulerConfig, enabled: bool) -> Option<Value> {
    let (config, form) = force_config(scheduler)?;
    let all_fields: Vec<Value> = form.fields.iter().map(|field| field.to_spec()).collect();
    Some(json!({
        "all_fields": all_fields,
        "builder_names": config.builder_names.literal_strings().unwrap_or_default(),
        "button_name": form.button_name,
        "enabled": enabled,
        "label": form.label,
        "name": config.name,
    }))
}

fn force_config(scheduler: &SchedulerConfig) -> Option<(&SchedulerConfig, &ForceConfig)> {
    match &scheduler.kind {
        SchedulerKind::Force(form) => Some((scheduler, form)),
        _ => None,
    }
}

/// Names of the wanted builders, as far as the scheduler has them; all of them when none is named.
async fn wanted_builders(
    data: &Data,
    scheduler: &SchedulerConfig,
    params: &Map<String, Value>,
) -> Result<Vec<String>, ForceError> {
    let mut names = scheduler.builder_names.literal_strings().unwrap_or_default();
    match (params.get("builderNames"), params.get("builderid")) {
        (Some(Value::Array(wanted)), _) => names.retain(|name| wanted.iter().any(|wanted| wanted == name)),
        (Some(Value::String(wanted)), _) => names.retain(|name| name == wanted),
        (None | Some(Value::Null), Some(id)) if !id.is_null() => {
            let wanted = builder_name(data, id).await?;
            names.retain(|name| Some(name) == wanted.as_ref());
        }
        (None | Some(Value::Null), _) => {}
        (Some(_), _) => names.clear(),
    }
    names.sort();
    Ok(names)
}

async fn builder_name(data: &Data, id: &Value) -> Result<Option<String>, ForceError> {
    let Some(id) = id.as_i64().or_else(|| id.as_str()?.trim().parse().ok()).map(BuilderId) else {
        return Ok(None);
    };
    let builder =
        data.db().read("builder_to_force", |tx| async move { query::builders::by_id(&tx, id).await });
    Ok(builder.await?.map(|builder| builder.name))
}

async fn compose(
    data: &Data,
    scheduler: &SchedulerConfig,
    form: &ForceConfig,
    builder_names: Vec<String>,
    outcome: Outcome,
) -> Result<muster_data::NewBuildset, ForceError> {
    let mut properties = Properties::new();
    for (name, value) in outcome.properties {
        properties.set(name, value, FORM);
    }
    properties.set("reason", outcome.reason.clone(), FORM);
    properties.set("owner", outcome.owner.clone(), FORM);
    let (owner, why) = (py_str(&outcome.owner), py_str(&outcome.reason));
    let stamps = outcome.codebases.into_iter().map(|(codebase, values)| {
        let defaults = scheduler.codebases.get(&codebase).cloned().unwrap_or_default();
        source_stamp(codebase, defaults, &values)
    });
    let draft = Draft {
        reason: reason::fill(&form.reason_string, &[("owner", &owner), ("reason", &why)]),
        stamps: stamps_with_defaults(&scheduler.codebases, stamps.collect()),
        properties,
        builder_names: Some(builder_names),
        priority: outcome.priority,
        ..Draft::default()
    };
    // A form is answered at once, so nothing that Python computes can be waited for here.
    let callables = Callables::default();
    Ok(Composer { scheduler, data, callables: &callables }.compose(draft).await?)
}

/// What the group of a codebase says; fields that it doesn't have leave the default.
fn source_stamp(codebase: String, defaults: CodebaseDefaults, values: &Map<String, Value>) -> NewSourceStamp {
    let text = |name: &str| values.get(name).map(py_str);
    NewSourceStamp {
        branch: text("branch").or(defaults.branch),
        revision: text("revision").or(defaults.revision),
        repository: text("repository").unwrap_or(defaults.repository),
        project: text("project").unwrap_or(defaults.project),
        codebase,
        patch: values.get("patch").and_then(Value::as_object).and_then(patch),
    }
}

/// `None` without a body, as when no file was chosen.
fn patch(values: &Map<String, Value>) -> Option<NewPatch> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let text = |name: &str| values.get(name).map(py_str);
    let body = text("body").filter(|body| !body.is_empty())?;
    Some(NewPatch {
        level: values.get("level").and_then(Value::as_i64).unwrap_or(1),
        body_base64: STANDARD.encode(body),
        author: text("author").unwrap_or_default(),
        comment: text("comment").unwrap_or_default(),
        subdir: text("subdir"),
    })
}

#[cfg(test)]
mod tests;
