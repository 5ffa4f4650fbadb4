//! Who of the subscribers gets a publication (WAMP: subscriber black- and whitelisting).

use serde_json::Value;

use super::{Joined, Refusal, errors};
use crate::message::{Dict, Id};

/// The options of a publication that choose among subscribers. A subscriber gets it that every list of `eligible` has, and no
/// list of `exclude`. An empty list says nothing, as with Crossbar.
#[derive(Debug, Default)]
pub(super) struct Audience {
    eligible: Lists,
    excluded: Lists,
}

#[derive(Debug, Default)]
struct Lists {
    sessions: Vec<Id>,
    authids: Vec<String>,
    authroles: Vec<String>,
}

impl Audience {
    /// Reads the options. What is no list of the right kind is refused: nobody shall hear what was meant for few.
    pub fn read(options: &Dict) -> Result<Audience, Refusal> {
        Ok(Audience {
            eligible: Lists::read(options, "eligible")?,
            excluded: Lists::read(options, "exclude")?,
        })
    }

    /// Whether everybody is meant, as nearly always.
    pub fn is_everybody(&self) -> bool {
        self.eligible.are_empty() && self.excluded.are_empty()
    }

    pub fn includes(&self, peer: &Joined) -> bool {
        let Lists { sessions, authids, authroles } = &self.eligible;
        (sessions.is_empty() || sessions.contains(&peer.session))
            && (authids.is_empty() || authids.contains(&peer.authid))
            && (authroles.is_empty() || authroles.contains(&peer.role))
            && !self.excluded.have(peer)
    }
}

impl Lists {
    fn read(options: &Dict, name: &str) -> Result<Lists, Refusal> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Ok(Lists {
            sessions: list(options, name, "session ids", Value::as_u64)?,
            authids: list(options, &format!("{name}_authid"), "texts", text)?,
            authroles: list(options, &format!("{name}_authrole"), "texts", text)?,
        })
    }

    fn are_empty(&self) -> bool {
        self.sessions.is_empty() && self.authids.is_empty() && self.authroles.is_empty()
    }

    fn have(&self, peer: &Joined) -> bool {
        self.sessions.contains(&peer.session)
            || self.authids.contains(&peer.authid)
            || self.authroles.contains(&peer.role)
    }
}

fn list<T>(
    options: &Dict,
    name: &str,
    what: &str,
    one: impl Fn(&Value) -> Option<T>,
) -> Result<Vec<T>, Refusal> {
    match options.get(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(value) => {
            value.as_array().and_then(|values| values.iter().map(one).collect()).ok_or_else(|| {
                Refusal::new(errors::OPTION_NOT_ALLOWED, format!("{name} must be a list of {what}"))
            })
        }
    }
}
