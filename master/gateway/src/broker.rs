//! The broker: calls, answers and references over one PB connection, without I/O (`docs/compat/worker-protocol.md` 1.2).

use std::collections::{HashMap, VecDeque};

use crate::banana::{self, BananaError, Decoder, Item};
use crate::failure::Failure;
use crate::jelly::{self, JellyError};
use crate::value::Value;

/// Version of the broker's messages.
const VERSION: i128 = 6;

/// Objects of the peer that are held at once. A stock worker exports one for itself and one for each builder.
const MAX_HELD: usize = 16 * 1024;

/// Calls of this side that wait for their answer.
const MAX_WAITING: usize = 4096;

/// Why a connection can't go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    /// Below.
    #[error(transparent)]
    Banana(#[from] BananaError),
    /// Between.
    #[error(transparent)]
    Jelly(#[from] JellyError),
    /// Neither `pb` nor `none`.
    #[error("the peer chose a dialect that was not offered")]
    UnknownDialect,
    /// Not version 6.
    #[error("the peer speaks another version of PB")]
    WrongVersion,
    /// Unknown, or with the wrong parts.
    #[error("a malformed message {0:?}")]
    Malformed(String),
    /// Over [`MAX_HELD`] or [`MAX_WAITING`].
    #[error("more than {0} {1} at once")]
    TooMany(usize, &'static str),
}

/// What a call is addressed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Where everybody begins.
    Root,
    /// An object that this side exports.
    Object(u64),
}

/// A call from the peer.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// To be answered under this number; `None` when the peer wants no answer.
    pub request: Option<u64>,
    /// Whose method.
    pub target: Target,
    /// The method.
    pub method: String,
    /// Positional arguments.
    pub args: Vec<Value>,
    /// Named arguments: a dictionary.
    pub kwargs: Value,
}

/// What the peer says. `T` tells what a call of this side was about.
#[derive(Debug)]
pub enum Message<T> {
    /// It calls a method.
    Call(Call),
    /// It answers a call.
    Answer(T, Result<Value, Failure>),
    /// It has let go of an object for good.
    Released(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Dialect,
    Version,
    Up,
}

/// The server's end of a connection.
#[derive(Debug)]
pub struct Broker<T> {
    decoder: Decoder,
    phase: Phase,
    vocabulary: bool,
    output: VecDeque<Vec<u8>>,
    requests: u64,
    waiting: HashMap<u64, T>,
    objects: u64,
    /// How often each exported object was sent and not yet let go of.
    exported: HashMap<u64, u64>,
    /// The same for objects of the peer.
    held: HashMap<u64, u64>,
}

impl<T> Broker<T> {
    /// A new connection, whose messages have at most `limit` bytes. It greets at once.
    pub fn new(limit: usize) -> Broker<T> {
        let mut broker = Broker {
            decoder: Decoder::new(limit),
            phase: Phase::Dialect,
            vocabulary: false,
            output: VecDeque::new(),
            requests: 0,
            waiting: HashMap::new(),
            objects: 0,
            exported: HashMap::new(),
            held: HashMap::new(),
        };
        let dialects = ["pb", "none"].map(word).to_vec();
        broker.send(dialects).expect("the dialects are short");
        broker
    }

    /// The same connection, with another limit, and for calls that are about something else. None may be waiting.
    pub fn promote<U>(mut self, limit: usize) -> Broker<U> {
        debug_assert!(self.waiting.is_empty(), "a call is waiting");
        self.decoder.set_limit(limit);
        Broker {
            decoder: self.decoder,
            phase: self.phase,
            vocabulary: self.vocabulary,
            output: self.output,
            requests: self.requests,
            waiting: HashMap::new(),
            objects: self.objects,
            exported: self.exported,
            held: self.held,
        }
    }

    /// Takes bytes as they come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.decoder.push(bytes);
    }

