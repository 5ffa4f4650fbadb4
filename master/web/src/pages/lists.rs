//! Pages that show one list: home, pending, workers, changes.

use axum::{
    extract::{Path, State},
    response::Response,
};
use minijinja::{context, value::Serde};
use muster_core::ChangeId;

use super::{
    about,
    request::{PageError, PageRequest, PageResult},
};
use crate::state::AppState;

/// `c['www']['default_page']` goes before it; `?home` is this page whatever that says.
pub(super) async fn home(State(state): State<AppState>, page: PageRequest) -> Response {
    if let Some(landing) = page.landing_page() {
        return page.redirect(landing);
    }
    let answer = async {
        let home = state.data.home_page().await?;
        page.page("home.html", context! { nav => "home", home => Serde(home) })
    };
    page.finish(answer.await)
}

pub(super) async fn pending(State(state): State<AppState>, page: PageRequest) -> Response {
    let answer = async {
        let pending = state.data.pending_page().await?;
        page.page("pending.html", context! { nav => "pending", pending => Serde(pending) })
    };
    page.finish(answer.await)
}

pub(super) async fn workers(State(state): State<AppState>, page: PageRequest) -> Response {
    let answer = async {
        let workers = state.data.workers_page().await?;
        page.page("workers.html", context! { nav => "workers", workers => Serde(workers) })
    };
    page.finish(answer.await)
}

pub(super) async fn worker(
    State(state): State<AppState>,
    page: PageRequest,
    Path(name): Path<String>,
) -> Response {
    let found = show_worker(&state, &page, &name).await;
    if matches!(found, Err(PageError::NotFound(_)))
        && let Some(by_number) = about::worker_by_number(&state, &page, &name).await
    {
        return by_number;
    }
    page.finish(found)
}

async fn show_worker(state: &AppState, page: &PageRequest, name: &str) -> PageResult {
    let worker = state.data.worker_page(name).await?;
    let worker = worker.ok_or_else(|| PageError::NotFound(format!("There is no worker named {name}.")))?;
    page.page("worker.html", context! { nav => "workers", worker => Serde(worker) })
}

pub(super) async fn changes(State(state): State<AppState>, page: PageRequest) -> Response {
    let answer = async {
        let branch = page.query.text("branch");
        let changes = state.data.changes_page(page.query.number("below").map(ChangeId), branch).await?;
        page.page("changes.html", context! { nav => "changes", page => Serde(changes), branch })
    };
    page.finish(answer.await)
}
