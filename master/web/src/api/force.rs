//! Force schedulers: their shape, and the call that uses one.

use muster_config::snapshot::{ForceField, SchedulerConfig, SchedulerKind};
use serde_json::{Map, Value, json};

use super::{control::added, rpc::Failure};
use crate::AppState;

/// A force scheduler as REST shows it; `None` for other schedulers.
pub(crate) fn force_scheduler(scheduler: &SchedulerConfig) -> Option<Value> {
    let SchedulerKind::Force(force) = &scheduler.kind else { return None };
    Some(json!({
        "name": scheduler.name,
        "button_name": force.button_name,
        "label": force.label,
        "builder_names": scheduler.builder_names.literal().cloned().unwrap_or_else(|| json!([])),
        // The switch in the database stops the scheduler; Buildbot shows every configured one as enabled.
        "enabled": true,
        "all_fields": force.fields.iter().map(field).collect::<Vec<_>>(),
    }))
}

/// A field, with the fields of a group inside.
fn field(field: &ForceField) -> Value {
    let mut spec = field.spec.clone();
    if !field.fields.is_empty() {
        spec.insert("fields".to_owned(), field.fields.iter().map(self::field).collect());
    }
    Value::Object(spec)
}

/// Makes the buildset that the form asks for. Nobody logs in yet, so the form's user name is the owner.
pub(super) async fn force(state: &AppState, scheduler: &str, params: Map<String, Value>) -> Result<Value, Failure> {
    let forced = muster_schedule::force(&state.data, &state.config(), scheduler, None, params).await;
    forced.map(|buildset| added(&buildset)).map_err(|error| Failure::internal(error.to_string()))
}
