//! What a router allows: realms, roles, identities, limits.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::auth::{MAX_ITERATIONS, MAX_KEY_BYTES, Salting, Secret};
use crate::uri::Match;

/// Configuration of a router.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouterConfig {
    /// Realms by name.
    pub realms: BTreeMap<String, Realm>,
    /// Bounds for each peer.
    #[serde(default)]
    pub limits: Limits,
    /// Web pages that may join, by their origins (`https://ci.example.org`); `*` is every one. Other pages are refused:
    /// browsers say which page connects, and masters are no pages.
    #[serde(default)]
    pub origins: Vec<String>,
}

/// A realm: peers of one don't see those of another.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Realm {
    /// What each role may do.
    pub roles: BTreeMap<String, Role>,
    /// The role of peers that don't authenticate; without it they are refused.
    #[serde(default)]
    pub anonymous: Option<String>,
    /// Identities by authid.
    #[serde(default)]
    pub principals: BTreeMap<String, Principal>,
}

/// What a role may do: the most specific rule decides, that is an exact one, else the longest prefix, else the first
/// wildcard. What no rule names is forbidden.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Role {
    /// Its rules.
    pub rules: Vec<Rule>,
}

/// Permissions on URIs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// A URI or pattern.
    pub uri: String,
    /// How `uri` is read.
    #[serde(rename = "match")]
    pub matching: Match,
    /// Publish under it.
    pub publish: bool,
    /// Subscribe to it.
    pub subscribe: bool,
    /// Call it.
    pub call: bool,
    /// Register it.
    pub register: bool,
    /// Subscribers and callees are told who published or called, also when the peer did not ask for that.
    pub disclose: bool,
}

/// An identity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Principal {
    /// Its role.
    pub role: String,
    /// How it proves who it is.
    #[serde(flatten)]
    pub proof: Proof,
}

/// What the router knows to check a peer by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Proof {
    /// The ticket itself.
    Ticket(Secret),
    /// The key of WAMP-CRA.
    WampCra {
        /// The secret; with salting: the key in base64 that is derived from it, so that the router does not know the
        /// password itself.
        secret: Secret,
        /// How clients get from their password to `secret`.
        #[serde(default)]
        salting: Option<Salting>,
    },
}

/// Bounds for each peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Largest message in bytes, in and out (4 MiB: a change with thousands of files). A peer that sends a larger one
    /// loses its connection.
    pub frame_bytes: usize,
    /// Subscriptions of one peer (100 000; a Buildbot master with a thousand running builds has a few thousand).
    /// Further ones are refused with an error.
    pub subscriptions: usize,
    /// Registrations of one peer (1000). Further ones are refused with an error.
    pub registrations: usize,
    /// Calls of one peer that wait for a result (1000). Further ones are refused with an error.
    pub calls: usize,
    /// Messages that wait for one peer to read (10 000). Events that find no room are dropped and counted; a peer for
    /// which even answers find no room loses its connection.
    pub queue_messages: usize,
    /// Bytes of these messages (64 MiB); the same fate.
    pub queue_bytes: usize,
    /// Peers at once (10 000). Further connections are closed at once.
    pub peers: usize,
    /// Seconds within which a connection must have joined a realm (10).
    pub join_seconds: u64,
    /// Seconds of silence after which a peer is pinged (10); it is dead when it stays silent for as long again twice.
    pub ping_seconds: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            frame_bytes: 4 << 20,
            subscriptions: 100_000,
            registrations: 1000,
            calls: 1000,
            queue_messages: 10_000,
            queue_bytes: 64 << 20,
            peers: 10_000,
            join_seconds: 10,
            ping_seconds: 10,
        }
    }
}

impl Limits {
    /// See [`Limits::ping_seconds`].
    pub fn ping_after(&self) -> Duration {
        Duration::from_secs(self.ping_seconds)
    }

    /// See [`Limits::join_seconds`].
    pub fn join_within(&self) -> Duration {
        Duration::from_secs(self.join_seconds)
    }
}

/// What a rule allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Action {
    Publish,
    Subscribe,
    Call,
    Register,
}

impl Rule {
    /// All rights on every URI that begins with `uri`.
    pub fn everything_under(uri: &str) -> Rule {
        let (publish, subscribe, call, register) = (true, true, true, true);
        Rule {
            uri: uri.to_owned(),
            matching: Match::Prefix,
            publish,
            subscribe,
            call,
            register,
            disclose: false,
        }
    }

    fn allows(&self, action: Action) -> bool {
        match action {
            Action::Publish => self.publish,
            Action::Subscribe => self.subscribe,
            Action::Call => self.call,
            Action::Register => self.register,
        }
    }

    /// The characters with which every selected URI begins.
    fn literal_start(&self) -> &str {
        literal_start(self.matching, &self.uri)
    }
}