    /// The next message.
    ///
    /// # Errors
    /// When the peer does not speak PB, or goes beyond a bound: close the connection.
    pub fn next_message(&mut self) -> Result<Option<Message<T>>, BrokerError> {
        while let Some(item) = self.decoder.next()? {
            match self.phase {
                Phase::Dialect => self.choose(&item)?,
                Phase::Version | Phase::Up => {
                    if let Some(message) = self.message(item)? {
                        return Ok(Some(message));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Bytes for the peer, one message each.
    pub fn output(&mut self) -> Option<Vec<u8>> {
        self.output.pop_front()
    }

    fn choose(&mut self, choice: &Item) -> Result<(), BrokerError> {
        self.vocabulary = match choice {
            Item::Bytes(word) if word == b"pb" => true,
            Item::Bytes(word) if word == b"none" => false,
            _ => return Err(BrokerError::UnknownDialect),
        };
        self.phase = Phase::Version;
        self.send(vec![word("version"), Item::Int(VERSION)])
    }

    fn message(&mut self, item: Item) -> Result<Option<Message<T>>, BrokerError> {
        let Item::List(mut parts) = item else { return Err(BrokerError::Malformed("no list".into())) };
        let rest = parts.split_off(1.min(parts.len()));
        let name = match parts.pop() {
            Some(Item::Bytes(name)) => String::from_utf8_lossy(&name).into_owned(),
            _ => String::new(),
        };
        let malformed = || BrokerError::Malformed(name.chars().take(40).collect());
        if self.phase == Phase::Version {
            return match (name.as_str(), rest.as_slice()) {
                ("version", [Item::Int(VERSION)]) => {
                    self.phase = Phase::Up;
                    Ok(None)
                }
                _ => Err(BrokerError::WrongVersion),
            };
        }
        match name.as_str() {
            "message" => self.called(rest).ok_or_else(malformed)?.map(|call| Some(Message::Call(call))),
            "answer" | "error" => {
                let [request, value] = <[Item; 2]>::try_from(rest).map_err(|_| malformed())?;
                let value = self.receive_value(value)?;
                let answered = number(&request).and_then(|request| self.waiting.remove(&request));
                let Some(about) = answered else { return Ok(None) };
                let result = if name == "answer" { Ok(value) } else { Err(Failure::from_value(&value)) };
                Ok(Some(Message::Answer(about, result)))
            }
            "decref" => match rest.as_slice() {
                [object] => Ok(number(object).and_then(|object| self.let_go(object)).map(Message::Released)),
                _ => Err(malformed()),
            },
            _ => Err(malformed()),
        }
    }

    /// `None` when the parts are not those of a call.
    fn called(&mut self, parts: Vec<Item>) -> Option<Result<Call, BrokerError>> {
        let [request, object, method, answer, args, kwargs] = <[Item; 6]>::try_from(parts).ok()?;
        let target = match &object {
            Item::Bytes(name) if name == b"root" => Target::Root,
            other => Target::Object(number(other)?),
        };
        let Item::Bytes(method) = method else { return None };
        let wants_answer = !matches!(answer, Item::Int(0));
        let request = number(&request)?;
        let args = match self.receive_value(args) {
            Ok(Value::Tuple(args) | Value::List(args)) => args,
            Ok(_) => return None,
            Err(error) => return Some(Err(error)),
        };
        let kwargs = match self.receive_value(kwargs) {
            Ok(kwargs) => kwargs,
            Err(error) => return Some(Err(error)),
        };
        let method = String::from_utf8_lossy(&method).into_owned();
        Some(Ok(Call { request: wants_answer.then_some(request), target, method, args, kwargs }))
    }

    fn let_go(&mut self, object: u64) -> Option<u64> {
        let count = self.exported.get_mut(&object)?;
        *count -= 1;
        (*count == 0).then(|| {
            self.exported.remove(&object);
            object
        })
    }

    fn receive_value(&mut self, item: Item) -> Result<Value, BrokerError> {
        let value = jelly::decode(item)?;
        let mut theirs = Vec::new();
        walk(&value, &mut |value| {
            if let Value::Theirs(object) = value {
                theirs.push(*object);
            }
        });
        for object in theirs {
            *self.held.entry(object).or_default() += 1;
        }
        if self.held.len() > MAX_HELD {
            return Err(BrokerError::TooMany(MAX_HELD, "objects of the peer"));
        }
        Ok(value)
    }

    /// A new object of this side. It lives until it was sent and let go of, or until the connection ends.
    pub fn export(&mut self) -> u64 {
        self.objects += 1;
        self.objects
    }

    /// Calls a method of the peer's object. `about` comes back with the answer.
    ///
    /// # Errors
    /// When an argument is too long, or too many calls wait already. Nothing was sent then.
    pub fn call(
        &mut self,
        object: u64,
        method: &str,
        args: Vec<Value>,
        kwargs: Value,
        about: T,
    ) -> Result<(), BrokerError> {
        if self.waiting.len() >= MAX_WAITING {
            return Err(BrokerError::TooMany(MAX_WAITING, "calls without an answer"));
        }
        let args = Value::Tuple(args);
        let request = self.requests + 1;
        self.send(vec![
            word("message"),
            Item::Int(request.into()),
            Item::Int(object.into()),
            word(method),
            Item::Int(1),
            jelly::encode(&args),
            jelly::encode(&kwargs),
        ])?;
        self.requests = request;
        self.note_sent(&args);
        self.waiting.insert(request, about);
        Ok(())
    }

    /// Answers a call of the peer; one that wants no answer gets none.
    ///
    /// # Errors
    /// When the value is too long.
    pub fn answer(&mut self, request: Option<u64>, value: &Value) -> Result<(), BrokerError> {
        let Some(request) = request else { return Ok(()) };
        self.send(vec![word("answer"), Item::Int(request.into()), jelly::encode(value)])?;
        self.note_sent(value);
        Ok(())
    }

    /// Answers a call of the peer with an error.
    ///
    /// # Errors
    /// When its words are too long.
    pub fn fail(&mut self, request: Option<u64>, failure: &Failure) -> Result<(), BrokerError> {
        let Some(request) = request else { return Ok(()) };
        let value = jelly::encode(&failure.to_value());
        self.send(vec![word("error"), Item::Int(request.into()), value])
    }

    /// Lets go of an object of the peer, as often as it was received.
    pub fn release(&mut self, object: u64) {
        for _ in 0..self.held.remove(&object).unwrap_or_default() {
            let message = vec![word("decref"), Item::Int(object.into())];
            self.send(message).expect("a decref is short");
        }
    }

    fn note_sent(&mut self, value: &Value) {
        walk(value, &mut |value| {
            if let Value::Ours(object) = value {
                *self.exported.entry(*object).or_default() += 1;
            }
        });
    }

    fn send(&mut self, parts: Vec<Item>) -> Result<(), BrokerError> {
        let mut bytes = Vec::new();
        banana::encode(&Item::List(parts), self.vocabulary, &mut bytes)?;
        self.output.push_back(bytes);
        Ok(())
    }
}

fn word(text: &str) -> Item {
    Item::Bytes(text.as_bytes().to_vec())
}

fn number(item: &Item) -> Option<u64> {
    match item {
        Item::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}

/// Shows every value inside of `value`, and itself.
fn walk(value: &Value, show: &mut impl FnMut(&Value)) {
    show(value);
    match value {
        Value::List(values) | Value::Tuple(values) => values.iter().for_each(|value| walk(value, show)),
        Value::Dict(pairs) => pairs.iter().for_each(|(key, value)| {
            walk(key, show);
            walk(value, show);
        }),
        Value::Instance { state, .. } => walk(state, show),
        _ => {}
    }
}
