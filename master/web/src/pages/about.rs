//! What runs here; and addresses that name things by their numbers, as Buildbot's interface does.

use axum::{
    extract::{Path, State},
    response::Response,
};
use minijinja::{context, value::Serde};
use muster_data::read::Found;
use serde_json::Value;

use super::{
    format::{builder_path, segment},
    request::{self, PageError, PageRequest, PageResult},
};
use crate::{frontend, state::AppState};

pub(super) async fn page(State(state): State<AppState>, page: PageRequest) -> Response {
    page.finish(show(&state, &page).await)
}

async fn show(state: &AppState, page: &PageRequest) -> PageResult {
    let masters = items(state, &["masters"]).await?;
    let schedulers = items(state, &["schedulers"]).await?;
    let versions = frontend::versions(&page.snapshot);
    page.page(
        "about.html",
        context! {
            nav => "about", versions => Serde(versions), masters => Serde(masters), schedulers => Serde(schedulers),
        },
    )
}

/// A build request: its newest build, or the list in which it waits.
pub(super) async fn request(
    State(state): State<AppState>,
    page: PageRequest,
    Path(id): Path<String>,
) -> Response {
    page.finish(lead_to_build(&state, &page, &id).await)
}

async fn lead_to_build(state: &AppState, page: &PageRequest, id: &str) -> PageResult {
    let id = request::number(id)?.to_string();
    let builds = items(state, &["buildrequests", &id, "builds"]).await?;
    let newest = builds.iter().max_by_key(|build| int(build, "buildid"));
    if let Some(build) = newest {
        let (builder, number) = (int(build, "builderid"), int(build, "number"));
        let builder = request::builder(state, &builder.to_string()).await?;
        return Ok(page.redirect(&format!("{}/builds/{number}", builder_path(builder.id.0, &builder.name))));
    }
    match items(state, &["buildrequests", &id]).await?.first() {
        Some(open) if open["complete"] == Value::Bool(false) => Ok(page.redirect("pending")),
        Some(_) => Err(PageError::NotFound(format!("The build request {id} ended without a build."))),
        None => Err(PageError::NotFound(format!("There is no build request {id}."))),
    }
}

/// The page of the worker with this number; `None` when there is none.
pub(super) async fn worker_by_number(state: &AppState, page: &PageRequest, id: &str) -> Option<Response> {
    id.parse::<i64>().ok()?;
    let workers = items(state, &["workers", id]).await.ok()?;
    let name = workers.first()?["name"].as_str()?;
    Some(page.redirect(&format!("workers/{}", segment(name))))
}

fn int(item: &Value, key: &str) -> i64 {
    item[key].as_i64().unwrap_or_default()
}

/// What the REST interface answers; nothing where it knows no such thing.
async fn items(state: &AppState, path: &[&str]) -> Result<Vec<Value>, PageError> {
    let path: Vec<String> = path.iter().map(|&part| part.to_owned()).collect();
    Ok(match state.data.get(&path, &[], &()).await {
        Ok(Found::List { page, .. }) => page.items,
        Ok(Found::Single { item, .. }) => vec![item],
        Ok(_) | Err(muster_data::read::Error::NotFound(_)) => Vec::new(),
        Err(error) => return Err(error.into()),
    })
}
