//! Calls in one realm: each procedure has one callee.

use std::collections::{BTreeMap, HashMap};

use super::config::{Action, Limits, Role};
use super::{Joined, PeerId, Refusal, check_uri, errors, not_authorized};
use crate::message::{Dict, Id, Message, Payload, kind};
use crate::uri::Match;

const NO_SUCH_PROCEDURE: &str = "wamp.error.no_such_procedure";
const NO_SUCH_REGISTRATION: &str = "wamp.error.no_such_registration";
const PROCEDURE_ALREADY_EXISTS: &str = "wamp.error.procedure_already_exists";
const CANCELED: &str = "wamp.error.canceled";

/// A message for a peer.
type Letter = (PeerId, Message);

/// Who offers what, and who waits for it.
#[derive(Default)]
pub(super) struct Dealer {
    procedures: HashMap<String, Registration>,
    names: HashMap<Id, String>,
    calls: BTreeMap<Invoked, Waiting>,
    last_registration: Id,
    last_invocation: Id,
}

struct Registration {
    id: Id,
    callee: PeerId,
}

/// A call on its way: the callee and the id of its INVOCATION.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Invoked {
    callee: PeerId,
    invocation: Id,
}

/// Who gets the result.
#[derive(Clone, Copy)]
struct Waiting {
    caller: PeerId,
    request: Id,
}

/// Who calls.
pub(super) struct Caller<'a> {
    pub peer: PeerId,
    pub request: Id,
    pub joined: &'a Joined,
}

impl Dealer {
    /// Answers REGISTER.
    pub fn register(
        &mut self,
        peer: PeerId,
        role: &Role,
        limits: &Limits,
        request: Id,
        options: &Dict,
        procedure: String,
    ) -> Message {
        match self.try_register(peer, role, limits, options, procedure) {
            Ok(registration) => Message::Registered { request, registration },
            Err(refusal) => refusal.into_message(kind::REGISTER, request),
        }
    }

    fn try_register(
        &mut self,
        peer: PeerId,
        role: &Role,
        limits: &Limits,
        options: &Dict,
        procedure: String,
    ) -> Result<Id, Refusal> {
        check_uri(Match::Exact, &procedure)?;
        if options.get("match").is_some_and(|matching| matching != "exact") {
            let text = "procedures are registered by their exact name only".to_owned();
            return Err(Refusal::new(errors::OPTION_NOT_ALLOWED, text));
        }
        if procedure.starts_with("wamp.") || !role.allows(Action::Register, &procedure) {
            let text = format!("the role may not register '{procedure}'");
            return Err(Refusal::new(errors::NOT_AUTHORIZED, text));
        }
        if self.procedures.contains_key(&procedure) {
            let text = format!("'{procedure}' is registered already");
            return Err(Refusal::new(PROCEDURE_ALREADY_EXISTS, text));
        }
        if self.procedures.values().filter(|each| each.callee == peer).count() >= limits.registrations {
            let text = format!("a peer may have {} registrations", limits.registrations);
            return Err(Refusal::new(errors::TOO_MANY, text));
        }
        self.last_registration += 1;
        let id = self.last_registration;
        self.names.insert(id, procedure.clone());
        self.procedures.insert(procedure, Registration { id, callee: peer });
        Ok(id)
    }

    /// Answers UNREGISTER.
    pub fn unregister(&mut self, peer: PeerId, request: Id, registration: Id) -> Message {
        let name = self.names.get(&registration);
        let own = name.filter(|name| self.procedures.get(*name).is_some_and(|each| each.callee == peer));
        let Some(name) = own.cloned() else {
            let text = format!("there is no registration {registration}");
            return Refusal::new(NO_SUCH_REGISTRATION, text).into_message(kind::UNREGISTER, request);
        };
        self.names.remove(&registration);
        self.procedures.remove(&name);
        Message::Unregistered { request }
    }

