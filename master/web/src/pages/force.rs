//! Force forms: shown on the page of a builder, answered with the builds they ask for.

use std::collections::BTreeMap;

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use minijinja::{Value, context, value::Serde};
use muster_config::snapshot::{FieldKind, ForceConfig, ForceField, SchedulerConfig, SchedulerKind};
use muster_data::views::BuilderLine;
use muster_schedule::ForceError;
use serde_json::Map;

use super::{
    format::builder_path,
    request::{self, PageError, PageRequest, PageResult},
};
use crate::forms::Fields;
use crate::{actions::Refusal, forcing::Forms, state::AppState};

/// What stands in the fields of a form, and what is wrong with it; by the fields' full names.
#[derive(Default)]
struct Filled {
    values: Map<String, serde_json::Value>,
    errors: BTreeMap<String, String>,
}

/// The forms that a builder has, ready for the template.
pub(super) fn forms_of(forms: &Forms, builder: &str) -> Vec<Value> {
    let of_builder = |scheduler: &&SchedulerConfig| names_of(scheduler).iter().any(|name| name == builder);
    let schedulers = forms.schedulers().filter(of_builder);
    schedulers
        .filter_map(|scheduler| Some(form_of(scheduler, force_config(scheduler)?, &Filled::default())))
        .collect()
}

fn force_config(scheduler: &SchedulerConfig) -> Option<&ForceConfig> {
    match &scheduler.kind {
        SchedulerKind::Force(config) => Some(config),
        _ => None,
    }
}

fn names_of(scheduler: &SchedulerConfig) -> Vec<String> {
    scheduler.builder_names.literal_strings().unwrap_or_default()
}

fn form_of(scheduler: &SchedulerConfig, config: &ForceConfig, filled: &Filled) -> Value {
    context! {
        scheduler => scheduler.name.as_str(),
        label => config.label.as_str(),
        button => config.button_name.as_str(),
        fields => config.fields.iter().map(|field| shown(field, filled)).collect::<Vec<_>>(),
    }
}

/// A field as the template draws it; groups hold their fields.
fn shown(field: &ForceField, filled: &Filled) -> Value {
    let name = field.full_name.clone().unwrap_or_default();
    let value = filled.values.get(&name).unwrap_or(&field.default);
    let hide = field.spec.get("hide").and_then(serde_json::Value::as_bool).unwrap_or(false);
    let tooltip = field.spec.get("tooltip").and_then(serde_json::Value::as_str).unwrap_or_default();
    context! {
        kind => Serde(field.kind), hide, tooltip,
        label => if field.label.is_empty() { field.name.as_str() } else { field.label.as_str() },
        value => Serde(value),
        error => filled.errors.get(&name).map(String::as_str),
        name,
        required => field.required,
        multiple => field.multiple,
        strict => field.strict,
        choices => field.choices.clone(),
        fields => field.fields.iter().map(|field| shown(field, filled)).collect::<Vec<_>>(),
    }
}

pub(super) async fn form(
    State(state): State<AppState>,
    page: PageRequest,
    Path((builder, scheduler)): Path<(String, String)>,
) -> Response {
    let answer = async {
        let builder = request::builder(&state, &builder).await?;
        show(&page, &state.forcing().await, StatusCode::OK, &builder, &scheduler, &Filled::default(), None)
    };
    page.finish(answer.await)
}

fn show(
    page: &PageRequest,
    forms: &Forms,
    status: StatusCode,
    builder: &BuilderLine,
    name: &str,
    filled: &Filled,
    problem: Option<String>,
) -> PageResult {
    let scheduler = forms.scheduler(name).and_then(|scheduler| Some((scheduler, force_config(scheduler)?)));
    let missing =
        || PageError::NotFound(format!("There is no force form {name}; the configuration has it no more."));
    let (scheduler, config) = scheduler.ok_or_else(missing)?;
    let context = context! {
        nav => "builders", problem,
        builder => Serde(builder),
        form => form_of(scheduler, config, filled),
        errors => filled.errors.values().cloned().collect::<Vec<_>>(),
    };
    Ok(page.with_status(status, "force.html", context)?)
}

pub(super) async fn submit(
    State(state): State<AppState>,
    page: PageRequest,
    Path((builder, scheduler)): Path<(String, String)>,
    body: String,
) -> Response {
    page.finish(force(&state, &page, &builder, &scheduler, &body).await)
}

async fn force(state: &AppState, page: &PageRequest, builder: &str, name: &str, body: &str) -> PageResult {
    page.check_same_site()?;
    let builder = request::builder(state, builder).await?;
    let forcing = state.forcing().await;
    let config = forcing.scheduler(name).and_then(force_config);
    let fields = config.map(|config| config.fields.as_slice()).unwrap_or_default();
    let values = values(fields, &Fields::parse(body));
    let mut params = values.clone();
    params.insert("builderid".to_owned(), builder.id.0.into());
    match page.orders(state).force(&forcing, name, params).await {
        Ok(_) => Ok(page.redirect(&builder_path(builder.id.0, &builder.name))),
        Err(Refusal::Force(ForceError::Fields(errors))) => {
            let filled = Filled { values, errors: errors.into_iter().collect() };
            show(page, &forcing, StatusCode::BAD_REQUEST, &builder, name, &filled, None)
        }
        Err(Refusal::Force(ForceError::Store(error))) => Err(error.into()),
        Err(Refusal::Force(error)) => {
            let filled = Filled { values, errors: BTreeMap::new() };
            show(page, &forcing, StatusCode::BAD_REQUEST, &builder, name, &filled, Some(error.to_string()))
        }
        Err(other) => Err(other.into()),
    }
}

/// The parameters of a force call from a posted form. A check box that is not checked is not sent at all.
fn values(fields: &[ForceField], posted: &Fields) -> Map<String, serde_json::Value> {
    let mut values = Map::new();
    for field in fields {
        values.extend(self::values(&field.fields, posted));
        let Some(name) = field.full_name.as_deref().filter(|_| !field.kind.is_group()) else { continue };
        let value = match field.kind {
            FieldKind::Bool => posted.get(name).is_some().into(),
            FieldKind::Fixed => continue,
            _ if field.multiple => posted.all(name).collect::<Vec<_>>().into(),
            _ => match posted.get(name) {
                Some(value) => value.into(),
                None => continue,
            },
        };
        values.insert(name.to_owned(), value);
    }
    values
}
