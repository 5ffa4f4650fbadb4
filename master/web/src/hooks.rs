//! Change hooks: others tell about changes over HTTP (`docs/compat/www-api.md` E). Success is answered after the commit; which
//! master runs the schedulers doesn't matter, and whether one does right now.

use axum::{
    Router,
    extract::{Path, RawQuery, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::any,
};
use muster_core::{
    Timestamp,
    policy::{Action, Permit},
    python_json,
};
use muster_data::NewChange;
use muster_schedule::NotKept;
use serde_json::{Map, Value};

use crate::{AppState, bodies::too_many_values, forms::Fields};

/// `/change_hook`, which is the dialect `base`, and one path for each dialect.
pub(crate) fn router() -> Router<AppState> {
    Router::new()
        .route("/change_hook", any(base))
        .route("/change_hook/", any(base))
        .route("/change_hook/{*dialect}", any(hook))
}

async fn base(state: State<AppState>, query: RawQuery, body: String) -> Response {
    hook(state, Path("base".to_owned()), query, body).await
}

async fn hook(
    State(state): State<AppState>,
    Path(path): Path<String>,
    RawQuery(query): RawQuery,
    body: String,
) -> Response {
    // Further elements of the path mean nothing.
    let dialect = path.split('/').next().unwrap_or_default();
    match accept(&state, dialect, &query.unwrap_or_default(), &body).await {
        Ok(()) => (StatusCode::OK, "1 change found").into_response(),
        Err((status, reason)) => {
            tracing::warn!(dialect, reason, "a change hook was refused");
            (status, reason).into_response()
        }
    }
}

type Refused = (StatusCode, String);

async fn accept(state: &AppState, dialect: &str, query: &str, body: &str) -> Result<(), Refused> {
    let snapshot = state.config();
    let enabled = snapshot.www.raw.get("change_hook_dialects").and_then(|dialects| dialects.get(dialect));
    if enabled.is_none_or(|options| matches!(options, Value::Bool(false) | Value::Null)) {
        let reason = format!("The dialect specified, '{dialect}', wasn't whitelisted in change_hook");
        return Err((StatusCode::BAD_REQUEST, reason));
    }
    // The configuration enables no other than `base`.
    // A form's fields go before those of the query.
    let fields = Fields::parse(&format!("{body}&{query}"));
    let (change, codebase) = change_of(&fields).map_err(|reason| (StatusCode::BAD_REQUEST, reason))?;
    let host = state.host.clone();
    // As in Buildbot, rules are about people; hooks prove themselves by what their dialect wants.
    let permit = Permit::peer("the hook 'base'", Action::SendChange);
    let kept =
        muster_schedule::add_sent_change(&state.data, host, &snapshot, &permit, change, codebase).await;
    let id = kept.map_err(|error| {
        let status = match error {
            NotKept::Refused(_) => StatusCode::BAD_REQUEST,
            NotKept::Away(_) => StatusCode::SERVICE_UNAVAILABLE,
            NotKept::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, error.to_string())
    })?;
    tracing::info!("change {id} came by the hook 'base'");
    Ok(())
}

fn json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    match too_many_values(text.as_bytes()) {
        Some(refusal) => Err(refusal),
        None => serde_json::from_str(text).map_err(|error| error.to_string()),
    }
}

/// The change that a form describes, and its codebase if it names one.
fn change_of(fields: &Fields) -> Result<(NewChange, Option<String>), String> {
    let text = |name: &str| fields.get(name).map(str::to_owned);
    let author = text("author").or_else(|| text("who")).unwrap_or_default();
    let files = match fields.get("files") {
        None => Vec::new(),
        Some(files) => json(&python_json::carried(files)).map_err(|error| format!("files: {error}"))?,
    };
    let properties = match fields.get("properties") {
        None => Map::new(),
        Some(properties) => {
            json(&python_json::carried(properties)).map_err(|error| format!("properties: {error}"))?
        }
    };
    let when = match fields.get("when_timestamp").or_else(|| fields.get("when")) {
        None => None,
        Some(when) => {
            let seconds: f64 = when.parse().map_err(|_| format!("when: '{when}' is not a number"))?;
            Some(Timestamp(seconds as i64))
        }
    };
    let change = NewChange {
        author,
        committer: text("committer"),
        files,
        comments: text("comments").unwrap_or_default(),
        revision: text("revision"),
        when,
        branch: text("branch"),
        category: text("category"),
        revlink: text("revlink"),
        properties,
        repository: text("repository").unwrap_or_default(),
        project: text("project").unwrap_or_default(),
        codebase: String::new(),
        src: None,
    };
    Ok((change, text("codebase")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_a_change() {
        let form =
            "who=A+%3Ca%40b%3E&branch=main&files=%5B%22a.c%22%5D&properties=%7B%22p%22%3A1%7D&when=12.5";
        let (change, codebase) = change_of(&Fields::parse(form)).unwrap();
        assert_eq!((change.author.as_str(), change.branch.as_deref()), ("A <a@b>", Some("main")));
        assert_eq!((change.files, change.when), (vec!["a.c".to_owned()], Some(Timestamp(12))));
        assert_eq!((change.properties["p"].as_i64(), codebase), (Some(1), None));
    }

    #[test]
    fn bad_json_is_refused() {
        for form in ["files=%5B", "properties=1", "when=soon"] {
            assert!(change_of(&Fields::parse(form)).is_err(), "{form}");
        }
    }
}
