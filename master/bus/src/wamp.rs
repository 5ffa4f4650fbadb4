//! The bus between masters: a session on a WAMP router.
//!
//! The router is an accelerator. While it is away events stay inside the process; what others should have heard is
//! dropped and counted, because the database has it. When it is back, everybody is told to look once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use muster_router_compat::auth::Credentials;
use muster_router_compat::client::{Incoming, SessionError};
use muster_router_compat::message::Dict;
use muster_router_compat::net::tls::ClientTls;
use muster_router_compat::net::{
    ConnectError, ConnectOptions, Connection, ConnectionError, address::RouterUrl,
};
use muster_router_compat::{Frame, Match, Payload};
use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::in_process::InProcess;
use super::names::{EVERYTHING, topic_of, topic_uri};
use super::{Carrier, Event, Received};

/// Events that may wait for the connection to the router (8192: the burst of some hundred builds). What finds no room is
/// dropped for other masters and counted.
const QUEUE: usize = 8192;
/// Events that are sent in one go.
const BATCH: usize = 256;
/// A session that lasted as long counts as a success, and the next failure begins with a short pause again.
const LASTED: Duration = Duration::from_secs(5);

/// Which router, and as whom.
#[derive(Clone, Debug)]
pub struct WampOptions {
    /// The router.
    pub url: RouterUrl,
    /// The realm.
    pub realm: String,
    /// How to prove who this is.
    pub credentials: Credentials,
    /// For `wss`.
    pub tls: ClientTls,
}

/// The sending side.
pub(crate) struct Wamp {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Arc<Event>>,
}

struct Shared {
    local: InProcess,
    counters: Counters,
    connected: AtomicBool,
    joined: watch::Sender<bool>,
}

#[derive(Default)]
struct Counters {
    sent: AtomicU64,
    received: AtomicU64,
    dropped_router_away: AtomicU64,
    dropped_queue_full: AtomicU64,
    not_understood: AtomicU64,
    sessions: AtomicU64,
    sessions_lost: AtomicU64,
    dials_failed: AtomicU64,
    dials_refused: AtomicU64,
}

fn count(counter: &AtomicU64, more: usize) {
    counter.fetch_add(more as u64, Ordering::Relaxed);
}

pub(crate) fn pair(options: WampOptions) -> (Wamp, WampDriver) {
    let (queue, waiting) = mpsc::channel(QUEUE);
    let shared = Arc::new(Shared {
        local: InProcess::default(),
        counters: Counters::default(),
        connected: AtomicBool::new(false),
        joined: watch::Sender::new(false),
    });
    (Wamp { shared: shared.clone(), queue }, WampDriver { options, shared, waiting })
}

impl Carrier for Wamp {
    fn publish(&self, event: Event) {
        let event = Arc::new(event);
        self.shared.local.publish_shared(event.clone());
        let counters = &self.shared.counters;
        if !self.shared.connected.load(Ordering::Relaxed) {
            count(&counters.dropped_router_away, 1);
        } else if self.queue.try_send(event).is_err() {
            count(&counters.dropped_queue_full, 1);
        }
    }

    fn subscribe(&self) -> broadcast::Receiver<Received> {
        self.shared.local.subscribe()
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        let mut all = self.shared.local.counters();
        let own = &self.shared.counters;
        let named = [
            ("sent", &own.sent),
            ("received", &own.received),
            ("dropped_router_away", &own.dropped_router_away),
            ("dropped_queue_full", &own.dropped_queue_full),
            ("not_understood", &own.not_understood),
            ("sessions", &own.sessions),
            ("sessions_lost", &own.sessions_lost),
            ("dials_failed", &own.dials_failed),
            ("dials_refused", &own.dials_refused),
        ];
        all.extend(named.map(|(name, counter)| (name, counter.load(Ordering::Relaxed))));
        all
    }

    fn ready(&self) -> BoxFuture<'_, ()> {
        let mut joined = self.shared.joined.subscribe();
        async move {
            // The sender lives as long as the bus.
            let _ = joined.wait_for(|joined| *joined).await;
        }
        .boxed()
    }
}

/// Keeps the session with the router.
pub struct WampDriver {
    options: WampOptions,
    shared: Arc<Shared>,
    waiting: mpsc::Receiver<Arc<Event>>,
}

