//! What happened, line by line: two runs of one seed must agree in all of it.

use std::{
    fmt::Display,
    sync::{Arc, Mutex},
};

use muster_bus::{Bus, Received};
use tokio::time::Instant;

/// The trace of a seed. Clones write into the same one.
#[derive(Clone)]
pub(super) struct Trace {
    begin: Instant,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Trace {
    pub(super) fn new() -> Trace {
        Trace { begin: Instant::now(), lines: Arc::default() }
    }

    /// Notes what happens now.
    pub(super) fn note(&self, what: impl Display) {
        self.lines.lock().unwrap().push(format!("{:>9.3?} {what}", self.begin.elapsed()));
    }

    /// Notes every event from now on: they tell what was committed, and in which order.
    pub(super) fn follow(&self, bus: &Bus) {
        let (mut events, trace) = (bus.subscribe(), self.clone());
        tokio::spawn(async move {
            while let Some(received) = events.next().await {
                match received {
                    Received::Event(event) => {
                        trace.note(format_args!("{:?} {}", event.topics, event.payload))
                    }
                    Received::Missed(missed) => trace.note(format_args!("{missed} events were missed")),
                }
            }
        });
    }

    /// The last lines so far.
    pub(super) fn last(&self, count: usize) -> String {
        let lines = self.lines.lock().unwrap();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }

    /// All lines so far.
    pub(super) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}
