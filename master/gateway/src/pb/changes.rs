//! `buildbot sendchange`: changes that come over PB (`docs/compat/worker-protocol.md` 1.7).

use super::MESSAGE_LIMIT;
use super::login::{LoggedIn, Login};
use crate::broker::{Broker, Message, Target};
use crate::failure::Failure;
use crate::stock::Breach;
use crate::value::Value;

/// A change as the client sent it. Texts are empty, and options absent, where it gave none.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "the words are those of a change")]
pub struct SentChange {
    pub author: String,
    pub files: Vec<String>,
    pub comments: String,
    pub branch: Option<String>,
    pub revision: Option<String>,
    pub category: Option<String>,
    /// Seconds since 1970.
    pub when: Option<f64>,
    pub properties: serde_json::Map<String, serde_json::Value>,
    pub repository: String,
    pub project: String,
    pub codebase: Option<String>,
    pub revlink: Option<String>,
    pub src: Option<String>,
}

/// A client that has logged in to send changes.
pub(crate) struct ChangePort {
    broker: Broker<()>,
    avatar: u64,
}

impl ChangePort {
    pub(crate) fn new(login: Login, who: &LoggedIn) -> Result<ChangePort, Breach> {
        let mut broker = login.into_broker(MESSAGE_LIMIT);
        let avatar = broker.export();
        broker.answer(who.request, &Value::Ours(avatar))?;
        Ok(ChangePort { broker, avatar })
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.broker.push(bytes);
    }

    pub(crate) fn output(&mut self) -> Option<Vec<u8>> {
        self.broker.output()
    }

    /// The next change, with the call that is to be answered once it is kept.
    pub(crate) fn next_change(&mut self) -> Result<Option<(Option<u64>, SentChange)>, Breach> {
        while let Some(message) = self.broker.next_message()? {
            let Message::Call(call) = message else { continue };
            match (call.target, call.method.as_str(), call.args.first()) {
                (Target::Object(object), "addChange", Some(fields)) if object == self.avatar => {
                    return Ok(Some((call.request, sent(fields))));
                }
                (Target::Object(object), method, _) if object == self.avatar => {
                    self.broker.fail(call.request, &Failure::no_such_method(method))?;
                }
                _ => self.broker.fail(call.request, &Failure::no_such_object())?,
            }
        }
        Ok(None)
    }

    pub(crate) fn answer(&mut self, request: Option<u64>, kept: Result<(), String>) -> Result<(), Breach> {
        match kept {
            Ok(()) => self.broker.answer(request, &Value::None)?,
            Err(reason) => self.broker.fail(request, &Failure::error(reason))?,
        }
        Ok(())
    }
}

fn sent(fields: &Value) -> SentChange {
    let text = |key: &str| fields.get(key).and_then(Value::as_text);
    let author = text("who").or_else(|| text("author")).unwrap_or_default();
    let files = fields.get("files").and_then(Value::elements).unwrap_or_default();
    let properties = match fields.get("properties").map(Value::to_json) {
        Some(serde_json::Value::Object(properties)) => properties,
        _ => serde_json::Map::new(),
    };
    SentChange {
        author,
        files: files.iter().filter_map(Value::as_text).collect(),
        comments: text("comments").unwrap_or_default(),
        branch: text("branch"),
        revision: text("revision"),
        category: text("category"),
        when: fields.get("when").and_then(Value::as_float),
        properties,
        repository: text("repository").unwrap_or_default(),
        project: text("project").unwrap_or_default(),
        codebase: text("codebase"),
        // Not null, as Buildbot stores it.
        revlink: Some(text("revlink").unwrap_or_default()),
        src: text("src"),
    }
}

impl SentChange {
    /// The same with only the files below `prefix`, which is taken off; `None` when there is none.
    pub(crate) fn below(mut self, prefix: Option<&str>) -> Option<SentChange> {
        let Some(prefix) = prefix.filter(|prefix| !prefix.is_empty()) else { return Some(self) };
        let below = |file: &String| file.strip_prefix(prefix).map(str::to_owned);
        self.files = self.files.iter().filter_map(below).collect();
        (!self.files.is_empty()).then_some(self)
    }
}
