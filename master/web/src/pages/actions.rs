//! What a button does: the same orders as by REST, then back to a page.

use axum::{
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use muster_core::RequestId;

use super::{
    build,
    format::builder_path,
    request::{PageError, PageRequest, PageResult},
};
use crate::forms::Fields;
use crate::state::AppState;

/// Requests that one post may cancel.
const MAX_CANCELLED: usize = 1_000;
/// Seconds for which a browser remembers the theme.
const THEME_SECONDS: u32 = 365 * 86_400;

pub(super) async fn stop(
    State(state): State<AppState>,
    page: PageRequest,
    Path((builder, number)): Path<(String, String)>,
    body: String,
) -> Response {
    let answer = async {
        page.check_same_site()?;
        let found = build::find(&state, &builder, &number).await?;
        let fields = Fields::parse(&body);
        let reason = page.reason(fields.text("reason"), "stopped");
        page.orders(&state).stop_build(found.id, &reason).await?;
        let builder = builder_path(found.builder.id.0, &found.builder.name);
        PageResult::Ok(page.redirect(&format!("{builder}/builds/{}", found.number)))
    };
    page.finish(answer.await)
}

pub(super) async fn rebuild(
    State(state): State<AppState>,
    page: PageRequest,
    Path((builder, number)): Path<(String, String)>,
) -> Response {
    let answer = async {
        page.check_same_site()?;
        let found = build::find(&state, &builder, &number).await?;
        let added = page.orders(&state).rebuild(found.id).await?;
        let gone =
            || PageError::NotFound("The request of this build is gone, so it can't be repeated.".to_owned());
        added.ok_or_else(gone)?;
        PageResult::Ok(page.redirect(&builder_path(found.builder.id.0, &found.builder.name)))
    };
    page.finish(answer.await)
}

pub(super) async fn cancel(State(state): State<AppState>, page: PageRequest, body: String) -> Response {
    let answer = async {
        page.check_same_site()?;
        for id in requests(&body) {
            page.orders(&state).cancel(id, &page.reason(None, "cancelled")).await?;
        }
        PageResult::Ok(page.redirect("pending"))
    };
    page.finish(answer.await)
}

/// Puts requests before all others that wait now.
pub(super) async fn first(State(state): State<AppState>, page: PageRequest, body: String) -> Response {
    let answer = async {
        page.check_same_site()?;
        let waiting = state.data.pending_page().await?.waiting;
        let highest = waiting.iter().map(|waiting| waiting.request.priority).max().unwrap_or(0);
        for id in requests(&body) {
            page.orders(&state).set_priority(id, highest.saturating_add(1)).await?;
        }
        PageResult::Ok(page.redirect("pending"))
    };
    page.finish(answer.await)
}

/// The requests that a form names: the one of a row's own button, else those that are chosen.
fn requests(body: &str) -> Vec<RequestId> {
    let fields = Fields::parse(body);
    let name = if fields.get("only").is_some() { "only" } else { "id" };
    fields.all(name).filter_map(|id| id.parse().ok()).take(MAX_CANCELLED).map(RequestId).collect()
}

pub(super) async fn theme(page: PageRequest, body: String) -> Response {
    if let Err(refused) = page.check_same_site() {
        return page.error(refused);
    }
    let fields = Fields::parse(&body);
    let theme = fields.text("theme").filter(|theme| ["light", "dark"].contains(theme));
    let cookie = match theme {
        Some(theme) => format!("muster_theme={theme}; Path=/; Max-Age={THEME_SECONDS}; SameSite=Lax"),
        None => "muster_theme=; Path=/; Max-Age=0; SameSite=Lax".to_owned(),
    };
    let back = fields.text("back").unwrap_or_default().trim_start_matches('/');
    // Only a way within this site: an address that begins with a scheme or host would lead elsewhere.
    let back = if back.contains(':') || back.contains('\\') { "" } else { back };
    let mut response = page.redirect(back);
    match cookie.parse() {
        Ok(cookie) => response.headers_mut().insert(header::SET_COOKIE, cookie),
        Err(_) => return StatusCode::BAD_REQUEST.into_response(),
    };
    response
}
