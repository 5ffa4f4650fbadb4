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
mod forms;
mod lists;
mod log;
mod render;
mod request;
mod theme;

use axum::{
    Extension, Router,
    extract::DefaultBodyLimit,
    http::{HeaderValue, header},
    middleware::map_response,
    response::Response,
    routing::{get, post},
};

use tower_http::compression::CompressionLayer;

use crate::state::AppState;
pub(crate) use forms::Fields;
use render::Templates;

/// Bytes of a posted form: the longest file field of Buildbot's force forms (10 MiB) with its neighbours.
/// A larger form is answered with 413.
const MAX_FORM: usize = 12 << 20;

/// Only what this server itself serves may run, style or be asked; nothing inline, and no page inside another's frame.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                                       connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The pages and their files. An address that nobody knows is answered with a page, too.
pub fn router() -> Router<AppState> {
    Router::new()
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
        .layer(DefaultBodyLimit::max(MAX_FORM))
        .layer(CompressionLayer::new())
        .layer(map_response(secure))
        .layer(Extension(Templates::default()))
}

async fn secure(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}