    /// Answers CALL: an INVOCATION for the callee, or an error for the caller.
    pub fn call(
        &mut self,
        caller: &Caller<'_>,
        role: &Role,
        limits: &Limits,
        options: &Dict,
        procedure: &str,
        payload: Payload,
    ) -> Letter {
        match self.try_call(caller, role, limits, options, procedure, payload) {
            Ok(letter) => letter,
            Err(refusal) => (caller.peer, refusal.into_message(kind::CALL, caller.request)),
        }
    }

    fn try_call(
        &mut self,
        caller: &Caller<'_>,
        role: &Role,
        limits: &Limits,
        options: &Dict,
        procedure: &str,
        payload: Payload,
    ) -> Result<Letter, Refusal> {
        check_uri(Match::Exact, procedure)?;
        let Some(rule) = role.rule_for(procedure).filter(|rule| rule.call) else {
            return Err(not_authorized(caller.joined, "call", procedure));
        };
        let Some(registration) = self.procedures.get(procedure) else {
            let text = format!("nobody has registered '{procedure}'");
            return Err(Refusal::new(NO_SUCH_PROCEDURE, text));
        };
        if self.calls.values().filter(|waiting| waiting.caller == caller.peer).count() >= limits.calls {
            let text = format!("a peer may have {} calls under way", limits.calls);
            return Err(Refusal::new(errors::TOO_MANY, text));
        }
        self.last_invocation += 1;
        let invoked = Invoked { callee: registration.callee, invocation: self.last_invocation };
        self.calls.insert(invoked, Waiting { caller: caller.peer, request: caller.request });
        let disclosed = rule.disclose || options.get("disclose_me") == Some(&true.into());
        let message = Message::Invocation {
            request: invoked.invocation,
            registration: registration.id,
            details: if disclosed { caller.joined.disclosure("caller") } else { Dict::new() },
            payload,
        };
        Ok((invoked.callee, message))
    }

    /// A callee has a result. One that nobody waits for any more is dropped.
    pub fn yielded(&mut self, callee: PeerId, invocation: Id, payload: Payload) -> Option<Letter> {
        let waiting = self.calls.remove(&Invoked { callee, invocation })?;
        let message = Message::Result { request: waiting.request, details: Dict::new(), payload };
        Some((waiting.caller, message))
    }

    /// A callee reports an error.
    pub fn failed(
        &mut self,
        callee: PeerId,
        invocation: Id,
        error: String,
        payload: Payload,
    ) -> Option<Letter> {
        let waiting = self.calls.remove(&Invoked { callee, invocation })?;
        let details = Dict::new();
        let message = Message::Error { kind: kind::CALL, request: waiting.request, details, error, payload };
        Some((waiting.caller, message))
    }

    /// A caller no longer waits; the callee is not disturbed.
    pub fn cancel(&mut self, caller: PeerId, request: Id) -> Option<Letter> {
        let mut calls = self.calls.iter();
        let (&invoked, _) =
            calls.find(|(_, waiting)| waiting.caller == caller && waiting.request == request)?;
        self.calls.remove(&invoked);
        let refusal = Refusal::new(CANCELED, "the call was cancelled".to_owned());
        Some((caller, refusal.into_message(kind::CALL, request)))
    }

    /// A peer is gone: its procedures too, and who waits for its results is told.
    pub fn forget(&mut self, peer: PeerId) -> Vec<Letter> {
        self.procedures.retain(|_, registration| registration.callee != peer);
        self.names.retain(|_, name| self.procedures.contains_key(name));
        let mut letters = Vec::new();
        self.calls.retain(|invoked, waiting| {
            if invoked.callee == peer && waiting.caller != peer {
                let refusal = Refusal::new(CANCELED, "the callee is gone".to_owned());
                letters.push((waiting.caller, refusal.into_message(kind::CALL, waiting.request)));
            }
            invoked.callee != peer && waiting.caller != peer
        });
        letters
    }
}
