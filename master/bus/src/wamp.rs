//! The bus between masters: a session on a WAMP router.
//!
//! The router is an accelerator. While it is away events stay inside the process; what others should have heard is
//! dropped and counted, because the database has it. When it is back, everybody is told to look once: a master's own
//! subscribers as soon as it is, those of the others as soon as whoever dropped something for them is, too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
use muster_router_compat::{Frame, Id, Match, Payload};
use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::in_process::InProcess;
use super::names::{EVERYTHING, MISSED, topic_of, topic_uri};
use super::{Carrier, Event, Origin, Received};

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
    /// The role at the router whose peers give orders; without one, whoever may publish does.
    pub orders_role: Option<String>,
}

/// The sending side.
pub(crate) struct Wamp {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Waiting>,
}

struct Shared {
    local: InProcess,
    connected: AtomicBool,
    joined: watch::Sender<bool>,
    /// Something was dropped that other masters have not been told to look for yet.
    owes_a_look: AtomicBool,
}

/// An event that waits for the connection.
struct Waiting {
    event: Arc<Event>,
    since: Instant,
}

pub(crate) fn pair(options: WampOptions) -> (Wamp, WampDriver) {
    let (queue, waiting) = mpsc::channel(QUEUE);
    let shared = Arc::new(Shared {
        local: InProcess::default(),
        connected: AtomicBool::new(false),
        joined: watch::Sender::new(false),
        owes_a_look: AtomicBool::new(false),
    });
    shared.local.counters.announce();
    (Wamp { shared: shared.clone(), queue }, WampDriver { options, shared, waiting })
}

impl Carrier for Wamp {
    fn publish(&self, event: Event) {
        let event = Arc::new(event);
        self.shared.local.publish_shared(event.clone());
        let counters = &self.shared.local.counters;
        let dropped = if !self.shared.connected.load(Ordering::Relaxed) {
            &counters.dropped_router_away
        } else if self.queue.try_send(Waiting { event, since: Instant::now() }).is_err() {
            &counters.dropped_queue_full
        } else {
            return;
        };
        dropped.increment();
        self.shared.owes_a_look.store(true, Ordering::Relaxed);
    }

    fn subscribe(&self) -> broadcast::Receiver<Received> {
        self.shared.local.subscribe()
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        self.shared.local.counters()
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
    waiting: mpsc::Receiver<Waiting>,
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
                    let is_no_wamp = match &error {
                        ConnectError::NoRouter(_) => true,
                        ConnectError::Session(error) => is_violation(error),
                        _ => false,
                    };
                    if is_no_wamp {
                        self.shared.local.counters.protocol_violations.increment();
                    }
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
        let counters = &self.shared.local.counters;
        if refused {
            counters.dials_refused.increment()
        } else {
            counters.dials_failed.increment()
        }
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
        self.shared.connected(false);
        // What waited for the lost connection would be old news in the next one.
        while self.waiting.try_recv().is_ok() {
            self.shared.local.counters.dropped_router_away.increment();
        }
        // Nobody knows how much of what was sent arrived.
        self.shared.owes_a_look.store(true, Ordering::Relaxed);
        match outcome {
            Ok(()) => {
                connection.leave().await;
                None
            }
            Err(lost) => {
                self.shared.local.counters.sessions_lost.increment();
                if is_violation(&lost) {
                    self.shared.local.counters.protocol_violations.increment();
                }
                Some(lost)
            }
        }
    }

    async fn serve_until(
        &mut self,
        connection: &mut Connection,
        stop: &CancellationToken,
    ) -> Result<(), ConnectionError> {
        self.shared.local.counters.sessions.increment();
        let subscribe = connection.client().subscribe(Match::Prefix, EVERYTHING);
        let (request, frame) = subscribe.expect("a session that has just been opened takes a request");
        connection.send([frame]).await?;
        let mut session = Session { subscribing: request, acknowledging: None, told_refusal: false };
        let mut events = Vec::with_capacity(BATCH);
        loop {
            if self.shared.must_tell_others() {
                let frame = self.tell_others(connection);
                connection.send([frame]).await?;
            }
            tokio::select! {
                incoming = connection.next() => self.take(incoming?, &mut session)?,
                taken = self.waiting.recv_many(&mut events, BATCH) => {
                    if taken == 0 {
                        return Ok(());
                    }
                    let frames = self.encode(connection, &events, &mut session);
                    events.clear();
                    connection.send(frames).await?;
                }
                () = stop.cancelled() => {
                    self.send_rest(connection, &mut session).await?;
                    return Ok(());
                }
            }
        }
    }

    /// What was published before the stop is still sent: others want to hear that this master stops.
    async fn send_rest(
        &mut self,
        connection: &mut Connection,
        session: &mut Session,
    ) -> Result<(), ConnectionError> {
        let mut events = Vec::new();
        while let Ok(event) = self.waiting.try_recv() {
            events.push(event);
        }
        let frames = self.encode(connection, &events, session);
        connection.send(frames).await
    }

    /// Tells the other masters to look at everything once.
    fn tell_others(&self, connection: &mut Connection) -> Frame {
        let published =
            connection.client().publish(MISSED, Dict::new(), Payload::one(serde_json::Value::Null));
        let (_, frame) = published.expect("an open session takes one request after the other");
        self.shared.local.counters.sent.increment();
        frame
    }

