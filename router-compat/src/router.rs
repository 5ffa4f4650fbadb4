//! The router: sessions, publish and subscribe, calls. It does no I/O: messages in, frames for peers out.

mod admission;
mod audience;
mod broker;
mod config;
mod dealer;
mod metrics;
mod subscriptions;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::codec::{DecodeError, Frame, Serialisation};
use crate::message::{Dict, Id, MAX_ID, Message, Payload, kind};
use crate::uri::Match;

use admission::{Admission, Pending};
use audience::Audience;
use broker::{Broker, Publication};
pub use config::{Action, ConfigProblem, Limits, Principal, Proof, Realm, Role, RouterConfig, Rule};
use dealer::Dealer;
pub use metrics::RouterMetrics;

/// A connection, as the driver counts them: `peer 7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(pub u64);

impl std::fmt::Display for PeerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "peer {}", self.0)
    }
}

/// What the driver has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a message.
    Send {
        /// To whom.
        to: PeerId,
        /// The message.
        frame: Frame,
        /// Whether it may be dropped when the peer does not read.
        droppable: bool,
    },
    /// Close the connection after what was sent before.
    Close(PeerId),
}

/// URIs of errors and reasons.
mod errors {
    pub const GOODBYE_AND_OUT: &str = "wamp.close.goodbye_and_out";
    pub const INVALID_URI: &str = "wamp.error.invalid_uri";
    pub const NOT_AUTHORIZED: &str = "wamp.error.not_authorized";
    pub const NO_SUCH_SUBSCRIPTION: &str = "wamp.error.no_such_subscription";
    pub const OPTION_NOT_ALLOWED: &str = "wamp.error.option_not_allowed";
    pub const PROTOCOL_VIOLATION: &str = "wamp.error.protocol_violation";
    pub const SYSTEM_SHUTDOWN: &str = "wamp.close.system_shutdown";
    pub const TOO_MANY: &str = "wamp.error.limit_exceeded";
}

/// The router's state.
pub struct Router {
    config: Arc<RouterConfig>,
    metrics: Arc<RouterMetrics>,
    realms: BTreeMap<String, RealmState>,
    peers: HashMap<PeerId, Peer>,
}

#[derive(Default)]
struct RealmState {
    broker: Broker,
    dealer: Dealer,
}

struct Peer {
    serialisation: Serialisation,
    stage: Stage,
}

enum Stage {
    /// Nothing was said yet.
    Opening,
    /// The peer has to answer a challenge.
    Challenged(Pending),
    /// In a realm.
    Open(Joined),
    /// It was told to go; what it still says is ignored.
    Leaving,
}

/// Who a peer is in its realm.
#[derive(Clone, Debug)]
struct Joined {
    session: Id,
    realm: String,
    role: String,
    authid: String,
}

impl Router {
    /// A router without peers.
    pub fn new(config: RouterConfig, metrics: Arc<RouterMetrics>) -> Router {
        let realms = config.realms.keys().map(|name| (name.clone(), RealmState::default())).collect();
        Router { config: Arc::new(config), metrics, realms, peers: HashMap::new() }
    }

    /// A peer has connected.
    pub fn connected(&mut self, peer: PeerId, serialisation: Serialisation) {
        self.peers.insert(peer, Peer { serialisation, stage: Stage::Opening });
    }

    /// A peer's connection is gone.
    pub fn disconnected(&mut self, peer: PeerId, out: &mut Vec<Output>) {
        let Some(gone) = self.peers.remove(&peer) else { return };
        if let Stage::Open(joined) = gone.stage {
            self.leave(peer, &joined.realm, out);
        }
    }

    /// Whether the peer has joined a realm.
    pub fn has_joined(&self, peer: PeerId) -> bool {
        self.peers.get(&peer).is_some_and(|peer| matches!(peer.stage, Stage::Open(_)))
    }

    /// How many subscriptions there are, in all realms.
    pub fn subscriptions(&self) -> usize {
        self.realms.values().map(|realm| realm.broker.len()).sum()
    }

