//! A client's session, without I/O: what to send, and what came.

use std::collections::HashMap;

use serde_json::json;
use thiserror::Error;

use crate::auth::{ChallengeError, Credentials};
use crate::codec::{DecodeError, Frame, Serialisation};
use crate::message::{Dict, Id, Message, Payload, kind};
use crate::uri::Match;

/// Most requests that may wait for an answer (100 000). A further one is refused by [`Client::subscribe`] and the others.
pub const MAX_WAITING: usize = 100_000;

/// One session.
pub struct Client {
    realm: String,
    credentials: Credentials,
    serialisation: Serialisation,
    stage: Stage,
    last_request: Id,
    waiting: HashMap<Id, u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Opening,
    Open,
    Leaving,
    Closed,
}

/// What came.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Incoming {
    /// Send this.
    Reply(Frame),
    /// The session is open.
    Joined { session: Id, details: Dict },
    /// The session is over: the router or the client said goodbye.
    Left { reason: String },
    /// A subscription is in force.
    Subscribed { request: Id, subscription: Id },
    /// A subscription has ended.
    Unsubscribed { request: Id },
    /// A publication with acknowledgement has arrived.
    Published { request: Id, publication: Id },
    /// An event.
    Event { subscription: Id, publication: Id, details: Dict, payload: Payload },
    /// A procedure is registered.
    Registered { request: Id, registration: Id },
    /// A procedure is no longer registered.
    Unregistered { request: Id },
    /// Somebody calls; answer with [`Client::result`] or [`Client::failure`].
    Invocation { request: Id, registration: Id, details: Dict, payload: Payload },
    /// The result of a call.
    Result { request: Id, payload: Payload },
    /// A request failed.
    Failed { request: Id, error: String, payload: Payload },
}

