//! One build.

use std::collections::BTreeMap;

use axum::{
    extract::{Path, State},
    response::Response,
};
use minijinja::{Value, context, value::Serde};
use muster_core::policy::Action;
use muster_data::views::{BuildPage, Excerpt};

use super::{
    ansi,
    request::{self, PageError, PageRequest, PageResult},
};
use crate::state::AppState;

pub(super) async fn page(
    State(state): State<AppState>,
    page: PageRequest,
    Path((builder, number)): Path<(String, String)>,
) -> Response {
    page.finish(show(&state, &page, &builder, &number).await)
}

async fn show(state: &AppState, page: &PageRequest, builder: &str, number: &str) -> PageResult {
    let mut build = find(state, builder, number).await?;
    let steps = build.steps.iter_mut();
    let excerpts: BTreeMap<i64, Value> =
        steps.filter_map(|step| Some((step.number, excerpt(step.excerpt.take()?)))).collect();
    let span = build.complete_at.unwrap_or_else(muster_data::now).0 - build.started_at.0;
    let hidden = build.steps.iter().filter(|step| step.hidden).count();
    let orders = page.orders(state);
    let may_stop = orders.may_with_build(Action::StopBuild, build.id).await?;
    let may_rebuild = orders.may_with_build(Action::RebuildBuild, build.id).await?;
    let context = context! {
        may_stop, may_rebuild,
        nav => "builders", excerpts => Value::from_pairs(excerpts), span => span.max(1), hidden, show_hidden => page.query.get("hidden").is_some(),
        build => Serde(build),
    };
    page.page("build.html", context)
}

fn excerpt(excerpt: Excerpt) -> Value {
    context! { log => excerpt.log.0, slug => excerpt.slug, skipped => excerpt.skipped, lines => ansi::lines(&excerpt.lines) }
}

/// The build that an address names.
pub(super) async fn find(state: &AppState, builder: &str, number: &str) -> Result<BuildPage, PageError> {
    let (builder, number) = (request::builder(state, builder).await?, request::number(number)?);
    let missing = format!("The builder {} has no build {number}.", builder.name);
    state.data.build_page(builder, number).await?.ok_or(PageError::NotFound(missing))
}
