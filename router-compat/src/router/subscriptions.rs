//! The table of subscriptions: which of them a topic reaches.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::PeerId;
use crate::message::Id;
use crate::uri::Match;

/// A pattern and the peers that asked for it. All of them get the same subscription id, so an event is the same bytes
/// for all of them.
#[derive(Debug)]
pub struct Subscription {
    /// Its id.
    pub id: Id,
    /// How the pattern is read.
    pub matching: Match,
    pattern: String,
    /// Who wants it; never empty.
    pub subscribers: BTreeSet<PeerId>,
}

/// All subscriptions of a realm.
///
/// Finding takes time by the number of components of the topic and of those wildcard patterns that agree with its
/// beginning, not by the number of subscriptions.
#[derive(Debug, Default)]
pub struct Subscriptions {
    by_id: HashMap<Id, Subscription>,
    exact: HashMap<String, Id>,
    prefixes: Prefixes,
    wildcards: Node,
    last_id: Id,
}

/// Prefixes by their text, and how many there are of each length.
#[derive(Debug, Default)]
struct Prefixes {
    by_text: HashMap<String, Id>,
    lengths: BTreeMap<usize, usize>,
}

/// A component of wildcard patterns.
#[derive(Debug, Default)]
struct Node {
    ends_here: Option<Id>,
    any: Option<Box<Node>>,
    named: HashMap<Box<str>, Node>,
}

impl Subscriptions {
    /// Adds `peer`; the id, and whether the peer had not asked for this before.
    pub fn add(&mut self, matching: Match, pattern: &str, peer: PeerId) -> (Id, bool) {
        let id = match self.find(matching, pattern) {
            Some(id) => id,
            None => self.create(matching, pattern),
        };
        let subscription = self.by_id.get_mut(&id).expect("every id in the tables has its subscription");
        (id, subscription.subscribers.insert(peer))
    }

    /// Removes `peer`; whether it was there.
    pub fn remove(&mut self, id: Id, peer: PeerId) -> bool {
        let Some(subscription) = self.by_id.get_mut(&id) else { return false };
        let was_there = subscription.subscribers.remove(&peer);
        if subscription.subscribers.is_empty() {
            self.forget(id);
        }
        was_there
    }

    /// The subscriptions that `topic` reaches.
    pub fn matching(&self, topic: &str) -> Vec<&Subscription> {
        let mut found = Vec::new();
        found.extend(self.exact.get(topic));
        self.prefixes.matching(topic, &mut found);
        let parts: Vec<&str> = topic.split('.').collect();
        self.wildcards.matching(&parts, &mut found);
        found.into_iter().filter_map(|id| self.by_id.get(id)).collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    fn find(&self, matching: Match, pattern: &str) -> Option<Id> {
        match matching {
            Match::Exact => self.exact.get(pattern).copied(),
            Match::Prefix => self.prefixes.by_text.get(pattern).copied(),
            Match::Wildcard => self.wildcards.find(pattern),
        }
    }

    fn create(&mut self, matching: Match, pattern: &str) -> Id {
        self.last_id += 1;
        let id = self.last_id;
        match matching {
            Match::Exact => {
                self.exact.insert(pattern.to_owned(), id);
            }
            Match::Prefix => {
                self.prefixes.by_text.insert(pattern.to_owned(), id);
                *self.prefixes.lengths.entry(pattern.len()).or_default() += 1;
            }
            Match::Wildcard => self.wildcards.insert(pattern, id),
        }
        let subscribers = BTreeSet::new();
        self.by_id.insert(id, Subscription { id, matching, pattern: pattern.to_owned(), subscribers });
        id
    }

    fn forget(&mut self, id: Id) {
        let Some(gone) = self.by_id.remove(&id) else { return };
        match gone.matching {
            Match::Exact => {
                self.exact.remove(&gone.pattern);
            }
            Match::Prefix => self.prefixes.remove(&gone.pattern),
            Match::Wildcard => {
                let parts: Vec<&str> = gone.pattern.split('.').collect();
                self.wildcards.remove(&parts);
            }
        }
    }
}

impl Prefixes {
    fn matching<'a>(&'a self, topic: &str, found: &mut Vec<&'a Id>) {
        for length in self.lengths.range(..=topic.len()).map(|(length, _)| *length) {
            found.extend(topic.get(..length).and_then(|start| self.by_text.get(start)));
        }
    }

