//! WAMP's messages, and their form as a list of values.

use serde_json::{Map, Value};
use thiserror::Error;

/// A number that names a session, request, subscription, publication or registration: 1 to 2^53.
pub type Id = u64;

/// The greatest id; JSON carries integers exactly up to here.
pub const MAX_ID: Id = 1 << 53;

/// Options and details.
pub type Dict = Map<String, Value>;

/// What the application sends along.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Payload {
    /// Positional arguments.
    pub args: Vec<Value>,
    /// Keyword arguments.
    pub kwargs: Dict,
}

impl Payload {
    /// One positional argument.
    pub fn one(value: Value) -> Payload {
        Payload { args: vec![value], kwargs: Dict::new() }
    }
}

/// A message; the fields are named as in the protocol's specification.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Message {
    Hello {
        realm: String,
        details: Dict,
    },
    Welcome {
        session: Id,
        details: Dict,
    },
    Abort {
        details: Dict,
        reason: String,
    },
    Challenge {
        method: String,
        extra: Dict,
    },
    Authenticate {
        signature: String,
        extra: Dict,
    },
    Goodbye {
        details: Dict,
        reason: String,
    },
    Error {
        kind: u64,
        request: Id,
        details: Dict,
        error: String,
        payload: Payload,
    },
    Publish {
        request: Id,
        options: Dict,
        topic: String,
        payload: Payload,
    },
    Published {
        request: Id,
        publication: Id,
    },
    Subscribe {
        request: Id,
        options: Dict,
        topic: String,
    },
    Subscribed {
        request: Id,
        subscription: Id,
    },
    Unsubscribe {
        request: Id,
        subscription: Id,
    },
    /// `request` is 0 when the router revokes a subscription.
    Unsubscribed {
        request: Id,
    },
    Event {
        subscription: Id,
        publication: Id,
        details: Dict,
        payload: Payload,
    },
    Call {
        request: Id,
        options: Dict,
        procedure: String,
        payload: Payload,
    },
    Cancel {
        request: Id,
        options: Dict,
    },
    Result {
        request: Id,
        details: Dict,
        payload: Payload,
    },
    Register {
        request: Id,
        options: Dict,
        procedure: String,
    },
    Registered {
        request: Id,
        registration: Id,
    },
    Unregister {
        request: Id,
        registration: Id,
    },
    /// `request` is 0 when the router revokes a registration.
    Unregistered {
        request: Id,
    },
    Invocation {
        request: Id,
        registration: Id,
        details: Dict,
        payload: Payload,
    },
    Interrupt {
        request: Id,
        options: Dict,
    },
    Yield {
        request: Id,
        options: Dict,
        payload: Payload,
    },
}

/// Numbers of the kinds of messages.
#[allow(missing_docs)]
pub mod kind {
    pub const HELLO: u64 = 1;
    pub const WELCOME: u64 = 2;
    pub const ABORT: u64 = 3;
    pub const CHALLENGE: u64 = 4;
    pub const AUTHENTICATE: u64 = 5;
    pub const GOODBYE: u64 = 6;
    pub const ERROR: u64 = 8;
    pub const PUBLISH: u64 = 16;
    pub const PUBLISHED: u64 = 17;
    pub const SUBSCRIBE: u64 = 32;
    pub const SUBSCRIBED: u64 = 33;
    pub const UNSUBSCRIBE: u64 = 34;
    pub const UNSUBSCRIBED: u64 = 35;
    pub const EVENT: u64 = 36;
    pub const CALL: u64 = 48;
    pub const CANCEL: u64 = 49;
    pub const RESULT: u64 = 50;
    pub const REGISTER: u64 = 64;
    pub const REGISTERED: u64 = 65;
    pub const UNREGISTER: u64 = 66;
    pub const UNREGISTERED: u64 = 67;
    pub const INVOCATION: u64 = 68;
    pub const INTERRUPT: u64 = 69;
    pub const YIELD: u64 = 70;
}

/// Why a list is no message.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum MessageError {
    /// Not a list that begins with a number.
    #[error("a message must be a list that begins with a number")]
    NoMessage,
    /// A number that no kind of message has.
    #[error("no message has the number {0}")]
    UnknownKind(u64),
    /// A field is missing or of another type.
    #[error("message {kind}: field {field} must be {wanted}")]
    Field {
        /// Number of the kind of message.
        kind: u64,
        /// Position in the list.
        field: usize,
        /// What must stand there.
        wanted: &'static str,
    },
}

impl Message {
    /// From a decoded list.
    ///
    /// # Errors
    /// When a field is missing, of another type, or an id above 2^53. Fields beyond the known ones are ignored.
    pub fn from_list(list: Vec<Value>) -> Result<Message, MessageError> {
        let mut fields = Fields::new(list)?;
        let f = &mut fields;
        let message = match f.kind {
            kind::HELLO => Message::Hello { realm: f.text()?, details: f.dict()? },
            kind::WELCOME => Message::Welcome { session: f.id()?, details: f.dict()? },
            kind::ABORT => Message::Abort { details: f.dict()?, reason: f.text()? },
            kind::CHALLENGE => Message::Challenge { method: f.text()?, extra: f.dict()? },
            kind::AUTHENTICATE => Message::Authenticate { signature: f.text()?, extra: f.dict()? },
            kind::GOODBYE => Message::Goodbye { details: f.dict()?, reason: f.text()? },
            kind::ERROR => Message::Error {
                kind: f.number(0, "a kind of request")?,
                request: f.id()?,
                details: f.dict()?,
                error: f.text()?,
                payload: f.payload()?,
            },
            kind::PUBLISH..=kind::EVENT => f.pubsub()?,
            _ => f.rpc()?,
        };
        Ok(message)
    }
}