    fn encode(&self, connection: &mut Connection, events: &[Waiting], session: &mut Session) -> Vec<Frame> {
        let mut frames = Vec::with_capacity(events.len() * 2);
        for Waiting { event, since } in events {
            let payload = Payload::one(event.payload.clone());
            for topic in &event.topics {
                let uri = topic_uri(topic);
                tracing::trace!(topic = %uri, "to the router");
                // Without exclude_me: the router leaves out the publisher, whose own subscribers have it already. One at
                // a time is acknowledged: that tells how long it takes, and whether the router takes it at all.
                let mut options = Dict::new();
                if session.acknowledging.is_none() {
                    options.insert("acknowledge".to_owned(), true.into());
                }
                let published = connection.client().publish(uri, options, payload.clone());
                let (request, frame) = published.expect("an open session takes one request after the other");
                session.acknowledging.get_or_insert((request, *since));
                frames.push(frame);
            }
        }
        self.shared.local.counters.sent.add(frames.len() as u64);
        frames
    }

    fn take(&self, incoming: Incoming, session: &mut Session) -> Result<(), ConnectionError> {
        let counters = &self.shared.local.counters;
        match incoming {
            Incoming::Subscribed { request, .. } if request == session.subscribing => {
                tracing::info!("events go over the router {}", self.options.url);
                self.shared.connected(true);
                // Nobody knows what happened meanwhile: at least one thing, as far as everybody is concerned.
                self.shared.local.tell(Received::Missed(1));
            }
            Incoming::Failed { request, error, payload } if request == session.subscribing => {
                return Err(SessionError::Refused { reason: error, text: text_of(&payload) }.into());
            }
            Incoming::Published { request, .. } => {
                if let Some((_, since)) = session.acknowledging.take_if(|(asked, _)| *asked == request) {
                    metrics::histogram!("muster_bus_publish_seconds").record(since.elapsed().as_secs_f64());
                }
            }
            Incoming::Failed { error, payload, .. } => {
                session.acknowledging = None;
                counters.publications_refused.increment();
                if !std::mem::replace(&mut session.told_refusal, true) {
                    tracing::warn!(
                        "the router {} refuses this master's events, so others don't hear of them at once ({error}): {}",
                        self.options.url,
                        text_of(&payload)
                    );
                }
            }
            Incoming::Event { details, .. } if topic_text(&details) == Some(MISSED) => {
                self.shared.local.tell(Received::Missed(1));
            }
            Incoming::Event { details, payload, .. } => {
                match event(&details, payload, self.options.orders_role.as_deref()) {
                    Some(event) => {
                        counters.received.increment();
                        tracing::trace!(topic = %event.topics[0], "from the router");
                        self.shared.local.tell(Received::Event(Arc::new(event)));
                    }
                    None => counters.not_understood.increment(),
                }
            }
            _ => counters.not_understood.increment(),
        }
        Ok(())
    }
}

/// What a session waits for.
struct Session {
    /// The request that subscribes.
    subscribing: Id,
    /// The publication that is acknowledged, and since when its event waits.
    acknowledging: Option<(Id, Instant)>,
    /// Whether the log says already that publications are refused.
    told_refusal: bool,
}

impl Shared {
    /// Whether others can be told, and have to be: once.
    fn must_tell_others(&self) -> bool {
        self.connected.load(Ordering::Relaxed) && self.owes_a_look.swap(false, Ordering::Relaxed)
    }

    fn connected(&self, is: bool) {
        self.connected.store(is, Ordering::Relaxed);
        self.joined.send_replace(is);
        metrics::gauge!("muster_bus_connected").set(f64::from(u8::from(is)));
    }
}

/// Whether a person has to do something before the next attempt can succeed. A router that only stops is none of that.
fn is_refusal(error: &ConnectionError) -> bool {
    match error {
        ConnectionError::Session(SessionError::Refused { reason, .. }) => !reason.starts_with("wamp.close."),
        ConnectionError::Session(_) => true,
        _ => false,
    }
}

/// Whether what came is no WAMP, or not as the protocol has it.
fn is_violation(error: &ConnectionError) -> bool {
    use SessionError::{Garbage, Violation};
    matches!(error, ConnectionError::Session(Garbage(_) | Violation(_)))
}

fn text_of(payload: &Payload) -> String {
    payload.args.first().and_then(|text| text.as_str()).unwrap_or_default().to_owned()
}

fn topic_text(details: &Dict) -> Option<&str> {
    details.get("topic")?.as_str()
}

/// An event of another master. Buildbot sends null where it has no payload that JSON can hold.
fn event(details: &Dict, payload: Payload, orders_role: Option<&str>) -> Option<Event> {
    let role = details.get("publisher_authrole").and_then(|role| role.as_str());
    let origin = match orders_role {
        Some(wanted) if role != Some(wanted) => Origin::WithoutOrders,
        _ => Origin::Elsewhere,
    };
    let topic = topic_of(topic_text(details)?)?;
    let payload = payload.args.into_iter().next().unwrap_or_default();
    Some(Event { topics: vec![topic], payload, origin })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_one_role_gives_orders_where_one_is_named() {
        let origin = |details: serde_json::Value, role: Option<&str>| {
            let details = details.as_object().unwrap().clone().into_iter().collect();
            event(&details, Payload::one(json!(null)), role).unwrap().origin
        };
        let topic = "org.buildbot.mq.control.builds.1.stop";
        let (named, unnamed) = (json!({"topic": topic, "publisher_authrole": "ci"}), json!({"topic": topic}));
        assert_eq!(origin(unnamed.clone(), None), Origin::Elsewhere);
        assert_eq!(origin(named.clone(), Some("ci")), Origin::Elsewhere);
        assert_eq!(origin(named, Some("other")), Origin::WithoutOrders);
        assert_eq!(origin(unnamed, Some("ci")), Origin::WithoutOrders);
    }
}
