//! Events: what happened, told after the commit. A lost event costs latency, never work (rule 1).
//!
//! Inside one process events go from hand to hand; between masters they also travel over a WAMP router, under the
//! names that Buildbot's masters use. Subscribers see no difference.

mod backoff;
mod counters;
mod in_process;
mod names;
mod wamp;

use std::sync::Arc;
use std::time::Duration;

use muster_core::{Topic, TopicFilter};
use muster_store::Committed;
use serde_json::Value;
use tokio::sync::broadcast::{self, error::TryRecvError};

use in_process::InProcess;
pub use names::EVERYTHING;
pub use wamp::{WampDriver, WampOptions};

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
    /// Who told it.
    pub origin: Origin,
}

/// Who told an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This process.
    Here,
    /// Another master, over the router: of Muster or of Buildbot.
    Elsewhere,
    /// Somebody on the router who has no role that gives orders.
    WithoutOrders,
}

impl Event {
    /// An event under the names of `paths`, each written with slashes.
    pub fn new(paths: impl IntoIterator<Item = String>, payload: Value) -> Event {
        let topics = paths.into_iter().map(|path| Topic::parse(&path)).collect();
        Event { topics, payload, origin: Origin::Here }
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
    /// At least so many events were lost: look at everything once.
    Missed(u64),
}

/// What carries events to subscribers.
trait Carrier: Send + Sync {
    /// Tells everybody. Never waits: what can't be told at once is dropped and counted.
    fn publish(&self, event: Event);
    /// Everything from now on.
    fn subscribe(&self) -> broadcast::Receiver<Received>;
    /// Counters by name, since the start.
    fn counters(&self) -> Vec<(&'static str, u64)>;
    /// Returns when events reach other processes.
    fn ready(&self) -> futures_util::future::BoxFuture<'_, ()>;
}

/// The bus. Clones are the same bus.
#[derive(Clone)]
pub struct Bus(Arc<dyn Carrier>);

impl Default for Bus {
    /// A bus inside this process.
    fn default() -> Bus {
        Bus(Arc::new(InProcess::default()))
    }
}

impl Bus {
    /// A bus that other masters share, over a WAMP router. It carries events inside this process at once, and to the
    /// others while the driver runs and the router is there.
    pub fn wamp(options: WampOptions) -> (Bus, WampDriver) {
        let (carrier, driver) = wamp::pair(options);
        (Bus(Arc::new(carrier)), driver)
    }

    /// Tells everybody what a committed transaction did.
    pub fn publish(&self, events: Committed<Vec<Event>>) {
        for event in events.into_inner() {
            self.0.publish(event);
        }
    }

    /// Everything from now on. The subscriber filters; see [`Event::matching`].
    pub fn subscribe(&self) -> Subscription {
        Subscription(self.0.subscribe())
    }

    /// Counters by name, since the start.
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        self.0.counters()
    }

    /// Waits until events reach other processes, but not longer than `patience`; whether they do.
    pub async fn ready(&self, patience: Duration) -> bool {
        tokio::time::timeout(patience, self.0.ready()).await.is_ok()
    }
}

/// A place in the stream of events.
pub struct Subscription(broadcast::Receiver<Received>);

impl Subscription {
    /// Waits for the next event; `None` when the bus is gone.
    pub async fn next(&mut self) -> Option<Received> {
        match self.0.recv().await {
            Ok(received) => Some(received),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(missed_some(missed)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }

    /// The next one, if it has come already.
    pub fn try_next(&mut self) -> Option<Received> {
        match self.0.try_recv() {
            Ok(received) => Some(received),
            Err(TryRecvError::Lagged(missed)) => Some(missed_some(missed)),
            Err(TryRecvError::Empty | TryRecvError::Closed) => None,
        }
    }

    /// Waits until an event that `wanted` selects came, or some were missed; `false` when the bus is gone. All others that
    /// have come by then are dropped: who is about to look at the rows sees what they tell, and one look does for a burst.
    pub async fn wait_for(&mut self, wanted: impl Fn(&Event) -> bool) -> bool {
        loop {
            match self.next().await {
                Some(Received::Event(event)) if !wanted(&event) => {}
                Some(_) => break,
                None => return false,
            }
        }
        while !matches!(self.0.try_recv(), Err(TryRecvError::Empty | TryRecvError::Closed)) {}
        true
    }
}

fn missed_some(missed: u64) -> Received {
    metrics::counter!("muster_bus_missed_total").increment(missed);
    Received::Missed(missed)
}
