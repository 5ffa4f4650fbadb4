//! Reaching a master: its address, the race of its IP addresses, and how long to wait between dials.

use std::time::Duration;

use crate::transport::{Transport, TransportError};

/// The port of `c['protocols'] = {'session': …}` when none is named.
pub const DEFAULT_PORT: u16 = 9990;

/// Where a master listens: `ws://host[:port]`, an IPv6 address in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MasterUrl {
    /// A name or an address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Text that is no [`MasterUrl`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a master's address: {problem}; write ws://HOST or ws://HOST:PORT")]
pub struct BadUrl {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl std::str::FromStr for MasterUrl {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<MasterUrl, BadUrl> {
        todo!()
    }
}

/// Connects: resolves the name at each call, tries its addresses as RFC 8305 says, and speaks WebSocket.
///
/// # Errors
/// When no address answers, or what answers is no master.
pub async fn connect(url: &MasterUrl) -> Result<Transport, TransportError> {
    todo!()
}

/// Waits between dials that fail: doubling from [`Backoff::FIRST`] to [`Backoff::LAST`], with some randomness.
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// After the first failure.
    pub const FIRST: Duration = Duration::from_millis(200);
    /// At most.
    pub const LAST: Duration = Duration::from_secs(30);

    /// How long to wait after one more failure.
    pub fn failed(&mut self) -> Duration {
        todo!()
    }

    /// A session was up: begin anew.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}
