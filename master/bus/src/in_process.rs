//! The bus inside one process.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::broadcast;

use super::counters::Counters;
use super::{BACKLOG, Carrier, Event, Received};

/// Hands events to the subscribers of this process.
pub(crate) struct InProcess {
    sender: broadcast::Sender<Received>,
    pub counters: Counters,
}

impl Default for InProcess {
    fn default() -> InProcess {
        InProcess { sender: broadcast::channel(BACKLOG).0, counters: Counters::default() }
    }
}

impl InProcess {
    /// Hands out without counting it as published here.
    pub fn tell(&self, received: Received) {
        // An error means that nobody listens, which is fine: events are hints.
        let _ = self.sender.send(received);
    }

    /// Hands out one of this process's own events.
    pub fn publish_shared(&self, event: Arc<Event>) {
        self.counters.published.increment();
        self.tell(Received::Event(event));
    }
}

impl Carrier for InProcess {
    fn publish(&self, event: Event) {
        self.publish_shared(Arc::new(event));
    }

    fn subscribe(&self) -> broadcast::Receiver<Received> {
        self.sender.subscribe()
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        self.counters.all()
    }

    fn ready(&self) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }
}
