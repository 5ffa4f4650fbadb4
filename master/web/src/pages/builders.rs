//! The list of builders, and one builder.

use axum::{
    extract::{Path, State},
    response::Response,
};
use minijinja::{Value, context, value::Serde};
use muster_core::{
    Results,
    policy::{Action, Target, TargetKind},
};
use muster_data::views::{BuilderLine, BuilderSummary};

use super::{
    force,
    request::{self, PageRequest, PageResult},
};
use crate::forms::Fields;
use crate::state::AppState;

pub(super) async fn list(State(state): State<AppState>, page: PageRequest) -> Response {
    page.finish(show_list(&state, &page).await)
}

async fn show_list(state: &AppState, page: &PageRequest) -> PageResult {
    let all = page.query.get("all").is_some();
    let mut builders = state.data.builders_page(all).await?;
    let filter = Filter::new(&page.query);
    let total = builders.builders.len();
    builders.builders.retain(|summary| filter.admits(summary));
    let context = context! {
        nav => "builders", total, all,
        name => filter.name, tag => filter.tag, result => filter.result,
        page => Serde(builders),
    };
    page.page("builders.html", context)
}

/// What the address asks for.
struct Filter<'a> {
    name: Option<&'a str>,
    tag: Option<&'a str>,
    result: Option<&'a str>,
}

impl<'a> Filter<'a> {
    fn new(query: &'a Fields) -> Filter<'a> {
        Filter { name: query.text("name"), tag: query.text("tag"), result: query.text("result") }
    }

    fn admits(&self, summary: &BuilderSummary) -> bool {
        let name = summary.builder.name.to_lowercase();
        let latest = summary.latest.as_ref().and_then(|build| build.results);
        self.name
            .is_none_or(|wanted| wanted.to_lowercase().split_whitespace().all(|word| name.contains(word)))
            && self.tag.is_none_or(|wanted| summary.tags.iter().any(|tag| tag == wanted))
            && self.result.is_none_or(|wanted| latest.map_or("never", Results::name) == wanted)
    }
}

pub(super) async fn one(
    State(state): State<AppState>,
    page: PageRequest,
    Path(key): Path<String>,
) -> Response {
    let answer = async {
        let builder = request::builder(&state, &key).await?;
        let target =
            Target { builders: vec![builder.name.clone()], ..Target::of(TargetKind::ForceScheduler) };
        let forms = match page.may(Action::Force, &target) {
            true => force::forms_of(&state.forcing().await, &builder.name),
            false => Vec::new(),
        };
        show(&state, &page, builder, forms).await
    };
    page.finish(answer.await)
}

async fn show(state: &AppState, page: &PageRequest, builder: BuilderLine, forms: Vec<Value>) -> PageResult {
    let below = page.query.number("below");
    let builder = state.data.builder_page(builder, below).await?;
    let slowest =
        builder.drawn.iter().filter_map(|build| Some(build.complete_at?.0 - build.started_at.0)).max();
    let slowest = slowest.unwrap_or(0).max(builder.usual.unwrap_or(0)).max(1);
    page.page(
        "builder.html",
        context! { nav => "builders", builder => Serde(builder), forms, below, slowest },
    )
}
