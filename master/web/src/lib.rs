//! The web server: REST v2, control calls, events and pages.
//!
//! Nothing is decided here. Every answer comes from `data`, the configuration or the bus, and every order goes to an
//! update method of `data`.

mod api;
mod frontend;
mod health;
mod listen;
mod pages;
mod sse;
mod state;
mod ws;

use std::{io, time::Duration};

use axum::{Router, routing::any, routing::get, serve::ListenerExt};
use tokio_util::sync::CancellationToken;

pub use listen::{DEFAULT_BACKLOG, ListenError, Listener, listen};
pub use state::AppState;

/// How long open requests may take after the server was told to end; then their connections are cut.
const LAST_REQUESTS: Duration = Duration::from_secs(5);

/// Everything this server answers.
pub fn router(state: AppState) -> Router {
    Router::new()
        .merge(api::router())
        .merge(sse::router())
        .route("/ws", any(ws::upgrade))
        .route("/config", get(frontend::config))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .merge(pages::router())
        .with_state(state)
}

/// Serves on all listeners until `shutdown` is cancelled, then finishes open requests within a few seconds.
///
/// # Errors
/// When a listener can't accept connections any more.
pub async fn serve(listeners: Vec<Listener>, state: AppState, shutdown: CancellationToken) -> io::Result<()> {
    let ending = state.ending.clone();
    let app = router(state);
    let served = listeners.into_iter().map(|listener| serve_one(listener, app.clone(), ending.clone()));
    let served = futures_util::future::try_join_all(served);
    tokio::pin!(served);
    tokio::select! {
        outcome = &mut served => return outcome.map(|_| ()),
        () = shutdown.cancelled() => ending.cancel(),
    }
    match tokio::time::timeout(LAST_REQUESTS, served).await {
        Ok(outcome) => outcome.map(|_| ()),
        Err(_) => {
            tracing::warn!("some requests were still open at the end; their connections are cut");
            Ok(())
        }
    }
}

async fn serve_one(listener: Listener, app: Router, ending: CancellationToken) -> io::Result<()> {
    match listener {
        Listener::Tcp(listener) => {
            let listener = listener.tap_io(|connection| {
                // Small answers must not wait for an acknowledgement; without the option they are merely slower.
                if let Err(error) = connection.set_nodelay(true) {
                    tracing::debug!(%error, "TCP_NODELAY can't be set");
                }
            });
            axum::serve(listener, app).with_graceful_shutdown(ending.cancelled_owned()).await
        }
        Listener::Unix(listener) => {
            axum::serve(listener, app).with_graceful_shutdown(ending.cancelled_owned()).await
        }
    }
}
