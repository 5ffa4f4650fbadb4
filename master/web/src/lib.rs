//! The web server: REST v2, control calls, events and pages.
//!
//! Nothing is decided here. Every answer comes from `data`, the configuration or the bus, and every order goes to an
//! update method of `data`.

mod access_log;
mod actions;
mod api;
mod aside;
mod auth;
mod bodies;
mod budget;
mod connections;
mod forcing;
mod forms;
mod frontend;
mod headers;
mod health;
mod hooks;
mod login;
mod pages;
mod paths;
mod patient;
mod site;
mod sse;
mod state;
mod streams;
mod told;
mod ws;

use std::time::Duration;

use axum::{
    Extension, Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{any, get},
};
use tokio_util::sync::CancellationToken;

pub use access_log::AccessLog;
pub use health::{MetricsText, Probe};
pub use login::unusable;
pub use muster_net::{Listener, listen};
pub use state::AppState;

/// How long open requests may take after the server was told to end; then their connections are cut.
const LAST_REQUESTS: Duration = Duration::from_secs(5);

/// Everything this server answers.
pub fn router(state: AppState) -> Router {
    let guard = middleware::from_fn_with_state(state.clone(), site::guard);
    let identify = middleware::from_fn_with_state(state.clone(), login::identify);
    Router::new()
        .merge(programs())
        .merge(pages::router(&state, login::router()))
        .layer(identify)
        .layer(guard)
        // Probes and Prometheus ask by whatever name they know.
        .merge(health::router())
        // Bodies are read before, each within the bounds of its path.
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn(aside::answer))
        .with_state(state)
}

/// What programs ask, and people only by accident.
fn programs() -> Router<AppState> {
    Router::new()
        .merge(api::router())
        .merge(sse::router())
        .merge(hooks::router())
        .route("/ws", any(ws::upgrade))
        .route("/config", get(frontend::config))
        .layer(middleware::map_response(headers::of_programs))
}

/// Serves everything on all listeners until `shutdown` is cancelled, then finishes open requests within a few seconds.
pub async fn serve(listeners: Vec<Listener>, state: AppState, shutdown: CancellationToken) {
    let ending = state.ending.clone();
    let log = state.access_log.clone();
    let mut app = router(state);
    if let Some(log) = log {
        app = app.layer(middleware::from_fn(access_log::note)).layer(Extension(log));
    }
    let served = listeners.into_iter().map(|listener| {
        let mut app = app.clone();
        if listener.takes_this_machine_only() {
            app = app.layer(Extension(site::ThisMachineOnly));
        }
        if listener.has_tls() {
            app = app.layer(Extension(site::Secure));
        }
        (listener, app)
    });
    serve_apps(served.collect(), ending, shutdown).await;
}

/// Serves only the probes, for masters without pages and for ports that nobody else reaches. They answer until
/// `shutdown` is cancelled: a master that ends can be asked how far it is.
pub async fn serve_probe(listeners: Vec<Listener>, probe: Probe, shutdown: CancellationToken) {
    let app: Router = health::router().with_state(probe);
    serve_on_all(listeners, app, shutdown).await;
}

/// Serves a master's operators: the probes, and the orders that end processes, which browsers can't give there.
pub async fn serve_operators(listeners: Vec<Listener>, state: AppState, shutdown: CancellationToken) {
    let orders = api::operators().layer(middleware::from_fn(aside::answer));
    let app = health::router().merge(orders).with_state(state);
    serve_on_all(listeners, app, shutdown).await;
}

async fn serve_on_all(listeners: Vec<Listener>, app: Router, shutdown: CancellationToken) {
    let served = listeners.into_iter().map(|listener| (listener, app.clone()));
    serve_apps(served.collect(), CancellationToken::new(), shutdown).await;
}

async fn serve_apps(apps: Vec<(Listener, Router)>, ending: CancellationToken, shutdown: CancellationToken) {
    let served = apps.into_iter().map(|(listener, app)| connections::serve(listener, app, ending.clone()));
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
