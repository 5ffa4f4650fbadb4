//! Serialisations: a message to bytes and back. Garbage is an error, never a panic.

mod msgpack;

use bytes::Bytes;
use muster_core::integers;
use serde_json::Value;
use thiserror::Error;

use crate::message::{Dict, Message, MessageError, Payload, kind};

/// How deep values may be nested. Deeper ones are refused, because reading them recurses.
pub const MAX_DEPTH: usize = 128;

/// A serialisation, agreed upon by WebSocket's subprotocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Serialisation {
    /// `wamp.2.json`, text messages.
    Json,
    /// `wamp.2.msgpack`, binary messages.
    MessagePack,
}

impl Serialisation {
    /// All of them, the preferred one first.
    pub const ALL: [Serialisation; 2] = [Serialisation::MessagePack, Serialisation::Json];

    /// The name of the WebSocket subprotocol.
    pub fn subprotocol(self) -> &'static str {
        match self {
            Serialisation::Json => "wamp.2.json",
            Serialisation::MessagePack => "wamp.2.msgpack",
        }
    }

    /// From the name of the WebSocket subprotocol.
    pub fn from_subprotocol(name: &str) -> Option<Serialisation> {
        Serialisation::ALL.into_iter().find(|each| each.subprotocol() == name)
    }

    /// Bytes of `message`.
    pub fn encode(self, message: &Message) -> Frame {
        encode(self, message)
    }

    /// The message in `bytes`.
    ///
    /// # Errors
    /// When the bytes are not in this serialisation, are nested deeper than [`MAX_DEPTH`], or are no message.
    pub fn decode(self, bytes: &[u8]) -> Result<Message, DecodeError> {
        let value = match self {
            Serialisation::Json => match std::str::from_utf8(bytes) {
                Ok(text) => serde_json::from_str(&integers::carried(text))?,
                // It says what is wrong.
                Err(_) => serde_json::from_slice(bytes)?,
            },
            Serialisation::MessagePack => msgpack::read(bytes)?,
        };
        match value {
            Value::Array(list) => Ok(Message::from_list(list)?),
            _ => Err(MessageError::NoMessage.into()),
        }
    }
}

/// An encoded message. Clones share the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What the bytes are.
    pub serialisation: Serialisation,
    /// The message.
    pub bytes: Bytes,
}

