//! `c['www']['theme']`: Buildbot's names for colours, of which the pages' own style makes use.

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use muster_config::snapshot::Snapshot;
use serde_json::Value;

use crate::state::AppState;

/// Longest value: a colour is much shorter.
const MAX_VALUE: usize = 200;

pub(super) async fn css(State(state): State<AppState>) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")];
    (StatusCode::OK, headers, text(&state.config())).into_response()
}

/// Whether there are colours to be served.
pub(super) fn is_set(snapshot: &Snapshot) -> bool {
    variables(snapshot).next().is_some()
}

fn text(snapshot: &Snapshot) -> String {
    let variables = variables(snapshot).map(|(name, value)| format!("--{name}: {value};"));
    format!(":root {{ {} }}\n", variables.collect::<Vec<_>>().join(" "))
}

fn variables(snapshot: &Snapshot) -> impl Iterator<Item = (&str, &str)> {
    let theme = snapshot.www.raw.get("theme").and_then(Value::as_object);
    let given =
        theme.into_iter().flatten().filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)));
    given.filter(|(name, value)| name.starts_with("bb-") && is_word(name) && is_colour(value))
}

fn is_word(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
}

/// Nothing that could end the declaration, or have something loaded. Loading a configuration refuses the same.
fn is_colour(value: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"#(),.%/ +-".contains(&byte);
    let value = value.to_ascii_lowercase();
    (1..=MAX_VALUE).contains(&value.len())
        && value.bytes().all(fits)
        && !["url(", "image(", "image-set("].iter().any(|loads| value.contains(loads))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_colours_come_through() {
        let mut snapshot = Snapshot::empty();
        assert!(!is_set(&snapshot));
        let theme = serde_json::json!({
            "bb-sidebar-background-color": "#123456",
            "bb-sidebar-header-text-color": "rgb(1 2 3 / 50%)",
            "bb-sidebar-title-text-color": "red; } body { display: none",
            "bb-sidebar-button-text-color": "url(//evil.example/x)",
            "accent": "#fff",
            "bb-sidebar-footer-background-color": 7,
        });
        snapshot.www.raw.insert("theme".to_owned(), theme);
        let css = text(&snapshot);
        assert_eq!(
            css,
            ":root { --bb-sidebar-background-color: #123456; --bb-sidebar-header-text-color: rgb(1 2 3 / 50%); }\n"
        );
    }
}
