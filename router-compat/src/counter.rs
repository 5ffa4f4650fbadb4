//! Numbers that people watch: in this process by name, and outside it through the facade `metrics`.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug)]
pub struct Counter {
    name: &'static str,
    description: &'static str,
    total: AtomicU64,
    /// Found at the first use: whoever collects for the process is there by then.
    told: OnceLock<metrics::Counter>,
}

impl Counter {
    /// A counter that others know as `name`.
    pub const fn new(name: &'static str, description: &'static str) -> Counter {
        Counter { name, description, total: AtomicU64::new(0), told: OnceLock::new() }
    }

    /// One more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, more: u64) {
        self.total.fetch_add(more, Ordering::Relaxed);
        self.told.get_or_init(|| self.find()).increment(more);
    }

    /// How many there are in this object; others of the same name count for themselves.
    pub fn get(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Makes it known before there is anything to count.
    pub fn announce(&self) {
        self.add(0);
    }

    fn find(&self) -> metrics::Counter {
        metrics::describe_counter!(self.name, self.description);
        metrics::counter!(self.name)
    }
}

/// A struct of counters: `NAME = counter!("METRIC"),`, each with its description as a doc comment.
#[macro_export]
macro_rules! counters {
    (
        $(#[$outer:meta])* $visibility:vis struct $struct:ident;
        $(#[doc = $doc:literal] $name:ident = counter!($metric:literal),)*
    ) => {
        $(#[$outer])*
        #[derive(Debug)]
        $visibility struct $struct { $(#[doc = $doc] pub $name: $crate::counter::Counter,)* }

        impl Default for $struct {
            fn default() -> $struct {
                $struct { $($name: $crate::counter::Counter::new($metric, $doc),)* }
            }
        }

        impl $struct {
            /// All of them by name.
            pub fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.get()),)*]
            }

            /// Makes them known before there is anything to count.
            pub fn announce(&self) {
                $(self.$name.announce();)*
            }
        }
    };
}