    /// A peer sent what is no message.
    pub fn received_garbage(&mut self, peer: PeerId, error: &DecodeError, out: &mut Vec<Output>) {
        self.violation(peer, &error.to_string(), out);
    }

    /// The router stops: everybody is told.
    pub fn shut_down(&mut self, out: &mut Vec<Output>) {
        let mut peers: Vec<PeerId> = self.peers.keys().copied().collect();
        peers.sort_unstable();
        for peer in peers {
            let message = match self.peers.get(&peer).map(|peer| &peer.stage) {
                Some(Stage::Open(_)) => goodbye(errors::SYSTEM_SHUTDOWN),
                _ => abort(errors::SYSTEM_SHUTDOWN, "the router stops"),
            };
            self.send(peer, &message, out);
            self.close(peer, out);
        }
    }

    /// A peer sent a message.
    pub fn received(&mut self, peer: PeerId, message: Message, out: &mut Vec<Output>) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        match (&mut state.stage, message) {
            (Stage::Leaving, _) => {}
            (Stage::Opening, Message::Hello { realm, details }) => {
                let session = fastrand::u64(1..=MAX_ID);
                let admission = admission::open(&self.config, session, realm, &details);
                self.admit(peer, admission, out);
            }
            (Stage::Challenged(pending), Message::Authenticate { signature, .. }) => {
                let admission = pending.check(&signature);
                self.admit(peer, admission, out);
            }
            (Stage::Opening | Stage::Challenged(_), Message::Abort { .. }) => self.close(peer, out),
            (Stage::Open(joined), message) => {
                let joined = joined.clone();
                self.dispatch(peer, &joined, message, out);
            }
            (Stage::Opening | Stage::Challenged(_), _) => {
                self.violation(peer, "the session is not open yet", out);
            }
        }
    }

    fn admit(&mut self, peer: PeerId, admission: Admission, out: &mut Vec<Output>) {
        let (stage, message) = match admission {
            Admission::Challenge(pending) => {
                let message = pending.challenge();
                (Stage::Challenged(pending), message)
            }
            Admission::Welcome(joined, details) => {
                self.metrics.sessions_joined.increment();
                tracing::debug!("{peer} joins '{}' as '{}' ({})", joined.realm, joined.authid, joined.role);
                let session = joined.session;
                (Stage::Open(joined), Message::Welcome { session, details })
            }
            Admission::Refused { reason, text } => {
                self.metrics.sessions_refused.increment();
                tracing::warn!("{peer} is refused ({reason}): {text}");
                self.send(peer, &abort(reason, &text), out);
                return self.close(peer, out);
            }
        };
        if let Some(state) = self.peers.get_mut(&peer) {
            state.stage = stage;
        }
        self.send(peer, &message, out);
    }

    fn dispatch(&mut self, peer: PeerId, joined: &Joined, message: Message, out: &mut Vec<Output>) {
        match message {
            Message::Publish { request, options, topic, payload } => {
                let asked = options.get("acknowledge") == Some(&Value::Bool(true));
                let answer = match self.publish(peer, joined, &options, topic, payload, out) {
                    Ok(publication) => Message::Published { request, publication },
                    Err(refusal) => {
                        self.metrics.publications_refused.increment();
                        refusal.into_message(kind::PUBLISH, request)
                    }
                };
                if asked {
                    self.send(peer, &answer, out);
                }
            }
            Message::Subscribe { request, options, topic } => {
                let answer = match self.subscribe(peer, joined, &options, &topic) {
                    Ok(subscription) => Message::Subscribed { request, subscription },
                    Err(refusal) => {
                        self.metrics.subscriptions_refused.increment();
                        refusal.into_message(kind::SUBSCRIBE, request)
                    }
                };
                self.measure();
                self.send(peer, &answer, out);
            }
            Message::Unsubscribe { request, subscription } => {
                let removed = self
                    .realms
                    .get_mut(&joined.realm)
                    .is_some_and(|r| r.broker.unsubscribe(peer, subscription));
                let answer = if removed {
                    Message::Unsubscribed { request }
                } else {
                    let text = format!("there is no subscription {subscription}");
                    Refusal::new(errors::NO_SUCH_SUBSCRIPTION, text).into_message(kind::UNSUBSCRIBE, request)
                };
                self.measure();
                self.send(peer, &answer, out);
            }
            Message::Goodbye { .. } => {
                self.send(peer, &goodbye(errors::GOODBYE_AND_OUT), out);
                self.close(peer, out);
            }
            Message::Abort { .. } => self.close(peer, out),
            message => self.dispatch_call(peer, joined, message, out),
        }
    }

    /// Everything about calls; what else comes has no place in an open session.
    fn dispatch_call(&mut self, peer: PeerId, joined: &Joined, message: Message, out: &mut Vec<Output>) {
        let (Some(realm), Some(role)) = (self.realms.get_mut(&joined.realm), role(&self.config, joined))
        else {
            return;
        };
        let (limits, dealer) = (&self.config.limits, &mut realm.dealer);
        let mut answers = Vec::new();
        match message {
            Message::Register { request, options, procedure } => {
                answers.push((peer, dealer.register(peer, role, limits, request, &options, procedure)));
            }
            Message::Unregister { request, registration } => {
                answers.push((peer, dealer.unregister(peer, request, registration)));
            }
            Message::Call { request, options, procedure, payload } => {
                let caller = dealer::Caller { peer, request, joined };
                let answer = dealer.call(&caller, role, limits, &options, &procedure, payload);
                let counter = match &answer.1 {
                    Message::Error { .. } => &self.metrics.calls_failed,
                    _ => &self.metrics.calls,
                };
                counter.increment();
                answers.push(answer);
            }
            Message::Cancel { request, .. } => answers.extend(dealer.cancel(peer, request)),
            Message::Yield { request, payload, .. } => answers.extend(dealer.yielded(peer, request, payload)),
            Message::Error { kind: kind::INVOCATION, request, error, payload, .. } => {
                answers.extend(dealer.failed(peer, request, error, payload));
            }
            _ => return self.violation(peer, "this message has no place in an open session", out),
        }
        for (to, message) in answers {
            self.send(to, &message, out);
        }
    }

    fn publish(
        &mut self,
        peer: PeerId,
        joined: &Joined,
        options: &Dict,
        topic: String,
        payload: Payload,
        out: &mut Vec<Output>,
    ) -> Result<Id, Refusal> {
        check_uri(Match::Exact, &topic)?;
        let rule = role(&self.config, joined).and_then(|role| role.rule_for(&topic));
        let Some(rule) = rule.filter(|rule| rule.publish && !topic.starts_with("wamp.")) else {
            return Err(not_authorized(joined, "publish", &topic));
        };
        let audience = Audience::read(options)?;
        let disclosed = rule.disclose || options.get("disclose_me") == Some(&Value::Bool(true));
        let publication = Publication {
            id: fastrand::u64(1..=MAX_ID),
            topic,
            payload,
            publisher: disclosed.then(|| joined.disclosure("publisher")),
            excluded: (options.get("exclude_me") != Some(&Value::Bool(false))).then_some(peer),
        };
        self.metrics.publications.increment();
        if let Some(realm) = self.realms.get(&joined.realm) {
            let peers = &self.peers;
            let meant = |to: PeerId| {
                let joined = peers.get(&to).map(|peer| &peer.stage);
                audience.is_everybody()
                    || matches!(joined, Some(Stage::Open(joined)) if audience.includes(joined))
            };
            let sent = realm.broker.publish(
                &publication,
                meant,
                |peer| peers.get(&peer).map_or(Serialisation::Json, |peer| peer.serialisation),
                out,
            );
            self.metrics.events.add(sent);
        }
        Ok(publication.id)
    }

    fn subscribe(&mut self, peer: PeerId, joined: &Joined, options: &Dict, uri: &str) -> Result<Id, Refusal> {
        let matching = match options.get("match") {
            None => Match::Exact,
            Some(name) => name.as_str().and_then(Match::from_wire).ok_or_else(|| {
                Refusal::new(errors::OPTION_NOT_ALLOWED, "match must be exact, prefix or wildcard".to_owned())
            })?,
        };
        check_uri(matching, uri)?;
        if !role(&self.config, joined).is_some_and(|role| role.allows_pattern(matching, uri)) {
            return Err(not_authorized(joined, "subscribe to", uri));
        }
        let limit = self.config.limits.subscriptions;
        let realm = self.realms.get_mut(&joined.realm);
        realm
            .and_then(|realm| realm.broker.subscribe(peer, matching, uri, limit))
            .ok_or_else(|| Refusal::new(errors::TOO_MANY, format!("a peer may have {limit} subscriptions")))
    }

    fn measure(&self) {
        ::metrics::gauge!("muster_router_subscriptions").set(self.subscriptions() as f64);
    }

    fn violation(&mut self, peer: PeerId, text: &str, out: &mut Vec<Output>) {
        if matches!(self.peers.get(&peer), None | Some(Peer { stage: Stage::Leaving, .. })) {
            return;
        }
        self.metrics.protocol_violations.increment();
        tracing::warn!("{peer} breaks the protocol and is closed: {text}");
        self.send(peer, &abort(errors::PROTOCOL_VIOLATION, text), out);
        self.close(peer, out);
    }

    fn send(&self, to: PeerId, message: &Message, out: &mut Vec<Output>) {
        if let Some(peer) = self.peers.get(&to) {
            out.push(Output::Send { to, frame: peer.serialisation.encode(message), droppable: false });
        }
    }

    fn close(&mut self, peer: PeerId, out: &mut Vec<Output>) {
        out.push(Output::Close(peer));
        let Some(state) = self.peers.get_mut(&peer) else { return };
        if let Stage::Open(joined) = std::mem::replace(&mut state.stage, Stage::Leaving) {
            self.leave(peer, &joined.realm, out);
        }
    }

    /// Takes a peer out of its realm. Whoever waits for its results is told.
    fn leave(&mut self, peer: PeerId, realm: &str, out: &mut Vec<Output>) {
        self.metrics.sessions_left.increment();
        let Some(realm) = self.realms.get_mut(realm) else { return };
        realm.broker.forget(peer);
        let lost = realm.dealer.forget(peer);
        self.measure();
        for (to, message) in lost {
            self.metrics.calls_failed.increment();
            self.send(to, &message, out);
        }
    }
}