fn literal_start(matching: Match, uri: &str) -> &str {
    match matching {
        Match::Exact | Match::Prefix => uri,
        Match::Wildcard if uri.starts_with('.') || uri.is_empty() => "",
        Match::Wildcard => uri.find("..").map_or(uri, |at| &uri[..=at]),
    }
}

impl Role {
    /// The rule that decides about `uri`.
    pub fn rule_for(&self, uri: &str) -> Option<&Rule> {
        let of = |matching| {
            self.rules
                .iter()
                .filter(move |rule| rule.matching == matching && matching.selects(&rule.uri, uri))
        };
        of(Match::Exact)
            .next()
            .or_else(|| of(Match::Prefix).max_by_key(|rule| rule.uri.len()))
            .or_else(|| of(Match::Wildcard).next())
    }

    /// Whether the role may do `action` under the URI itself.
    pub fn allows(&self, action: Action, uri: &str) -> bool {
        self.rule_for(uri).is_some_and(|rule| rule.allows(action))
    }

    /// Whether the role may subscribe to all that `pattern` selects: some rule allows it as a whole, and none forbids a
    /// part of it.
    pub fn allows_pattern(&self, matching: Match, pattern: &str) -> bool {
        if matching == Match::Exact {
            return self.allows(Action::Subscribe, pattern);
        }
        let start = literal_start(matching, pattern);
        let covered = self.rules.iter().any(|rule| rule.subscribe && rule.covers(matching, pattern));
        let forbidden = self.rules.iter().any(|rule| {
            let theirs = rule.literal_start();
            !rule.subscribe
                && !rule.covers(matching, pattern)
                && (theirs.starts_with(start) || start.starts_with(theirs))
        });
        let decided = self.rules.iter().filter(|rule| rule.covers(matching, pattern));
        let most_specific = decided.max_by_key(|rule| (rule.matching == Match::Prefix, rule.uri.len()));
        covered && !forbidden && most_specific.is_some_and(|rule| rule.subscribe)
    }
}

impl Rule {
    /// Whether everything that `pattern` selects is selected by the rule.
    fn covers(&self, matching: Match, pattern: &str) -> bool {
        match self.matching {
            Match::Exact => false,
            Match::Prefix => literal_start(matching, pattern).starts_with(&self.uri),
            Match::Wildcard => matching == Match::Wildcard && Match::Wildcard.selects(&self.uri, pattern),
        }
    }
}

/// A configuration that can't work.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("realm '{realm}': {problem}")]
pub struct ConfigProblem {
    /// In which realm.
    pub realm: String,
    /// What is wrong.
    pub problem: String,
}

impl RouterConfig {
    /// One realm in which everybody may do everything, as Crossbar's own default is.
    pub fn open(realm: &str) -> RouterConfig {
        let role = Role { rules: vec![Rule::everything_under("")] };
        let realm_config = Realm {
            roles: [("anonymous".to_owned(), role)].into(),
            anonymous: Some("anonymous".to_owned()),
            principals: BTreeMap::new(),
        };
        RouterConfig {
            realms: [(realm.to_owned(), realm_config)].into(),
            limits: Limits::default(),
            origins: Vec::new(),
        }
    }

    /// One realm that only `authid` can join, by `proof`.
    pub fn closed(realm: &str, authid: &str, proof: Proof) -> RouterConfig {
        let role = Role { rules: vec![Rule::everything_under("")] };
        let realm_config = Realm {
            roles: [("master".to_owned(), role)].into(),
            anonymous: None,
            principals: [(authid.to_owned(), Principal { role: "master".to_owned(), proof })].into(),
        };
        RouterConfig {
            realms: [(realm.to_owned(), realm_config)].into(),
            limits: Limits::default(),
            origins: Vec::new(),
        }
    }

    /// All that can't work.
    pub fn problems(&self) -> Vec<ConfigProblem> {
        let mut problems = Vec::new();
        for (name, realm) in &self.realms {
            problems.extend(realm.problems().map(|problem| ConfigProblem { realm: name.clone(), problem }));
        }
        if self.realms.is_empty() {
            let problem = "no realm is configured, so nobody could join".to_owned();
            problems.push(ConfigProblem { realm: String::new(), problem });
        }
        problems
    }
}

