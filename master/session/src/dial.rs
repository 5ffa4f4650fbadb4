//! Reaching a master: its address, the race of its IP addresses, and how long to wait between dials.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use muster_net::{AnyStream, connect_tls};
use tokio::net::TcpStream;

use crate::transport::{Transport, TransportError};
use crate::websocket;

/// The port of `c['protocols'] = {'session': …}` when none is named.
pub const DEFAULT_PORT: u16 = 9990;

/// How long one address may be silent before the next one is tried beside it (RFC 8305, section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// How long name, addresses, TLS and WebSocket may take together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Addresses of one name that are tried; real names have a handful.
const MAX_ADDRESSES: usize = 16;

/// Where a master listens: `ws://host[:port]`, or `wss://` with TLS; an IPv6 address in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MasterUrl {
    /// A name or an address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Whether TLS is spoken there. The master's certificate must be for `host`.
    pub tls: bool,
}

/// Text that is no [`MasterUrl`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a master's address: {problem}; write ws://HOST or ws://HOST:PORT (wss:// with TLS)")]
pub struct BadUrl {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl std::str::FromStr for MasterUrl {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<MasterUrl, BadUrl> {
        parse(text).map_err(|problem| BadUrl { text: text.to_owned(), problem })
    }
}

impl std::fmt::Display for MasterUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls { "wss" } else { "ws" };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}", self.host, self.port),
            false => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

fn parse(text: &str) -> Result<MasterUrl, &'static str> {
    let (tls, rest) = match text.split_once("://") {
        Some(("ws", rest)) => (false, rest),
        Some(("wss", rest)) => (true, rest),
        Some(_) => return Err("the scheme must be ws or wss"),
        None => return Err("the scheme is missing"),
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = match authority.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']').ok_or("the ']' of the address is missing")?,
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    if host.is_empty() || host.contains(['/', '@', '?', '#', ' ', '[', ']']) {
        return Err("the host is missing or has odd characters");
    }
    let port = match port.strip_prefix(':') {
        Some(digits) => digits.parse().ok().filter(|port| *port > 0).ok_or("the port is not 1 to 65535")?,
        None if port.is_empty() => DEFAULT_PORT,
        None => return Err("something odd follows the host"),
    };
    Ok(MasterUrl { host: host.to_owned(), port, tls })
}

/// Connects: resolves the name at each call, tries its addresses as RFC 8305 says, and speaks WebSocket.
///
/// # Errors
/// When no address answers in time, or what answers is no master.
pub async fn connect(url: &MasterUrl) -> Result<Transport, TransportError> {
    let dial = async {
        let found = tokio::net::lookup_host((url.host.as_str(), url.port)).await?;
        let stream = race(interleave(found)).await?;
        stream.set_nodelay(true)?;
        let stream: AnyStream = match url.tls {
            true => connect_tls(Box::new(stream), &url.host).await?,
            false => Box::new(stream),
        };
        websocket::request(stream, &format!("{url}/")).await
    };
    tokio::time::timeout(CONNECT_TIMEOUT, dial).await.unwrap_or_else(|_| {
        let problem = format!("no answer within {CONNECT_TIMEOUT:?}");
        Err(std::io::Error::new(std::io::ErrorKind::TimedOut, problem).into())
    })
}

/// Both families by turns, beginning with the one that the resolver prefers.
fn interleave(found: impl Iterator<Item = SocketAddr>) -> VecDeque<SocketAddr> {
    let found: Vec<SocketAddr> = found.take(MAX_ADDRESSES).collect();
    let first_is_v6 = found.first().is_some_and(SocketAddr::is_ipv6);
    let (mut preferred, mut others): (VecDeque<_>, VecDeque<_>) =
        found.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let mut order = VecDeque::new();
    while !(preferred.is_empty() && others.is_empty()) {
        order.extend(preferred.pop_front());
        order.extend(others.pop_front());
    }
    order
}