impl WampDriver {
    /// Dials, serves, dials again, until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let options = ConnectOptions {
            credentials: self.options.credentials.clone(),
            tls: self.options.tls.clone(),
            ..ConnectOptions::new(self.options.url.clone(), &self.options.realm)
        };
        let mut backoff = Backoff::default();
        let mut last_failure = String::new();
        loop {
            let opened = tokio::select! {
                opened = Connection::open(&options) => opened,
                () = stop.cancelled() => return,
            };
            let refused = match opened {
                Ok(connection) => {
                    last_failure.clear();
                    let began = Instant::now();
                    let Some(lost) = self.serve(connection, &stop).await else { return };
                    tracing::warn!("the session with the router {} is lost: {lost}", options.url);
                    if began.elapsed() >= LASTED {
                        backoff.reset();
                    }
                    is_refusal(&lost)
                }
                Err(error) => {
                    let refused = matches!(&error, ConnectError::Session(error) if is_refusal(error));
                    self.tell_failure(&error, refused, &mut last_failure);
                    refused
                }
            };
            let pause = backoff.next(refused, fastrand::f64());
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Each new reason once; the same one again only counts.
    fn tell_failure(&self, error: &ConnectError, refused: bool, last: &mut String) {
        let counters = &self.shared.counters;
        count(if refused { &counters.dials_refused } else { &counters.dials_failed }, 1);
        let text = error.to_string();
        if text != *last {
            tracing::warn!(
                "no session with the router {}: {text}; going on without it, by timer",
                self.options.url
            );
            *last = text;
        }
    }

    /// One session; why it ended, or `None` when it was told to stop.
    async fn serve(
        &mut self,
        mut connection: Connection,
        stop: &CancellationToken,
    ) -> Option<ConnectionError> {
        let outcome = self.serve_until(&mut connection, stop).await;
        self.shared.connected.store(false, Ordering::Relaxed);
        self.shared.joined.send_replace(false);
        // What waited for the lost connection would be old news in the next one.
        while self.waiting.try_recv().is_ok() {
            count(&self.shared.counters.dropped_router_away, 1);
        }
        match outcome {
            Ok(()) => {
                connection.leave().await;
                None
            }
            Err(lost) => {
                count(&self.shared.counters.sessions_lost, 1);
                Some(lost)
            }
        }
    }

    async fn serve_until(
        &mut self,
        connection: &mut Connection,
        stop: &CancellationToken,
    ) -> Result<(), ConnectionError> {
        count(&self.shared.counters.sessions, 1);
        let subscribe = connection.client().subscribe(Match::Prefix, EVERYTHING);
        let (request, frame) = subscribe.expect("a session that has just been opened takes a request");
        connection.send([frame]).await?;
        let mut events = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                incoming = connection.next() => self.take(incoming?, request)?,
                taken = self.waiting.recv_many(&mut events, BATCH) => {
                    if taken == 0 {
                        return Ok(());
                    }
                    let frames = self.encode(connection, &events);
                    events.clear();
                    connection.send(frames).await?;
                }
                () = stop.cancelled() => {
                    self.send_rest(connection).await?;
                    return Ok(());
                }
            }
        }
    }

    /// What was published before the stop is still sent: others want to hear that this master stops.
    async fn send_rest(&mut self, connection: &mut Connection) -> Result<(), ConnectionError> {
        let mut events = Vec::new();
        while let Ok(event) = self.waiting.try_recv() {
            events.push(event);
        }
        let frames = self.encode(connection, &events);
        connection.send(frames).await
    }

    fn encode(&self, connection: &mut Connection, events: &[Arc<Event>]) -> Vec<Frame> {
        let mut frames = Vec::with_capacity(events.len() * 2);
        for event in events {
            let payload = Payload::one(event.payload.clone());
            for topic in &event.topics {
                // Without options: the router leaves out the publisher, whose own subscribers have it already.
                let published = connection.client().publish(topic_uri(topic), Dict::new(), payload.clone());
                let (_, frame) =
                    published.expect("an open session takes publications without acknowledgement");
                frames.push(frame);
            }
        }
        count(&self.shared.counters.sent, frames.len());
        frames
    }

    fn take(&self, incoming: Incoming, subscribing: u64) -> Result<(), ConnectionError> {
        match incoming {
            Incoming::Subscribed { request, .. } if request == subscribing => {
                tracing::info!("events go over the router {}", self.options.url);
                self.shared.connected.store(true, Ordering::Relaxed);
                self.shared.joined.send_replace(true);
                // Nobody knows what happened meanwhile: at least one thing, as far as everybody is concerned.
                self.shared.local.tell(Received::Missed(1));
            }
            Incoming::Failed { request, error, payload } if request == subscribing => {
                let text = payload.args.first().and_then(|text| text.as_str()).unwrap_or_default().to_owned();
                return Err(SessionError::Refused { reason: error, text }.into());
            }
            Incoming::Event { details, payload, .. } => match event(&details, payload) {
                Some(event) => {
                    count(&self.shared.counters.received, 1);
                    self.shared.local.tell(Received::Event(Arc::new(event)));
                }
                None => count(&self.shared.counters.not_understood, 1),
            },
            _ => count(&self.shared.counters.not_understood, 1),
        }
        Ok(())
    }
}

fn is_refusal(error: &ConnectionError) -> bool {
    matches!(error, ConnectionError::Session(_))
}

/// An event of another master. Buildbot sends null where it has no payload that JSON can hold.
fn event(details: &Dict, payload: Payload) -> Option<Event> {
    let topic = topic_of(details.get("topic")?.as_str()?)?;
    Some(Event { topics: vec![topic], payload: payload.args.into_iter().next().unwrap_or_default() })
}