impl Realm {
    fn problems(&self) -> impl Iterator<Item = String> {
        let unknown = |who: String, role: &String| {
            (!self.roles.contains_key(role))
                .then(|| format!("{who} has the role '{role}', which is not defined"))
        };
        let anonymous = self.anonymous.iter().filter_map(move |role| unknown("anonymous".to_owned(), role));
        let principals = self
            .principals
            .iter()
            .filter_map(move |(authid, principal)| unknown(format!("'{authid}'"), &principal.role));
        let nobody = (self.anonymous.is_none() && self.principals.is_empty())
            .then(|| "neither anonymous peers nor principals are allowed, so nobody could join".to_owned());
        let rules = self.roles.iter().flat_map(|(role, rules)| {
            rules
                .rules
                .iter()
                .filter_map(move |rule| rule.problem().map(|text| format!("role '{role}': {text}")))
        });
        let saltings = self.principals.iter().filter_map(|(authid, principal)| match &principal.proof {
            Proof::WampCra { salting: Some(salting), .. }
                if !(1..=MAX_ITERATIONS).contains(&salting.iterations)
                    || !(1..=MAX_KEY_BYTES).contains(&salting.keylen) =>
            {
                Some(format!(
                    "'{authid}': iterations must be 1 to {MAX_ITERATIONS}, keylen 1 to {MAX_KEY_BYTES}"
                ))
            }
            _ => None,
        });
        anonymous.chain(principals).chain(nobody).chain(rules).chain(saltings)
    }
}

impl Rule {
    fn problem(&self) -> Option<String> {
        if !self.matching.permits(&self.uri) {
            return Some(format!("'{}' can't be used as {} URI", self.uri, self.matching.as_str()));
        }
        // No topic has an empty component, so such a prefix would select nothing.
        (self.matching == Match::Prefix && (self.uri.contains("..") || self.uri.starts_with('.')))
            .then(|| format!("the prefix '{}' has an empty component; did you mean a wildcard?", self.uri))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(matching: Match, uri: &str, allowed: bool) -> Rule {
        Rule {
            publish: allowed,
            subscribe: allowed,
            ..Rule { uri: uri.to_owned(), matching, ..Rule::default() }
        }
    }

    #[test]
    fn the_most_specific_rule_decides() {
        let role = Role {
            rules: vec![
                rule(Match::Prefix, "", true),
                rule(Match::Prefix, "org.buildbot.", false),
                rule(Match::Exact, "org.buildbot.hello", true),
                rule(Match::Wildcard, "org..x", true),
            ],
        };
        assert!(role.allows(Action::Publish, "com.example"));
        assert!(!role.allows(Action::Publish, "org.buildbot.mq.x"));
        assert!(role.allows(Action::Publish, "org.buildbot.hello"));
        assert!(!role.allows(Action::Call, "com.example"));
        assert!(!Role::default().allows(Action::Publish, "com.example"));
    }

    #[test]
    fn a_pattern_needs_a_right_to_all_that_it_selects() {
        let role = Role { rules: vec![rule(Match::Prefix, "public.", true)] };
        assert!(role.allows_pattern(Match::Prefix, "public.a"));
        assert!(role.allows_pattern(Match::Wildcard, "public..x"));
        assert!(!role.allows_pattern(Match::Prefix, "public"));
        assert!(!role.allows_pattern(Match::Wildcard, ".x"));
        assert!(!role.allows_pattern(Match::Prefix, ""));

        let exact = Role { rules: vec![rule(Match::Exact, "a.b", true)] };
        assert!(exact.allows_pattern(Match::Exact, "a.b") && !exact.allows_pattern(Match::Prefix, "a.b"));

        let wildcard = Role { rules: vec![rule(Match::Wildcard, "a..c", true)] };
        assert!(wildcard.allows_pattern(Match::Wildcard, "a..c"));
        assert!(!wildcard.allows_pattern(Match::Wildcard, "a.."));
        assert!(!wildcard.allows_pattern(Match::Prefix, "a.b.c"));
    }

    #[test]
    fn a_forbidden_part_forbids_the_pattern() {
        let role = Role { rules: vec![rule(Match::Prefix, "", true), rule(Match::Prefix, "secret.", false)] };
        assert!(role.allows_pattern(Match::Prefix, "public."));
        assert!(!role.allows_pattern(Match::Prefix, "sec"));
        assert!(!role.allows_pattern(Match::Prefix, "secret.x"));
        assert!(!role.allows_pattern(Match::Wildcard, "."));
        assert!(role.allows_pattern(Match::Wildcard, "public."));
    }

    #[test]
    fn what_can_not_work_is_named() {
        let mut config = RouterConfig::open("realm1");
        assert_eq!(config.problems(), []);
        let realm = config.realms.get_mut("realm1").unwrap();
        realm.anonymous = Some("nobody".to_owned());
        realm.roles.get_mut("anonymous").unwrap().rules.push(rule(Match::Prefix, "a..", true));
        let problems: Vec<String> = config.problems().iter().map(ToString::to_string).collect();
        assert!(problems[0].contains("'nobody', which is not defined"), "{problems:?}");
        assert!(problems[1].contains("empty component"), "{problems:?}");
    }
}
