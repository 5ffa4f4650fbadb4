//! The pages: whole as HTML, with lasting addresses; scripts only keep them fresh.
//!
//! Every link is relative to the page that holds it, so the pages work below any prefix that a proxy strips.

mod about;
mod actions;
mod ansi;
mod assets;
mod build;
mod builders;
mod force;
mod format;
mod lists;
mod log;
mod render;
mod request;
mod theme;

use axum::{
    Extension, Router,
    middleware::{from_fn_with_state, map_response},
    routing::{get, post},
};

use tower_http::compression::CompressionLayer;

use crate::{headers, state::AppState};
use render::Templates;
pub(crate) use request::PageRequest;

/// The pages and their files. An address that nobody knows is answered with a page, too.
/// `beside` are pages of other rooms.
pub(crate) fn router(state: &AppState, beside: Router<AppState>) -> Router<AppState> {
    let look = from_fn_with_state(state.clone(), request::may_look);
    Router::new()
        .merge(beside)
        .route("/", get(lists::home))
        .route("/builders", get(builders::list))
        .route("/builders/{builder}", get(builders::one))
        .route("/builders/{builder}/force/{scheduler}", get(force::form).post(force::submit))
        .route("/builders/{builder}/builds/{number}", get(build::page))
        .route("/builders/{builder}/builds/{number}/stop", post(actions::stop))
        .route("/builders/{builder}/builds/{number}/rebuild", post(actions::rebuild))
        .route("/builders/{builder}/builds/{number}/steps/{step}/logs/{slug}", get(log::page))
        .route("/pending", get(lists::pending))
        .route("/pending/cancel", post(actions::cancel))
        .route("/pending/first", post(actions::first))
        .route("/workers", get(lists::workers))
        .route("/workers/{name}", get(lists::worker))
        .route("/changes", get(lists::changes))
        .route("/about", get(about::page))
        .route("/buildrequests/{request}", get(about::request))
        .route("/theme", post(actions::theme))
        .route("/theme.css", get(theme::css))
        .route("/static/{*file}", get(assets::file))
        .fallback(request::not_found)
        .layer(look)
        .layer(CompressionLayer::new())
        .layer(map_response(headers::of_pages))
        .layer(Extension(Templates::default()))
}
