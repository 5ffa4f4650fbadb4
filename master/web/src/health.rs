//! Whether this master lives, and whether it can serve.

use axum::{extract::State, http::StatusCode};

use crate::AppState;

/// The process runs and answers.
pub(crate) async fn live() -> &'static str {
    "ok\n"
}

/// The database answers and the server doesn't end.
pub(crate) async fn ready(State(state): State<AppState>) -> (StatusCode, String) {
    if state.ending.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "this master ends\n".to_owned());
    }
    match state.data.ping().await {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("the database doesn't answer: {error}\n")),
    }
}