/// The fields of a list, taken one after the other.
struct Fields {
    kind: u64,
    position: usize,
    rest: std::vec::IntoIter<Value>,
}

impl Fields {
    fn new(list: Vec<Value>) -> Result<Fields, MessageError> {
        let mut rest = list.into_iter();
        let kind = rest.next().and_then(|kind| kind.as_u64()).ok_or(MessageError::NoMessage)?;
        Ok(Fields { kind, position: 0, rest })
    }

    fn pubsub(&mut self) -> Result<Message, MessageError> {
        Ok(match self.kind {
            kind::PUBLISH => Message::Publish {
                request: self.id()?,
                options: self.dict()?,
                topic: self.text()?,
                payload: self.payload()?,
            },
            kind::PUBLISHED => Message::Published { request: self.id()?, publication: self.id()? },
            kind::SUBSCRIBE => {
                Message::Subscribe { request: self.id()?, options: self.dict()?, topic: self.text()? }
            }
            kind::SUBSCRIBED => Message::Subscribed { request: self.id()?, subscription: self.id()? },
            kind::UNSUBSCRIBE => Message::Unsubscribe { request: self.id()?, subscription: self.id()? },
            kind::UNSUBSCRIBED => Message::Unsubscribed { request: self.id_or_zero()? },
            kind::EVENT => Message::Event {
                subscription: self.id()?,
                publication: self.id()?,
                details: self.dict()?,
                payload: self.payload()?,
            },
            other => return Err(MessageError::UnknownKind(other)),
        })
    }

    fn rpc(&mut self) -> Result<Message, MessageError> {
        Ok(match self.kind {
            kind::CALL => Message::Call {
                request: self.id()?,
                options: self.dict()?,
                procedure: self.text()?,
                payload: self.payload()?,
            },
            kind::CANCEL => Message::Cancel { request: self.id()?, options: self.dict()? },
            kind::RESULT => {
                Message::Result { request: self.id()?, details: self.dict()?, payload: self.payload()? }
            }
            kind::REGISTER => {
                Message::Register { request: self.id()?, options: self.dict()?, procedure: self.text()? }
            }
            kind::REGISTERED => Message::Registered { request: self.id()?, registration: self.id()? },
            kind::UNREGISTER => Message::Unregister { request: self.id()?, registration: self.id()? },
            kind::UNREGISTERED => Message::Unregistered { request: self.id_or_zero()? },
            kind::INVOCATION => Message::Invocation {
                request: self.id()?,
                registration: self.id()?,
                details: self.dict()?,
                payload: self.payload()?,
            },
            kind::INTERRUPT => Message::Interrupt { request: self.id()?, options: self.dict()? },
            kind::YIELD => {
                Message::Yield { request: self.id()?, options: self.dict()?, payload: self.payload()? }
            }
            other => return Err(MessageError::UnknownKind(other)),
        })
    }

    fn wants(&self, wanted: &'static str) -> MessageError {
        MessageError::Field { kind: self.kind, field: self.position, wanted }
    }

    fn next(&mut self) -> Option<Value> {
        self.position += 1;
        self.rest.next()
    }

    fn number(&mut self, least: u64, wanted: &'static str) -> Result<u64, MessageError> {
        let number = self.next().and_then(|value| value.as_u64());
        number.filter(|number| (least..=MAX_ID).contains(number)).ok_or_else(|| self.wants(wanted))
    }

    fn id(&mut self) -> Result<Id, MessageError> {
        self.number(1, "an id from 1 to 2^53")
    }

    fn id_or_zero(&mut self) -> Result<Id, MessageError> {
        self.number(0, "an id from 0 to 2^53")
    }

    fn text(&mut self) -> Result<String, MessageError> {
        match self.next() {
            Some(Value::String(text)) => Ok(text),
            _ => Err(self.wants("a text")),
        }
    }

    fn dict(&mut self) -> Result<Dict, MessageError> {
        match self.next() {
            Some(Value::Object(dict)) => Ok(dict),
            _ => Err(self.wants("a dictionary")),
        }
    }

    /// Both parts may be left out; some peers write null instead.
    fn payload(&mut self) -> Result<Payload, MessageError> {
        let args = match self.next() {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(args)) => args,
            Some(_) => return Err(self.wants("a list of arguments")),
        };
        let kwargs = match self.next() {
            None | Some(Value::Null) => Dict::new(),
            Some(Value::Object(kwargs)) => kwargs,
            Some(_) => return Err(self.wants("a dictionary of arguments")),
        };
        Ok(Payload { args, kwargs })
    }
}