impl Joined {
    /// Who it is, for the details of a message; the names begin with `what`.
    fn disclosure(&self, what: &str) -> Dict {
        let mut details = Dict::new();
        details.insert(what.to_owned(), self.session.into());
        details.insert(format!("{what}_authid"), self.authid.as_str().into());
        details.insert(format!("{what}_authrole"), self.role.as_str().into());
        details
    }
}

/// Why a request is not carried out.
#[derive(Debug)]
struct Refusal {
    error: &'static str,
    text: String,
}

impl Refusal {
    fn new(error: &'static str, text: String) -> Refusal {
        Refusal { error, text }
    }

    fn into_message(self, kind: u64, request: Id) -> Message {
        let payload = Payload::one(self.text.into());
        Message::Error { kind, request, details: Dict::new(), error: self.error.to_owned(), payload }
    }
}

fn role<'a>(config: &'a RouterConfig, joined: &Joined) -> Option<&'a Role> {
    config.realms.get(&joined.realm)?.roles.get(&joined.role)
}

fn not_authorized(joined: &Joined, action: &str, uri: &str) -> Refusal {
    Refusal::new(errors::NOT_AUTHORIZED, format!("the role '{}' may not {action} '{uri}'", joined.role))
}

fn check_uri(matching: Match, uri: &str) -> Result<(), Refusal> {
    if matching.permits(uri) {
        return Ok(());
    }
    Err(Refusal::new(errors::INVALID_URI, "not a valid URI".to_owned()))
}

fn abort(reason: &str, text: &str) -> Message {
    let details = json!({ "message": text });
    Message::Abort { details: details.as_object().cloned().unwrap_or_default(), reason: reason.to_owned() }
}

fn goodbye(reason: &str) -> Message {
    Message::Goodbye { details: Dict::new(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests;
