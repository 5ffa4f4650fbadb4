//! Where a router is.

use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;

/// A router's address: `ws://HOST[:PORT][/PATH]`, `wss://…` or `ws+unix:/PATH/OF/SOCKET`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouterUrl {
    /// Over TCP.
    Tcp {
        /// Whether TLS is under it.
        tls: bool,
        /// Name or address; IPv6 without brackets.
        host: String,
        /// 80 or 443 when the address has none.
        port: u16,
        /// With its leading slash.
        path: String,
    },
    /// Over a unix socket.
    Unix(PathBuf),
}

/// An address that can't be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "'{url}' is no router's address: {problem}; write ws://HOST:PORT/PATH, wss://HOST:PORT/PATH or ws+unix:/PATH"
)]
pub struct BadUrl {
    url: String,
    problem: &'static str,
}

impl FromStr for RouterUrl {
    type Err = BadUrl;

    fn from_str(url: &str) -> Result<RouterUrl, BadUrl> {
        let bad = |problem| BadUrl { url: url.to_owned(), problem };
        if let Some(path) = url.strip_prefix("ws+unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path.starts_with('/') {
                true => Ok(RouterUrl::Unix(path.into())),
                false => Err(bad("the path of the socket must be absolute")),
            };
        }
        let (tls, rest) = match (url.strip_prefix("ws://"), url.strip_prefix("wss://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err(bad("it begins with none of the known schemes")),
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        if authority.contains('@') {
            return Err(bad("credentials belong into keys of their own"));
        }
        let (host, port) =
            split_port(authority).ok_or_else(|| bad("the port is no number from 1 to 65535"))?;
        if host.is_empty() {
            return Err(bad("the host is missing"));
        }
        let port = port.unwrap_or(if tls { 443 } else { 80 });
        Ok(RouterUrl::Tcp { tls, host: host.to_owned(), port, path: path.to_owned() })
    }
}

/// Host and port; the port is `None` when there is none.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, rest) = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => match authority.find(':') {
            Some(at) => authority.split_at(at),
            None => (authority, ""),
        },
    };
    match rest.strip_prefix(':') {
        Some(port) => Some((host, Some(port.parse().ok().filter(|port| *port != 0)?))),
        None => rest.is_empty().then_some((host, None)),
    }
}

impl std::fmt::Display for RouterUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RouterUrl::Unix(path) => write!(f, "ws+unix:{}", path.display()),
            RouterUrl::Tcp { tls, host, port, path } => {
                let scheme = if *tls { "wss" } else { "ws" };
                match host.contains(':') {
                    true => write!(f, "{scheme}://[{host}]:{port}{path}"),
                    false => write!(f, "{scheme}://{host}:{port}{path}"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for (url, written) in [
            ("ws://localhost:8080/ws", "ws://localhost:8080/ws"),
            ("wss://router", "wss://router:443/"),
            ("ws://[::1]:1/", "ws://[::1]:1/"),
            ("ws+unix:///run/r.sock", "ws+unix:/run/r.sock"),
            ("ws+unix:/run/r.sock", "ws+unix:/run/r.sock"),
        ] {
            assert_eq!(url.parse::<RouterUrl>().unwrap().to_string(), written);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (url, problem) in [
            ("http://router", "schemes"),
            ("ws://", "host"),
            ("ws://h:0/", "port"),
            ("ws://h:99999/", "port"),
            ("ws://u:p@h/", "credentials"),
            ("ws+unix:run", "absolute"),
        ] {
            let error = url.parse::<RouterUrl>().unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
    }
}
