//! The web server: REST v2, control calls, events and pages.
//!
//! Nothing is decided here. Every answer comes from `data`, the configuration or the bus, and every order goes to an
//! update method of `data`.

mod api;
mod connections;
mod frontend;
mod health;
mod hooks;
mod pages;
mod sse;
mod state;
mod streams;
mod ws;

use std::time::Duration;

use axum::{
    Router,
    routing::{any, get},
};
use tokio_util::sync::CancellationToken;

pub use health::{MetricsText, Probe};
pub use muster_net::{Listener, listen};
pub use state::AppState;

/// How long open requests may take after the server was told to end; then their connections are cut.
const LAST_REQUESTS: Duration = Duration::from_secs(5);

/// Everything this server answers.
pub fn router(state: AppState) -> Router {
    Router::new()
        .merge(api::router())
        .merge(sse::router())
        .merge(hooks::router())
        .route("/ws", any(ws::upgrade))
        .route("/config", get(frontend::config))
        .merge(health::router())
        .merge(pages::router())
        .with_state(state)
}

/// Serves everything on all listeners until `shutdown` is cancelled, then finishes open requests within a few seconds.
pub async fn serve(listeners: Vec<Listener>, state: AppState, shutdown: CancellationToken) {
    let ending = state.ending.clone();
    serve_app(listeners, router(state), ending, shutdown).await;
}

/// Serves only the probes, for masters without pages and for ports that nobody else reaches. They answer until
/// `shutdown` is cancelled: a master that ends can be asked how far it is.
pub async fn serve_probe(listeners: Vec<Listener>, probe: Probe, shutdown: CancellationToken) {
    let app = health::router().with_state(probe);
    serve_app(listeners, app, CancellationToken::new(), shutdown).await;
}

async fn serve_app(
    listeners: Vec<Listener>,
    app: Router,
    ending: CancellationToken,
    shutdown: CancellationToken,
) {
    let served =
        listeners.into_iter().map(|listener| connections::serve(listener, app.clone(), ending.clone()));
    let served = futures_util::future::join_all(served);
    tokio::pin!(served);
    tokio::select! {
        _ = &mut served => return,
        () = shutdown.cancelled() => ending.cancel(),
    }
    if tokio::time::timeout(LAST_REQUESTS, served).await.is_err() {
        tracing::warn!("some requests were still open at the end; their connections are cut");
    }
}
