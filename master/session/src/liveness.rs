//! When to say "I am alive", and when to give up on a peer that says nothing.

use std::time::{Duration, Instant};

/// How often each side says something when it has nothing to say. Well under the idle times of NAT boxes and proxies.
pub const HEARTBEAT: Duration = Duration::from_secs(10);

/// Shortest heartbeat that is honoured, whatever the terms say.
pub(crate) const MIN_HEARTBEAT: Duration = Duration::from_millis(50);

/// Heartbeats that may be missing before the peer counts as gone.
pub const MISSED: u32 = 3;

/// How long a peer may take for each step of an opening.
pub const OPENING_TIMEOUT: Duration = Duration::from_secs(10);

/// The two clocks of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Liveness {
    heartbeat: Duration,
    spoken: Instant,
    heard: Instant,
}

impl Liveness {
    pub(crate) fn new(heartbeat: Duration, now: Instant) -> Liveness {
        Liveness { heartbeat, spoken: now, heard: now }
    }

    pub(crate) fn spoke(&mut self, now: Instant) {
        self.spoken = now;
    }

    pub(crate) fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// When to look again.
    pub(crate) fn deadline(&self) -> Instant {
        self.heartbeat_due().min(self.gives_up())
    }

    pub(crate) fn must_speak(&self, now: Instant) -> bool {
        now >= self.heartbeat_due()
    }

    pub(crate) fn is_dead(&self, now: Instant) -> bool {
        now >= self.gives_up()
    }

    pub(crate) fn silence(&self, now: Instant) -> Duration {
        now.duration_since(self.heard)
    }

    fn heartbeat_due(&self) -> Instant {
        self.spoken + self.heartbeat
    }

    fn gives_up(&self) -> Instant {
        self.heard + self.heartbeat * MISSED
    }
}