/// Why bytes are no message.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// No JSON.
    #[error("not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// No MessagePack.
    #[error("not MessagePack: {0}")]
    MessagePack(#[from] msgpack::ReadError),
    /// No message of WAMP.
    #[error(transparent)]
    Message(#[from] MessageError),
}

/// Writes one list, element by element, without a tree of values in between.
#[derive(Clone)]
pub struct ListWriter {
    serialisation: Serialisation,
    bytes: Vec<u8>,
}

impl ListWriter {
    /// A list that will have `length` elements (at most 15).
    pub fn new(serialisation: Serialisation, length: u8) -> ListWriter {
        debug_assert!(length < 16, "no message is longer");
        let mut bytes = Vec::with_capacity(256);
        bytes.push(match serialisation {
            Serialisation::Json => b'[',
            Serialisation::MessagePack => 0x90 | length,
        });
        ListWriter { serialisation, bytes }
    }

    /// The elements of a list without its beginning and end, for [`ListWriter::elements`].
    pub fn fragment(serialisation: Serialisation) -> ListWriter {
        ListWriter { serialisation, bytes: Vec::with_capacity(256) }
    }

    /// A number.
    pub fn number(mut self, number: u64) -> ListWriter {
        self.separate();
        match self.serialisation {
            Serialisation::Json => json_into(&mut self.bytes, &number),
            Serialisation::MessagePack => msgpack::write_unsigned(&mut self.bytes, number),
        }
        self
    }

    /// A text.
    pub fn text(mut self, text: &str) -> ListWriter {
        self.separate();
        match self.serialisation {
            Serialisation::Json => json_into(&mut self.bytes, text),
            Serialisation::MessagePack => msgpack::write_text(&mut self.bytes, text),
        }
        self
    }

    /// A dictionary.
    pub fn dict(mut self, dict: &Dict) -> ListWriter {
        self.separate();
        match self.serialisation {
            Serialisation::Json => json_into(&mut self.bytes, dict),
            Serialisation::MessagePack => msgpack::write_dict(&mut self.bytes, dict),
        }
        self
    }

    /// The elements of a payload; see [`payload_length`].
    pub fn payload(mut self, payload: &Payload) -> ListWriter {
        if payload_length(payload) == 0 {
            return self;
        }
        self.separate();
        match self.serialisation {
            Serialisation::Json => json_into(&mut self.bytes, &payload.args),
            Serialisation::MessagePack => msgpack::write_list(&mut self.bytes, &payload.args),
        }
        if payload.kwargs.is_empty() { self } else { self.dict(&payload.kwargs) }
    }

    /// Elements that a [`ListWriter::fragment`] of the same serialisation has written.
    pub fn elements(mut self, fragment: &ListWriter) -> ListWriter {
        debug_assert_eq!(self.serialisation, fragment.serialisation);
        self.separate();
        self.bytes.extend_from_slice(&fragment.bytes);
        self
    }

    /// The frame.
    pub fn finish(mut self) -> Frame {
        if self.serialisation == Serialisation::Json {
            self.bytes.push(b']');
        }
        Frame { serialisation: self.serialisation, bytes: self.bytes.into() }
    }

    fn separate(&mut self) {
        if self.serialisation == Serialisation::Json && !matches!(self.bytes.as_slice(), [] | [b'[']) {
            self.bytes.push(b',');
        }
    }
}

fn json_into<T: serde::Serialize + ?Sized>(bytes: &mut Vec<u8>, value: &T) {
    let text = serde_json::to_string(value).expect("values with text keys always have a form in JSON");
    bytes.extend_from_slice(integers::numbers(&text).as_bytes());
}

/// How many elements of a list `payload` takes: what is empty is left out, if nothing follows.
pub fn payload_length(payload: &Payload) -> u8 {
    match (payload.args.is_empty(), payload.kwargs.is_empty()) {
        (true, true) => 0,
        (false, true) => 1,
        (_, false) => 2,
    }
}

fn encode(serialisation: Serialisation, message: &Message) -> Frame {
    let list = |kind: u64, length: u8| ListWriter::new(serialisation, 1 + length).number(kind);
    let writer = match message {
        Message::Hello { realm, details } => list(kind::HELLO, 2).text(realm).dict(details),
        Message::Welcome { session, details } => list(kind::WELCOME, 2).number(*session).dict(details),
        Message::Abort { details, reason } => list(kind::ABORT, 2).dict(details).text(reason),
        Message::Challenge { method, extra } => list(kind::CHALLENGE, 2).text(method).dict(extra),
        Message::Authenticate { signature, extra } => list(kind::AUTHENTICATE, 2).text(signature).dict(extra),
        Message::Goodbye { details, reason } => list(kind::GOODBYE, 2).dict(details).text(reason),
        Message::Error { kind: of, request, details, error, payload } => {
            let list = list(kind::ERROR, 4 + payload_length(payload));
            list.number(*of).number(*request).dict(details).text(error).payload(payload)
        }
        Message::Publish { request, options, topic, payload } => {
            let list = list(kind::PUBLISH, 3 + payload_length(payload));
            list.number(*request).dict(options).text(topic).payload(payload)
        }
        Message::Published { request, publication } => {
            list(kind::PUBLISHED, 2).number(*request).number(*publication)
        }
        Message::Subscribe { request, options, topic } => {
            list(kind::SUBSCRIBE, 3).number(*request).dict(options).text(topic)
        }
        Message::Subscribed { request, subscription } => {
            list(kind::SUBSCRIBED, 2).number(*request).number(*subscription)
        }
        Message::Unsubscribe { request, subscription } => {
            list(kind::UNSUBSCRIBE, 2).number(*request).number(*subscription)
        }
        Message::Unsubscribed { request } => list(kind::UNSUBSCRIBED, 1).number(*request),
        Message::Event { subscription, publication, details, payload } => {
            let list = list(kind::EVENT, 3 + payload_length(payload));
            list.number(*subscription).number(*publication).dict(details).payload(payload)
        }
        Message::Call { request, options, procedure, payload } => {
            let list = list(kind::CALL, 3 + payload_length(payload));
            list.number(*request).dict(options).text(procedure).payload(payload)
        }
        Message::Cancel { request, options } => list(kind::CANCEL, 2).number(*request).dict(options),
        Message::Result { request, details, payload } => {
            list(kind::RESULT, 2 + payload_length(payload)).number(*request).dict(details).payload(payload)
        }
        Message::Register { request, options, procedure } => {
            list(kind::REGISTER, 3).number(*request).dict(options).text(procedure)
        }
        Message::Registered { request, registration } => {
            list(kind::REGISTERED, 2).number(*request).number(*registration)
        }
        Message::Unregister { request, registration } => {
            list(kind::UNREGISTER, 2).number(*request).number(*registration)
        }
        Message::Unregistered { request } => list(kind::UNREGISTERED, 1).number(*request),
        Message::Invocation { request, registration, details, payload } => {
            let list = list(kind::INVOCATION, 3 + payload_length(payload));
            list.number(*request).number(*registration).dict(details).payload(payload)
        }
        Message::Interrupt { request, options } => list(kind::INTERRUPT, 2).number(*request).dict(options),
        Message::Yield { request, options, payload } => {
            list(kind::YIELD, 2 + payload_length(payload)).number(*request).dict(options).payload(payload)
        }
    };
    writer.finish()
}
