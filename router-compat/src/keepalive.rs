//! When to ask a silent peer whether it lives, and when to give it up. Time is an argument.

use std::time::{Duration, Instant};

/// How many pings in a row may stay unanswered.
pub const PATIENCE: u32 = 2;

/// Watches one connection.
#[derive(Debug)]
pub struct Keepalive {
    silence: Duration,
    deadline: Instant,
    unanswered: u32,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing.
    Nothing,
    /// Send a ping.
    Ping,
    /// Close: the peer is dead.
    Close,
}

impl Keepalive {
    /// Pings after `silence`.
    pub fn new(silence: Duration, now: Instant) -> Keepalive {
        Keepalive { silence, deadline: now + silence, unanswered: 0 }
    }

    /// Something came from the peer.
    pub fn heard(&mut self, now: Instant) {
        self.unanswered = 0;
        self.deadline = now + self.silence;
    }

    /// When to ask for what is [due](Keepalive::due).
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// What is due.
    pub fn due(&mut self, now: Instant) -> Due {
        if now < self.deadline {
            return Due::Nothing;
        }
        if self.unanswered >= PATIENCE {
            return Due::Close;
        }
        self.unanswered += 1;
        self.deadline = now + self.silence;
        Due::Ping
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_pinged_then_given_up() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut keepalive = Keepalive::new(second, start);
        assert_eq!(keepalive.due(start), Due::Nothing);
        assert_eq!(keepalive.due(start + second), Due::Ping);
        assert_eq!(keepalive.due(start + second * 2), Due::Ping);
        keepalive.heard(start + second * 2);
        assert_eq!(keepalive.due(start + second * 2), Due::Nothing);
        for (at, due) in [(3, Due::Ping), (4, Due::Ping), (5, Due::Close)] {
            assert_eq!(keepalive.due(start + second * at), due);
        }
    }
}