    fn remove(&mut self, pattern: &str) {
        self.by_text.remove(pattern);
        if let Some(count) = self.lengths.get_mut(&pattern.len()) {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&pattern.len());
            }
        }
    }
}

impl Node {
    fn insert(&mut self, pattern: &str, id: Id) {
        let mut node = self;
        for part in pattern.split('.') {
            node = match part {
                "" => node.any.get_or_insert_default(),
                named => node.named.entry(named.into()).or_default(),
            };
        }
        node.ends_here = Some(id);
    }

    fn find(&self, pattern: &str) -> Option<Id> {
        let mut node = self;
        for part in pattern.split('.') {
            node = match part {
                "" => node.any.as_deref()?,
                named => node.named.get(named)?,
            };
        }
        node.ends_here
    }

    fn matching<'a>(&'a self, parts: &[&str], found: &mut Vec<&'a Id>) {
        let Some((part, rest)) = parts.split_first() else {
            found.extend(self.ends_here.as_ref());
            return;
        };
        for next in self.named.get(*part).into_iter().chain(self.any.as_deref()) {
            next.matching(rest, found);
        }
    }

    /// Removes a pattern and the nodes that only it used.
    fn remove(&mut self, parts: &[&str]) {
        let Some((part, rest)) = parts.split_first() else {
            self.ends_here = None;
            return;
        };
        if part.is_empty() {
            if let Some(next) = self.any.as_deref_mut() {
                next.remove(rest);
                if next.is_unused() {
                    self.any = None;
                }
            }
        } else if let Some(next) = self.named.get_mut(*part) {
            next.remove(rest);
            if next.is_unused() {
                self.named.remove(*part);
            }
        }
    }

    fn is_unused(&self) -> bool {
        self.ends_here.is_none() && self.any.is_none() && self.named.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Few different components, so that patterns and topics meet often.
    fn pattern() -> impl Strategy<Value = (Match, String)> {
        let matching = prop_oneof![Just(Match::Exact), Just(Match::Prefix), Just(Match::Wildcard)];
        (matching, proptest::collection::vec("[ab]{0,2}", 1..4).prop_map(|parts| parts.join(".")))
    }

    proptest! {
        #[test]
        fn the_table_finds_what_the_definition_selects(
            patterns in proptest::collection::vec(pattern(), 1..30),
            removed in proptest::collection::vec(any::<bool>(), 30),
            topic in proptest::collection::vec("[ab]{1,2}", 1..4).prop_map(|parts| parts.join(".")),
        ) {
            let mut table = Subscriptions::default();
            let ids: Vec<Id> = patterns.iter().enumerate()
                .map(|(peer, (matching, pattern))| table.add(*matching, pattern, PeerId(peer as u64)).0)
                .collect();
            let mut expected = BTreeSet::new();
            for (peer, (matching, pattern)) in patterns.iter().enumerate() {
                if removed[peer] {
                    prop_assert!(table.remove(ids[peer], PeerId(peer as u64)));
                } else if matching.selects(pattern, &topic) {
                    expected.insert(PeerId(peer as u64));
                }
            }
            let found: BTreeSet<PeerId> =
                table.matching(&topic).iter().flat_map(|found| found.subscribers.iter().copied()).collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn nothing_is_left_of_removed_subscriptions(patterns in proptest::collection::vec(pattern(), 1..30)) {
            let mut table = Subscriptions::default();
            let ids: Vec<Id> =
                patterns.iter().map(|(matching, pattern)| table.add(*matching, pattern, PeerId(1)).0).collect();
            for id in ids {
                table.remove(id, PeerId(1));
            }
            prop_assert_eq!(table.len(), 0);
            prop_assert!(table.exact.is_empty() && table.prefixes.by_text.is_empty());
            prop_assert!(table.prefixes.lengths.is_empty() && table.wildcards.is_unused());
        }
    }
}
