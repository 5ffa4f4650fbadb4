//! Publish and subscribe in one realm.

use std::collections::{BTreeSet, HashMap};

use super::subscriptions::{Subscription, Subscriptions};
use super::{Output, PeerId};
use crate::codec::{Frame, ListWriter, Serialisation, payload_length};
use crate::message::{Dict, Id, Payload, kind};
use crate::uri::Match;

/// Who wants what.
#[derive(Default)]
pub(super) struct Broker {
    subscriptions: Subscriptions,
    of_peer: HashMap<PeerId, BTreeSet<Id>>,
}

/// An accepted publication.
pub(super) struct Publication {
    pub id: Id,
    pub topic: String,
    pub payload: Payload,
    /// Who published it, where that is told.
    pub publisher: Option<Dict>,
    /// Who does not get it.
    pub excluded: Option<PeerId>,
}

impl Broker {
    /// Subscribes; `None` when the peer already has `limit` subscriptions.
    pub fn subscribe(&mut self, peer: PeerId, matching: Match, uri: &str, limit: usize) -> Option<Id> {
        let own = self.of_peer.entry(peer).or_default();
        let (id, is_new) = self.subscriptions.add(matching, uri, peer);
        if is_new && own.len() >= limit {
            self.subscriptions.remove(id, peer);
            return None;
        }
        own.insert(id);
        Some(id)
    }

    /// Ends a subscription; whether there was one.
    pub fn unsubscribe(&mut self, peer: PeerId, id: Id) -> bool {
        self.of_peer.get_mut(&peer).is_some_and(|own| own.remove(&id)) && self.subscriptions.remove(id, peer)
    }

    /// Ends all subscriptions of a peer.
    pub fn forget(&mut self, peer: PeerId) {
        for id in self.of_peer.remove(&peer).unwrap_or_default() {
            self.subscriptions.remove(id, peer);
        }
    }

    /// How many subscriptions there are.
    pub fn len(&self) -> usize {
        self.subscriptions.len()
    }

    /// Hands a publication to everybody who wants it and is meant; to how many.
    pub fn publish(
        &self,
        publication: &Publication,
        is_meant: impl Fn(PeerId) -> bool,
        serialisation_of: impl Fn(PeerId) -> Serialisation,
        out: &mut Vec<Output>,
    ) -> u64 {
        let mut bodies = Bodies::default();
        let mut sent = 0;
        for subscription in self.subscriptions.matching(&publication.topic) {
            let mut frames: [Option<Frame>; 2] = [None, None];
            let meant = |to: &&PeerId| publication.excluded != Some(**to) && is_meant(**to);
            for &to in subscription.subscribers.iter().filter(meant) {
                let serialisation = serialisation_of(to);
                let frame = frames[serialisation as usize]
                    .get_or_insert_with(|| bodies.event(serialisation, subscription, publication));
                out.push(Output::Send { to, frame: frame.clone(), droppable: true });
                sent += 1;
            }
        }
        sent
    }
}

/// The part of EVENT that is the same for all subscriptions of a kind, encoded once for each serialisation.
#[derive(Default)]
struct Bodies {
    exact: [Option<ListWriter>; 2],
    pattern: [Option<ListWriter>; 2],
}

impl Bodies {
    fn event(&mut self, serialisation: Serialisation, to: &Subscription, publication: &Publication) -> Frame {
        let is_exact = to.matching == Match::Exact;
        let bodies = if is_exact { &mut self.exact } else { &mut self.pattern };
        let body = bodies[serialisation as usize].get_or_insert_with(|| {
            let mut details = publication.publisher.clone().unwrap_or_default();
            if !is_exact {
                details.insert("topic".to_owned(), publication.topic.as_str().into());
            }
            ListWriter::fragment(serialisation).dict(&details).payload(&publication.payload)
        });
        ListWriter::new(serialisation, 4 + payload_length(&publication.payload))
            .number(kind::EVENT)
            .number(to.id)
            .number(publication.id)
            .elements(body)
            .finish()
    }
}
