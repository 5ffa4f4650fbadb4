//! Finds out who asks: by the session, or by the header of a proxy that is believed.

use std::net::IpAddr;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, header},
    middleware::Next,
    response::Response,
};
use muster_config::snapshot::{LogInMethod, Snapshot};
use muster_core::pattern::Pattern;
use serde_json::{Map, Value};

use crate::{
    AppState,
    access_log::Peer,
    auth::{Session, UserInfo, Visitor},
    site::Secure,
};

/// Bytes of a proxy's header that are looked at.
const MAX_HEADER: usize = 1_024;

/// Puts who asks beside the request, for all that answer it.
pub(crate) async fn identify(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let config = state.config();
    let session = state.sessions.of(&state.data, request.headers()).await;
    let peer = request.extensions().get::<Peer>().cloned();
    let proxied = proxied(&config, request.headers(), peer.as_ref());
    let visitor = |session| Visitor::of(&config, &state.policies, session);
    let visitor = match &proxied {
        Ok(Some(info)) => visitor(Some(Session { info: info.clone(), ends: i64::MAX })),
        _ => visitor(session.clone()),
    };
    let secure = is_secure(&config, request.extensions().get::<Secure>().is_some());
    let warning = proxied.as_ref().err().cloned();
    request.extensions_mut().insert(visitor.warned(warning));
    let page = request
        .headers()
        .get(header::ACCEPT)
        .is_some_and(|accept| accept.as_bytes().starts_with(b"text/html"));
    let mut response = next.run(request).await;
    // Other masters, and event streams, know people by their session.
    if let Ok(Some(info)) = proxied
        && page
        && session.is_none_or(|session| session.info != info)
        && let Some(cookie) =
            state.sessions.cookie(&state.data, info, config.www.cookie_expiration_time, secure).await
    {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// Whether cookies go back over TLS only.
pub(super) fn is_secure(config: &Snapshot, over_tls: bool) -> bool {
    over_tls || config.buildbot_url.to_ascii_lowercase().starts_with("https://")
}

/// Who a proxy says it is; an error says why its header is not believed.
fn proxied(config: &Snapshot, headers: &HeaderMap, peer: Option<&Peer>) -> Result<Option<UserInfo>, String> {
    let Some(auth) = &config.www.auth else { return Ok(None) };
    let LogInMethod::RemoteUser { header, pattern, trusted_proxies } = &auth.method else { return Ok(None) };
    let peer = peer.map_or("-", |peer| &*peer.0);
    let mut values = headers.get_all(header).iter();
    let Some(value) = values.next() else {
        return Err(format!("missing http header {header}. Check your reverse proxy config!"));
    };
    if values.next().is_some() {
        return Err(format!(
            "the header {header} came more than once; the proxy must replace what clients send"
        ));
    }
    if !is_trusted(peer, trusted_proxies) {
        return Err(format!(
            "the header {header} is not believed from {peer}; name the proxy in trusted_proxies of c['www']['auth']"
        ));
    }
    let value = value.to_str().ok().filter(|value| value.len() <= MAX_HEADER);
    let pattern = Pattern::at_start(pattern).map_err(|error| error.to_string())?;
    let info = value.and_then(|value| named_groups(&pattern, value));
    let mut info =
        info.ok_or_else(|| format!("http header does not match regex! It is {:?}", value.unwrap_or("?")))?;
    if auth.email_is_username {
        let name = info.get("username").cloned().unwrap_or_default();
        info.insert("email".to_owned(), name);
    }
    Ok(Some(info))
}

fn named_groups(pattern: &Pattern, value: &str) -> Option<UserInfo> {
    let captures = pattern.captures(value)?;
    let named = pattern.group_names().into_iter().map(|name| {
        let text = captures.name(&name).map_or(Value::Null, |found| found.as_str().into());
        (name, text)
    });
    let info: Map<String, Value> = named.collect();
    info.get("username")
        .is_some_and(|name| name.as_str().is_some_and(|name| !name.is_empty()))
        .then_some(info)
}

fn is_trusted(peer: &str, proxies: &[String]) -> bool {
    // What comes through a socket of the file system has no address.
    let Ok(address) = peer.parse::<IpAddr>().map(|address| address.to_canonical()) else {
        return peer == "-";
    };
    address.is_loopback()
        || proxies.iter().filter_map(|proxy| Network::parse(proxy)).any(|network| network.has(address))
}

/// An address, or all that begin like it.
pub(super) struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    pub(super) fn parse(text: &str) -> Option<Network> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.trim().parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        (bits <= most).then_some(Network { address, bits })
    }

    fn has(&self, other: IpAddr) -> bool {
        let (one, other, width) = match (self.address, other) {
            (IpAddr::V4(one), IpAddr::V4(other)) => {
                (u128::from(one.to_bits()), u128::from(other.to_bits()), 32)
            }
            (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits(), other.to_bits(), 128),
            _ => return false,
        };
        (one ^ other).checked_shr(width - self.bits).unwrap_or(0) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_named_proxies_are_believed() {
        let named = ["10.1.0.0/16".to_owned(), "fd00::/8".to_owned(), "192.0.2.7".to_owned()];
        for (peer, trusted) in [
            ("127.0.0.1", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("-", true),
            ("10.1.2.3", true),
            ("10.2.2.3", false),
            ("fd00::1", true),
            ("fe80::1", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("nonsense", false),
        ] {
            assert_eq!(is_trusted(peer, &named), trusted, "{peer}");
        }
        assert!(is_trusted("203.0.113.9", &["0.0.0.0/0".to_owned()]));
        for bad in ["", "x", "10.0.0.0/33", "10.0.0.0/x", "::/129"] {
            assert!(Network::parse(bad).is_none(), "{bad}");
        }
    }
}
