//! What a user interface is told about this master (`docs/compat/www-api.md` C.1).

use axum::{
    extract::State,
    http::{
        StatusCode,
        header::{CACHE_CONTROL, VARY},
    },
    response::{IntoResponse, Response},
};
use muster_config::snapshot::Snapshot;
use serde_json::{Map, Value, json};

use crate::{
    AppState,
    api::json::Layout,
    api::json_reply,
    auth::{Visitor, description},
};

/// Settings that are not published.
const PRIVATE: &[&str] =
    &["change_hook_dialects", "custom_templates_dir", "change_hook_auth", "auth", "authz"];

pub(crate) async fn config(State(state): State<AppState>, visitor: Visitor) -> Response {
    let reply = json_reply(StatusCode::OK, frontend_config(&state.config(), &visitor), Layout::Compact);
    // Who the visitor is stands in it.
    let shared = if visitor.actor.user().is_some() { "private,max-age=0" } else { "public,max-age=0" };
    ([(CACHE_CONTROL, shared), (VARY, "cookie")], reply).into_response()
}

/// What runs here, each as a list of a name and its version: Muster, then those of the configuration.
pub(crate) fn versions(snapshot: &Snapshot) -> Vec<Value> {
    let mut versions = vec![json!(["Muster", env!("CARGO_PKG_VERSION")])];
    if let Some(configured) = snapshot.www.raw.get("versions").and_then(Value::as_array) {
        versions.extend(configured.iter().cloned());
    }
    versions
}

/// The settings of `c['www']`, and who the visitor is.
fn frontend_config(snapshot: &Snapshot, visitor: &Visitor) -> Value {
    let mut config: Map<String, Value> = snapshot.www.raw.clone();
    config.retain(|name, _| !PRIVATE.contains(&name.as_str()));
    config.insert("versions".to_owned(), versions(snapshot).into());
    config.insert("port".to_owned(), json!(snapshot.www.port));
    config.insert("buildbotURL".to_owned(), json!(snapshot.buildbot_url));
    config.insert("title".to_owned(), json!(snapshot.title));
    config.insert("titleURL".to_owned(), json!(snapshot.title_url));
    config.insert("multiMaster".to_owned(), json!(snapshot.multi_master));
    config.insert("auth".to_owned(), description(snapshot));
    config.insert("authz".to_owned(), json!({}));
    let methods = snapshot.www.avatar_methods.as_ref().map_or(1, Vec::len);
    config.insert("avatar_methods".to_owned(), vec![json!({"name": "gravatar"}); methods].into());
    config.insert("user".to_owned(), visitor.told());
    if let Some(warning) = visitor.warning() {
        config.insert("on_load_warning".to_owned(), warning.into());
    }
    config.entry("plugins").or_insert_with(|| json!({}));
    Value::Object(config)
}
