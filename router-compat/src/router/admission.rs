//! Who may join: the opening of a session up to WELCOME.

use serde_json::{Value, json};

use super::Joined;
use super::config::{Principal, Proof, Realm, RouterConfig};
use crate::auth;
use crate::message::{Dict, Id, Message};

const NO_SUCH_REALM: &str = "wamp.error.no_such_realm";
const NO_AUTH_METHOD: &str = "wamp.error.no_auth_method";
const AUTHENTICATION_FAILED: &str = "wamp.error.authentication_failed";

/// What comes out of a HELLO or AUTHENTICATE.
pub(super) enum Admission {
    /// The peer has to prove who it is.
    Challenge(Pending),
    /// It joins; these are the details of WELCOME.
    Welcome(Joined, Dict),
    /// It does not join.
    Refused {
        /// A URI.
        reason: &'static str,
        /// For people.
        text: String,
    },
}

/// A challenge that waits for its answer.
pub(super) struct Pending {
    joined: Joined,
    method: Method,
    /// What to check by; `None` for an unknown authid, which is refused only after its answer, so that nobody learns
    /// which ones exist.
    proof: Option<Proof>,
    challenge: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    Anonymous,
    Ticket,
    WampCra,
}

impl Method {
    fn from_wire(name: &str) -> Option<Method> {
        [Method::Anonymous, Method::Ticket, Method::WampCra].into_iter().find(|each| each.as_str() == name)
    }

    fn as_str(self) -> &'static str {
        match self {
            Method::Anonymous => "anonymous",
            Method::Ticket => "ticket",
            Method::WampCra => "wampcra",
        }
    }

    fn is_of(self, proof: &Proof) -> bool {
        matches!((self, proof), (Method::Ticket, Proof::Ticket(_)) | (Method::WampCra, Proof::WampCra { .. }))
    }
}

/// Answers a HELLO.
pub(super) fn open(config: &RouterConfig, session: Id, name: String, details: &Dict) -> Admission {
    let Some(realm) = config.realms.get(&name) else {
        return Admission::Refused { reason: NO_SUCH_REALM, text: format!("there is no realm '{name}'") };
    };
    let authid = details.get("authid").and_then(Value::as_str);
    match choose_method(realm, &offered(details), authid) {
        None => Admission::Refused {
            reason: NO_AUTH_METHOD,
            text: format!("realm '{name}' accepts none of the authentication methods that the peer offers"),
        },
        Some((Method::Anonymous, role)) => {
            let authid = uuid::Uuid::new_v4().to_string();
            let joined = Joined { session, realm: name, role: role.unwrap_or_default(), authid };
            let details = welcome(&joined, Method::Anonymous);
            Admission::Welcome(joined, details)
        }
        Some((method, _)) => {
            let authid = authid.unwrap_or_default().to_owned();
            let principal = realm.principals.get(&authid).filter(|known| method.is_of(&known.proof));
            Admission::Challenge(Pending::new(session, name, authid, method, principal))
        }
    }
}

/// The methods in HELLO; without any a peer means to stay anonymous.
fn offered(details: &Dict) -> Vec<Method> {
    match details.get("authmethods").and_then(Value::as_array) {
        Some(names) => names.iter().filter_map(|name| Method::from_wire(name.as_str()?)).collect(),
        None => vec![Method::Anonymous],
    }
}

/// The first offered method that the realm has, and the role for anonymous peers.
fn choose_method(
    realm: &Realm,
    offered: &[Method],
    authid: Option<&str>,
) -> Option<(Method, Option<String>)> {
    offered.iter().find_map(|method| match method {
        Method::Anonymous => realm.anonymous.clone().map(|role| (*method, Some(role))),
        _ => {
            let known = realm.principals.values().any(|principal| method.is_of(&principal.proof));
            (known && authid.is_some()).then_some((*method, None))
        }
    })
}

impl Pending {
    fn new(
        session: Id,
        realm: String,
        authid: String,
        method: Method,
        principal: Option<&Principal>,
    ) -> Pending {
        let role = principal.map(|principal| principal.role.clone()).unwrap_or_default();
        let challenge = json!({
            "authid": authid,
            "authrole": role,
            "authmethod": method.as_str(),
            "authprovider": "static",
            "session": session,
            "nonce": uuid::Uuid::new_v4().to_string(),
        });
        Pending {
            joined: Joined { session, realm, role, authid },
            method,
            proof: principal.map(|principal| principal.proof.clone()),
            challenge: challenge.to_string(),
        }
    }

    /// The CHALLENGE.
    pub(super) fn challenge(&self) -> Message {
        let mut extra = Dict::new();
        if self.method == Method::WampCra {
            extra.insert("challenge".to_owned(), self.challenge.as_str().into());
        }
        if let Some(Proof::WampCra { salting: Some(salting), .. }) = &self.proof {
            extra.insert("salt".to_owned(), salting.salt.as_str().into());
            extra.insert("iterations".to_owned(), salting.iterations.into());
            extra.insert("keylen".to_owned(), salting.keylen.into());
        }
        Message::Challenge { method: self.method.as_str().to_owned(), extra }
    }

    /// Answers an AUTHENTICATE.
    pub(super) fn check(&self, signature: &str) -> Admission {
        let proven = match &self.proof {
            None => false,
            Some(Proof::Ticket(ticket)) => ticket.is(signature),
            Some(Proof::WampCra { secret, .. }) => auth::verify(secret, &self.challenge, signature),
        };
        if proven {
            return Admission::Welcome(self.joined.clone(), welcome(&self.joined, self.method));
        }
        let text = format!("'{}' could not prove who it is", self.joined.authid);
        Admission::Refused { reason: AUTHENTICATION_FAILED, text }
    }
}

fn welcome(joined: &Joined, method: Method) -> Dict {
    let details = json!({
        "realm": joined.realm,
        "authid": joined.authid,
        "authrole": joined.role,
        "authmethod": method.as_str(),
        "authprovider": "static",
        "agent": concat!("muster/", env!("CARGO_PKG_VERSION")),
        "roles": {
            "broker": {"features": {
                "publisher_identification": true,
                "pattern_based_subscription": true,
                "publisher_exclusion": true,
                "subscriber_blackwhite_listing": true,
            }},
            "dealer": {"features": {"caller_identification": true}},
        },
    });
    details.as_object().cloned().unwrap_or_default()
}
