//! What every request sees.

use std::{convert::Infallible, sync::Arc};

use axum::{
    extract::{FromRef, FromRequestParts},
    http::request::Parts,
};
use muster_config::{Host, snapshot::Snapshot};
use muster_data::Data;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    AccessLog, MetricsText, Probe,
    auth::{Door, Policies, Sessions, Visitor},
    forcing::{Forcing, Forms},
    streams::Streams,
};

/// Open WebSockets and event streams in all; one more is answered with 503. Each holds a queue and a connection.
pub const MAX_LISTENERS: usize = 4_096;

/// What every request sees. Clones are the same state.
#[derive(Clone)]
pub struct AppState {
    /// The waist of the house.
    pub data: Data,
    /// The newest configuration.
    pub snapshot: watch::Receiver<Arc<Snapshot>>,
    /// Answers the configuration's Python functions; a server of its own has none.
    pub(crate) host: Option<Host>,
    /// Force schedulers of all masters.
    pub(crate) forcing: Forcing,
    /// Who may do what, by the newest configuration.
    pub(crate) policies: Policies,
    /// The secret of sessions.
    pub(crate) sessions: Sessions,
    /// Where people log in.
    pub(crate) door: Door,
    /// Open event streams that can be told to add paths.
    pub(crate) streams: Streams,
    /// One permit for each open WebSocket and event stream.
    pub(crate) listeners: Arc<Semaphore>,
    /// Notes every request, where there is one.
    pub(crate) access_log: Option<AccessLog>,
    /// Writes the figures of this process.
    pub(crate) metrics: MetricsText,
    /// Cancelled when the master is about to go: it still answers, but is not ready for more.
    pub(crate) going: CancellationToken,
    /// Cancelled when the server is to end: no new connections, open streams are closed.
    pub(crate) ending: CancellationToken,
}

impl AppState {
    /// The state of a server on `data`, configured by the newest snapshot.
    pub fn new(data: Data, snapshot: watch::Receiver<Arc<Snapshot>>, metrics: MetricsText) -> AppState {
        AppState::until(data, snapshot, metrics, CancellationToken::new())
    }

    /// The same of a master that is about to go once `going` is cancelled.
    pub fn until(
        data: Data,
        snapshot: watch::Receiver<Arc<Snapshot>>,
        metrics: MetricsText,
        going: CancellationToken,
    ) -> AppState {
        AppState {
            data,
            snapshot,
            host: None,
            forcing: Forcing::default(),
            policies: Policies::default(),
            sessions: Sessions::default(),
            door: Door::default(),
            streams: Streams::default(),
            listeners: Arc::new(Semaphore::new(MAX_LISTENERS)),
            access_log: None,
            metrics,
            going,
            ending: CancellationToken::new(),
        }
    }

    /// The same with somebody who answers the configuration's functions.
    pub fn with_host(self, host: Host) -> AppState {
        AppState { host: Some(host), ..self }
    }

    /// The same with a log of all requests.
    pub fn with_access_log(self, log: Option<AccessLog>) -> AppState {
        AppState { access_log: log, ..self }
    }

    /// What answers probes of this server.
    pub fn probe(&self) -> Probe {
        Probe::from_ref(self)
    }

    /// The force schedulers of all masters that live.
    pub(crate) async fn forcing(&self) -> Forms {
        self.forcing.with(&self.data, self.config()).await
    }

    /// The configuration as it is now.
    pub fn config(&self) -> Arc<Snapshot> {
        self.snapshot.borrow().clone()
    }
}

/// Who asks was found out before; where it was not, it is nobody.
impl FromRequestParts<AppState> for Visitor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Visitor, Infallible> {
        let known = parts.extensions.get::<Visitor>().cloned();
        Ok(known.unwrap_or_else(|| Visitor::nobody(&state.config(), &state.policies)))
    }
}

impl FromRef<AppState> for Probe {
    fn from_ref(state: &AppState) -> Probe {
        let ends = if state.ending.is_cancelled() { &state.ending } else { &state.going };
        Probe::new(state.data.clone(), state.metrics.clone(), ends.clone())
    }
}