/// Why the session can't go on; the connection has to be closed.
#[derive(Debug, Error)]
pub enum SessionError {
    /// Garbage.
    #[error("the router sent what is no message of WAMP: {0}")]
    Garbage(#[from] DecodeError),
    /// A message out of place.
    #[error("the router broke the protocol: {0}")]
    Violation(&'static str),
    /// ABORT.
    #[error("the router refused the session ({reason}){}{text}", if text.is_empty() { "" } else { ": " })]
    Refused {
        /// A URI.
        reason: String,
        /// For people; may be empty.
        text: String,
    },
    /// A challenge that can't be answered.
    #[error(transparent)]
    Challenge(#[from] ChallengeError),
}

/// The session is not open, or too many requests wait for an answer.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum NotSent {
    /// Not open.
    #[error("the session is not open")]
    NotOpen,
    /// See [`MAX_WAITING`].
    #[error("more than {MAX_WAITING} requests wait for an answer")]
    TooManyWaiting,
}

impl Client {
    /// A session that is to be opened in `realm`.
    pub fn new(realm: impl Into<String>, credentials: Credentials, serialisation: Serialisation) -> Client {
        let (stage, waiting) = (Stage::Opening, HashMap::new());
        Client { realm: realm.into(), credentials, serialisation, stage, last_request: 0, waiting }
    }

    /// The first message.
    pub fn hello(&self) -> Frame {
        let mut details = json!({
            "roles": {
                "subscriber": {"features": {"publisher_identification": true, "pattern_based_subscription": true}},
                "publisher": {"features": {"publisher_identification": true, "publisher_exclusion": true}},
                "caller": {"features": {"caller_identification": true}},
                "callee": {"features": {"caller_identification": true}},
            },
            "agent": concat!("muster/", env!("CARGO_PKG_VERSION")),
            "authmethods": [self.credentials.method()],
        });
        if let Some(authid) = self.credentials.authid() {
            details["authid"] = authid.into();
        }
        let details = details.as_object().cloned().unwrap_or_default();
        self.serialisation.encode(&Message::Hello { realm: self.realm.clone(), details })
    }

    /// Whether requests can be sent.
    pub fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    /// A frame came.
    ///
    /// # Errors
    /// When the session can't go on.
    pub fn received(&mut self, bytes: &[u8]) -> Result<Option<Incoming>, SessionError> {
        let message = self.serialisation.decode(bytes)?;
        match self.stage {
            Stage::Opening => self.while_opening(message).map(Some),
            Stage::Open | Stage::Leaving => self.while_open(message),
            Stage::Closed => Ok(None),
        }
    }

    fn while_opening(&mut self, message: Message) -> Result<Incoming, SessionError> {
        match message {
            Message::Welcome { session, details } => {
                self.stage = Stage::Open;
                Ok(Incoming::Joined { session, details })
            }
            Message::Challenge { method, extra } => {
                let signature = self.credentials.answer(&method, &extra)?;
                let answer = Message::Authenticate { signature, extra: Dict::new() };
                Ok(Incoming::Reply(self.serialisation.encode(&answer)))
            }
            Message::Abort { reason, details } => Err(refused(reason, &details)),
            _ => Err(SessionError::Violation("a message before WELCOME")),
        }
    }

    fn while_open(&mut self, message: Message) -> Result<Option<Incoming>, SessionError> {
        Ok(Some(match message {
            Message::Event { subscription, publication, details, payload } => {
                Incoming::Event { subscription, publication, details, payload }
            }
            Message::Subscribed { request, subscription } => {
                self.answered(kind::SUBSCRIBE, request)?;
                Incoming::Subscribed { request, subscription }
            }
            // Request 0: the router revoked a subscription or registration by itself.
            Message::Unsubscribed { request: 0 } | Message::Unregistered { request: 0 } => return Ok(None),
            Message::Unsubscribed { request } => {
                self.answered(kind::UNSUBSCRIBE, request)?;
                Incoming::Unsubscribed { request }
            }
            Message::Published { request, publication } => {
                self.answered(kind::PUBLISH, request)?;
                Incoming::Published { request, publication }
            }
            Message::Registered { request, registration } => {
                self.answered(kind::REGISTER, request)?;
                Incoming::Registered { request, registration }
            }
            Message::Unregistered { request } => {
                self.answered(kind::UNREGISTER, request)?;
                Incoming::Unregistered { request }
            }
            Message::Result { request, payload, .. } => {
                self.answered(kind::CALL, request)?;
                Incoming::Result { request, payload }
            }
            Message::Error { kind, request, error, payload, .. } => {
                self.answered(kind, request)?;
                Incoming::Failed { request, error, payload }
            }
            Message::Invocation { request, registration, details, payload } => {
                Incoming::Invocation { request, registration, details, payload }
            }
            Message::Interrupt { .. } => return Ok(None),
            Message::Goodbye { reason, .. } => return Ok(Some(self.goodbye_came(reason))),
            Message::Abort { reason, details } => return Err(refused(reason, &details)),
            _ => return Err(SessionError::Violation("a message that only a client sends")),
        }))
    }

    fn goodbye_came(&mut self, reason: String) -> Incoming {
        self.stage = Stage::Closed;
        Incoming::Left { reason }
    }

    fn answered(&mut self, kind: u64, request: Id) -> Result<(), SessionError> {
        match self.waiting.remove(&request) {
            Some(waited) if waited == kind => Ok(()),
            _ => Err(SessionError::Violation("an answer to a request that was not made")),
        }
    }

    /// The next request, which waits for an answer if `answered` says so.
    fn request(&mut self, kind: u64, answered: bool) -> Result<Id, NotSent> {
        if self.stage != Stage::Open {
            return Err(NotSent::NotOpen);
        }
        if self.waiting.len() >= MAX_WAITING {
            return Err(NotSent::TooManyWaiting);
        }
        self.last_request += 1;
        if answered {
            self.waiting.insert(self.last_request, kind);
        }
        Ok(self.last_request)
    }

    /// PUBLISH. With `acknowledge` in the options, [`Incoming::Published`] or [`Incoming::Failed`] will come.
    ///
    /// # Errors
    /// When the session is not open.
    pub fn publish(
        &mut self,
        topic: impl Into<String>,
        options: Dict,
        payload: Payload,
    ) -> Result<(Id, Frame), NotSent> {
        let request = self.request(kind::PUBLISH, options.get("acknowledge") == Some(&true.into()))?;
        let message = Message::Publish { request, options, topic: topic.into(), payload };
        Ok((request, self.serialisation.encode(&message)))
    }

    /// SUBSCRIBE.
    ///
    /// # Errors
    /// When the session is not open, or too many requests wait.
    pub fn subscribe(&mut self, matching: Match, uri: impl Into<String>) -> Result<(Id, Frame), NotSent> {
        let request = self.request(kind::SUBSCRIBE, true)?;
        let mut options = Dict::new();
        if matching != Match::Exact {
            options.insert("match".to_owned(), matching.as_str().into());
        }
        Ok((request, self.serialisation.encode(&Message::Subscribe { request, options, topic: uri.into() })))
    }

    /// UNSUBSCRIBE.
    ///
    /// # Errors
    /// When the session is not open, or too many requests wait.
    pub fn unsubscribe(&mut self, subscription: Id) -> Result<(Id, Frame), NotSent> {
        let request = self.request(kind::UNSUBSCRIBE, true)?;
        Ok((request, self.serialisation.encode(&Message::Unsubscribe { request, subscription })))
    }

    /// REGISTER.
    ///
    /// # Errors
    /// When the session is not open, or too many requests wait.
    pub fn register(&mut self, procedure: impl Into<String>) -> Result<(Id, Frame), NotSent> {
        let request = self.request(kind::REGISTER, true)?;
        let message = Message::Register { request, options: Dict::new(), procedure: procedure.into() };
        Ok((request, self.serialisation.encode(&message)))
    }

    /// UNREGISTER.
    ///
    /// # Errors
    /// When the session is not open, or too many requests wait.
    pub fn unregister(&mut self, registration: Id) -> Result<(Id, Frame), NotSent> {
        let request = self.request(kind::UNREGISTER, true)?;
        Ok((request, self.serialisation.encode(&Message::Unregister { request, registration })))
    }

    /// CALL.
    ///
    /// # Errors
    /// When the session is not open, or too many requests wait.
    pub fn call(&mut self, procedure: impl Into<String>, payload: Payload) -> Result<(Id, Frame), NotSent> {
        let request = self.request(kind::CALL, true)?;
        let message = Message::Call { request, options: Dict::new(), procedure: procedure.into(), payload };
        Ok((request, self.serialisation.encode(&message)))
    }

    /// YIELD: answers an invocation.
    pub fn result(&self, invocation: Id, payload: Payload) -> Frame {
        self.serialisation.encode(&Message::Yield { request: invocation, options: Dict::new(), payload })
    }

    /// ERROR: answers an invocation.
    pub fn failure(&self, invocation: Id, error: impl Into<String>, payload: Payload) -> Frame {
        let (details, error) = (Dict::new(), error.into());
        let message = Message::Error { kind: kind::INVOCATION, request: invocation, details, error, payload };
        self.serialisation.encode(&message)
    }

    /// GOODBYE; [`Incoming::Left`] will come.
    pub fn leave(&mut self) -> Frame {
        self.stage = Stage::Leaving;
        let reason = "wamp.close.close_realm".to_owned();
        self.serialisation.encode(&Message::Goodbye { details: Dict::new(), reason })
    }
}

fn refused(reason: String, details: &Dict) -> SessionError {
    let text = details.get("message").and_then(|text| text.as_str()).unwrap_or_default().to_owned();
    SessionError::Refused { reason, text }
}
