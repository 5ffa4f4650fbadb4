//! Events: what happened, told after the commit. A lost event costs latency, never work (rule 1).

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use muster_core::{Topic, TopicFilter};
use muster_store::Committed;
use serde_json::Value;
use tokio::sync::broadcast;

/// Events that a subscriber may lag behind; then it loses the oldest and is told [`Received::Missed`].
///
/// A build makes about 50 events, so this holds the burst of some hundred builds.
pub const BACKLOG: usize = 16_384;

/// Something that happened to a resource.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// All names under which it is told; the payload is the same.
    pub topics: Vec<Topic>,
    /// The resource, as REST shows it.
    pub payload: Value,
}

impl Event {
    /// An event under the names of `paths`, each written with slashes.
    pub fn new(paths: impl IntoIterator<Item = String>, payload: Value) -> Event {
        Event { topics: paths.into_iter().map(|path| Topic::parse(&path)).collect(), payload }
    }

    /// The first of its names that `filter` selects.
    pub fn matching(&self, filter: &TopicFilter) -> Option<&Topic> {
        self.topics.iter().find(|topic| filter.matches(topic))
    }
}

/// What a subscriber gets.
#[derive(Clone, Debug)]
pub enum Received {
    /// An event.
    Event(Arc<Event>),
    /// So many events were lost: look at everything once.
    Missed(u64),
}

/// The bus inside one process. Clones are the same bus.
#[derive(Clone)]
pub struct Bus(Arc<Inner>);

struct Inner {
    sender: broadcast::Sender<Arc<Event>>,
    published: AtomicU64,
}

impl Default for Bus {
    fn default() -> Bus {
        let (sender, _) = broadcast::channel(BACKLOG);
        Bus(Arc::new(Inner { sender, published: AtomicU64::new(0) }))
    }
}

impl Bus {
    /// Tells everybody what a committed transaction did.
    pub fn publish(&self, events: Committed<Vec<Event>>) {
        for event in events.into_inner() {
            self.0.published.fetch_add(1, Ordering::Relaxed);
            // An error means that nobody listens, which is fine: events are hints.
            let _ = self.0.sender.send(Arc::new(event));
        }
    }

    /// Everything from now on. The subscriber filters; see [`Event::matching`].
    pub fn subscribe(&self) -> Subscription {
        Subscription(self.0.sender.subscribe())
    }

    /// Events published since the start.
    pub fn published(&self) -> u64 {
        self.0.published.load(Ordering::Relaxed)
    }
}

/// A place in the stream of events.
pub struct Subscription(broadcast::Receiver<Arc<Event>>);

impl Subscription {
    /// Waits for the next event; `None` when the bus is gone.
    pub async fn next(&mut self) -> Option<Received> {
        match self.0.recv().await {
            Ok(event) => Some(Received::Event(event)),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(Received::Missed(missed)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }

    /// Waits until an event that `wanted` selects came, or some were missed; `false` when the bus is gone.
    pub async fn wait_for(&mut self, wanted: impl Fn(&Event) -> bool) -> bool {
        loop {
            match self.next().await {
                Some(Received::Event(event)) if !wanted(&event) => {}
                Some(_) => return true,
                None => return false,
            }
        }
    }
}