/// The first address that answers. The next one is tried when the last one fails, or is silent for a while.
async fn race(mut addresses: VecDeque<SocketAddr>) -> std::io::Result<TcpStream> {
    let mut attempts = FuturesUnordered::new();
    let mut problems = Vec::new();
    loop {
        if let Some(address) = addresses.pop_front() {
            attempts.push(async move { (address, TcpStream::connect(address).await) });
        }
        let delay = tokio::time::sleep(ATTEMPT_DELAY);
        tokio::pin!(delay);
        loop {
            tokio::select! {
                attempt = attempts.next() => match attempt {
                    Some((_, Ok(stream))) => return Ok(stream),
                    Some((address, Err(error))) => problems.push(format!("{address}: {error}")),
                    None => return Err(nobody_answered(&problems)),
                },
                () = &mut delay, if !addresses.is_empty() => {}
            }
            if !addresses.is_empty() {
                break;
            }
        }
    }
}

fn nobody_answered(problems: &[String]) -> std::io::Error {
    match problems {
        [] => std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address"),
        _ => std::io::Error::new(std::io::ErrorKind::ConnectionRefused, problems.join("; ")),
    }
}

/// Waits between dials that fail: doubling from [`Backoff::FIRST`] to [`Backoff::LAST`], with some randomness, so that
/// the workers of a lost master don't come back all at once.
#[derive(Clone, Debug)]
pub struct Backoff {
    failures: u32,
    last: Duration,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff::up_to(Backoff::LAST)
    }
}

impl Backoff {
    /// About the wait after the first failure.
    pub const FIRST: Duration = Duration::from_millis(200);
    /// The longest one.
    pub const LAST: Duration = Duration::from_secs(30);

    /// The same, for somebody who is waited for: with this as the longest wait.
    pub fn up_to(last: Duration) -> Backoff {
        Backoff { failures: 0, last }
    }

    /// How long to wait after one more failure: between half and all of the doubled time.
    pub fn failed(&mut self) -> Duration {
        let full = Backoff::FIRST.saturating_mul(1 << self.failures.min(16)).min(self.last);
        self.failures = self.failures.saturating_add(1);
        full.mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    /// A session was up: begin anew.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_masters() {
        let url = |text: &str| text.parse::<MasterUrl>().map(|url| url.to_string());
        assert_eq!(url("ws://ci.example.org").unwrap(), "ws://ci.example.org:9990");
        assert_eq!(url("ws://127.0.0.1:80/").unwrap(), "ws://127.0.0.1:80");
        assert_eq!(url("ws://[::1]:7").unwrap(), "ws://[::1]:7");
        assert_eq!(url("ws://[::1]").unwrap(), "ws://[::1]:9990");
        assert_eq!(url("wss://ci.example.org:443").unwrap(), "wss://ci.example.org:443");
        for bad in ["ci", "http://ci", "ws://", "ws://ci:0", "ws://ci:x", "ws://[::1", "ws://a/b"] {
            let error = url(bad).unwrap_err();
            assert!(error.to_string().contains("write ws://HOST"), "{error}");
        }
    }

    #[test]
    fn families_take_turns() {
        let found = ["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1"].map(|text| text.parse().unwrap());
        let order: Vec<String> = interleave(found.into_iter()).iter().map(ToString::to_string).collect();
        assert_eq!(order, ["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"]);
    }

    #[tokio::test]
    async fn a_refused_address_does_not_matter() {
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap();
        let stream = race(VecDeque::from([gone, here])).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), here);
        let error = race(VecDeque::from([gone])).await.unwrap_err();
        assert!(error.to_string().contains(&gone.to_string()), "{error}");
        assert!(race(VecDeque::new()).await.is_err());
    }

    #[test]
    fn waits_grow_and_begin_anew() {
        let mut backoff = Backoff::default();
        let first = backoff.failed();
        assert!(first <= Backoff::FIRST && first >= Backoff::FIRST / 2);
        for _ in 0..40 {
            assert!(backoff.failed() <= Backoff::LAST);
        }
        assert!(backoff.failed() >= Backoff::LAST / 2);
        backoff.reset();
        assert!(backoff.failed() <= Backoff::FIRST);
    }
}
