//! Messages between master and host, one JSON object a line. The other end is `python/muster_host/server.py`.

use muster_core::python_json;
use muster_core::render::Renderable;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::conversation::{StepNews, StepOrder};
use crate::snapshot::{Snapshot, SourceRef};

/// The version of this protocol; both ends come from one binary, so another one means a mixed-up installation.
pub(crate) const PROTOCOL: u32 = 1;

/// Longest line from the host, in bytes: a snapshot of some ten thousand steps. A longer one breaks the host.
pub(crate) const MAX_LINE: usize = 256 << 20;

/// What the master asks.
#[derive(Debug, Serialize)]
pub(crate) struct Request<'a> {
    pub(crate) id: u64,
    #[serde(flatten)]
    pub(crate) body: RequestBody<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RequestBody<'a> {
    /// `limit` is in seconds: before that, a host that still loads says where it is.
    Load {
        basedir: &'a str,
        config_file: &'a str,
        limit: f64,
    },
    Call {
        handle: &'a str,
        digest: &'a str,
        args: &'a [Value],
        kwargs: &'a Map<String, Value>,
    },
    Secret {
        name: &'a str,
    },
    /// A message of a conversation about a step.
    #[serde(untagged)]
    Step(&'a StepOrder),
}

/// What the host says.
#[derive(Debug)]
pub(crate) enum Message {
    Hello(Hello),
    Answer(Answer),
}

#[derive(Debug, Deserialize)]
pub(crate) struct Hello {
    pub(crate) protocol: u32,
    pub(crate) python: String,
}

/// The answer to the request with this id.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) id: u64,
    pub(crate) body: AnswerBody,
}

#[derive(Debug)]
pub(crate) enum AnswerBody {
    Loaded(Box<Snapshot>),
    Errors(WireErrors),
    Value(Renderable),
    Exception(CallFailure),
    Refused(String),
    /// There is an answer, but it is no value of ours.
    Unreadable(String),
    /// Part of a conversation about a step.
    Step(StepNews),
    /// A step that was given up has ended.
    StepGone,
}

/// What is wrong with a configuration.
#[derive(Debug, Deserialize)]
pub(crate) struct WireErrors {
    pub(crate) errors: Vec<WireError>,
    /// What can be said about it nevertheless: a snapshot with holes, or none.
    #[serde(default)]
    pub(crate) partial: Value,
}

#[derive(Debug, Deserialize)]
pub(crate) struct WireError {
    pub(crate) text: String,
    #[serde(flatten)]
    pub(crate) source: SourceRef,
}

/// An effect that a step wants.
#[derive(Deserialize)]
struct Asked {
    seq: u64,
    effect: Value,
}

/// How many bytes of output the step has read.
#[derive(Deserialize)]
struct Read {
    bytes: u64,
}

impl Message {
    /// Parses one line.
    pub(crate) fn parse(line: &[u8]) -> Result<Message, serde_json::Error> {
        let text = std::str::from_utf8(line).map_err(serde::de::Error::custom)?;
        let line: Line = serde_json::from_str(&python_json::carried(text))?;
        if let Some(hello) = line.hello {
            return Ok(Message::Hello(hello));
        }
        let body = match line {
            Line { loaded: Some(snapshot), .. } => AnswerBody::Loaded(snapshot),
            Line { errors: Some(errors), .. } => AnswerBody::Errors(errors),
            Line { exception: Some(exception), .. } => AnswerBody::Exception(exception),
            Line { refused: Some(reason), .. } => AnswerBody::Refused(reason),
            Line { perform: Some(Asked { seq, effect }), .. } => {
                AnswerBody::Step(StepNews::Perform { seq, effect })
            }
            Line { read: Some(Read { bytes }), .. } => AnswerBody::Step(StepNews::Read(bytes)),
            Line { end: Some(end), .. } => AnswerBody::Step(StepNews::End(end)),
            Line { gone: Some(_), .. } => AnswerBody::StepGone,
            // Only this question has failed.
            Line { value: Some(value), .. } => match serde_json::from_value(value) {
                Ok(value) => AnswerBody::Value(value),
                Err(error) => AnswerBody::Unreadable(error.to_string()),
            },
            _ => return Err(serde::de::Error::custom("it is no answer")),
        };
        let id = line.id.ok_or_else(|| serde::de::Error::missing_field("id"))?;
        Ok(Message::Answer(Answer { id, body }))
    }
}

/// One line from the host. It is read in one pass: a large snapshot is in memory once.
#[derive(Deserialize)]
struct Line {
    id: Option<u64>,
    hello: Option<Hello>,
    loaded: Option<Box<Snapshot>>,
    errors: Option<WireErrors>,
    exception: Option<CallFailure>,
    refused: Option<String>,
    perform: Option<Asked>,
    read: Option<Read>,
    #[serde(default, deserialize_with = "present")]
    end: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    gone: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    value: Option<Value>,
}

/// A value that is there, also when it is `null`.
fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

/// An exception that a function of the configuration raised.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, thiserror::Error)]
#[error("{exception}: {text}")]
pub struct CallFailure {
    /// The class of the exception.
    #[serde(rename = "type")]
    pub exception: String,
    /// Its text.
    pub text: String,
    /// For the log of the step.
    pub traceback: String,
}
