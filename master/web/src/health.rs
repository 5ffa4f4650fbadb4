//! Whether this master lives, whether it can serve, and its figures for Prometheus.

use std::{fmt, sync::Arc};

use axum::{
    Router,
    extract::{FromRef, State},
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use metrics::gauge;
use muster_data::{Data, now};
use tokio_util::sync::CancellationToken;

/// The media type of Prometheus' text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers `/livez`, `/readyz` and `/metrics`.
#[derive(Clone)]
pub struct Probe {
    /// Without it there is no database that would have to answer.
    data: Option<Data>,
    metrics: MetricsText,
    /// Cancelled when the master is to end.
    ending: CancellationToken,
}

/// Writes all figures of this process in Prometheus' text format.
#[derive(Clone)]
pub struct MetricsText(Arc<dyn Fn() -> String + Send + Sync>);

impl MetricsText {
    /// What `write` writes.
    pub fn new(write: impl Fn() -> String + Send + Sync + 'static) -> MetricsText {
        MetricsText(Arc::new(write))
    }
}

impl fmt::Debug for MetricsText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MetricsText")
    }
}

impl Probe {
    /// A probe of the master that works on `data` until `ending` is cancelled.
    pub fn new(data: Data, metrics: MetricsText, ending: CancellationToken) -> Probe {
        Probe { data: Some(data), metrics, ending }
    }

    /// A probe of a process that has no database, such as a router.
    pub fn without_database(metrics: MetricsText, ending: CancellationToken) -> Probe {
        Probe { data: None, metrics, ending }
    }

    /// Sets the gauges that are read from the database, which are the same on every master.
    async fn look_at_database(&self) {
        let Some(data) = &self.data else { return };
        let load = match data.load().await {
            Ok(load) => load,
            Err(error) => {
                tracing::debug!(%error, "the queue can't be measured");
                gauge!("muster_database_up").set(0.0);
                return;
            }
        };
        gauge!("muster_database_up").set(1.0);
        gauge!("muster_build_requests_pending").set(load.pending.count as f64);
        let age = load.pending.oldest.map_or(0, |oldest| (now().0 - oldest.0).max(0));
        gauge!("muster_build_request_oldest_seconds").set(age as f64);
        gauge!("muster_builds_running").set(load.running as f64);
    }
}

/// The probes' routes, for a port of their own or beside the pages.
pub(crate) fn router<S>() -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Probe: FromRef<S>,
{
    Router::new().route("/livez", get(live)).route("/readyz", get(ready)).route("/metrics", get(metrics))
}

/// The process runs and answers.
async fn live() -> &'static str {
    "ok\n"
}

/// The database answers and the process doesn't end.
async fn ready(State(probe): State<Probe>) -> (StatusCode, String) {
    if probe.ending.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "this process ends\n".to_owned());
    }
    let Some(data) = &probe.data else { return (StatusCode::OK, "ok\n".to_owned()) };
    if !data.trust().is_held() {
        let reason = "this master can't renew its lease, and does nothing until it can\n";
        return (StatusCode::SERVICE_UNAVAILABLE, reason.to_owned());
    }
    match data.ping().await {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("the database doesn't answer: {error}\n")),
    }
}

async fn metrics(State(probe): State<Probe>) -> impl IntoResponse {
    probe.look_at_database().await;
    ([(header::CONTENT_TYPE, METRICS_TYPE)], (probe.metrics.0)())
}
