//! What the router counts.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters since the start; all only grow.
        #[derive(Debug, Default)]
        pub struct RouterMetrics { $($(#[$doc])* pub $name: Counter,)* }

        impl RouterMetrics {
            /// All counters by name.
            pub fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.get()),)*]
            }
        }
    };
}

counters! {
    /// Connections that were accepted.
    connections,
    /// Connections that were closed because there were too many.
    connections_refused,
    /// Sessions that joined a realm.
    sessions_joined,
    /// Openings that were refused: wrong realm, wrong authentication.
    sessions_refused,
    /// Sessions that ended.
    sessions_left,
    /// Peers that broke the protocol: garbage, oversized frames, messages out of order.
    protocol_violations,
    /// Peers that stayed silent.
    peers_timed_out,
    /// Peers that did not read even answers.
    peers_too_slow,
    /// Publications that were accepted.
    publications,
    /// Publications that were refused.
    publications_refused,
    /// Events that were handed to subscribers.
    events,
    /// Events that were dropped because their subscriber did not read.
    events_dropped,
    /// Subscriptions that were refused.
    subscriptions_refused,
    /// Calls that reached a procedure.
    calls,
    /// Calls that were refused, or whose procedure went away.
    calls_failed,
}

/// A number that grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// How many there are.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
