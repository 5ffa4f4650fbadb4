//! Which site this is: the names that it may be asked by, and whose pages may give it orders.
//!
//! A name in `Host` that is not ours is a page elsewhere that has bound its own name to our address (DNS rebinding): to the
//! browser such a page and this server are one site. So "listens on this machine only" protects nothing without it.

use std::net::IpAddr;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode, Uri, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};
use muster_config::snapshot::Snapshot;
use serde_json::json;

use crate::AppState;

/// Marks requests of a listener that takes connections of this machine only.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThisMachineOnly;

/// Marks requests that came over TLS.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Secure;

/// Ends of names that no public name server answers for: those inside a Kubernetes cluster.
const INSIDE: [&str; 2] = [".svc", ".cluster.local"];

/// What only pages of this site may ask for, although it is no form: event streams, and hooks, which also take GET.
const OWN_PAGES_ONLY: [&str; 3] = ["/ws", "/sse", "/change_hook"];

/// Refuses names that are not this site's, and pages of others where they would listen or give orders.
pub(crate) async fn guard(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let config = state.config();
    let this_machine = request.extensions().get::<ThisMachineOnly>().is_some();
    let (uri, headers) = (request.uri(), request.headers());
    if let Some(name) = foreign_name(&config, this_machine, uri, headers) {
        return refused(uri, StatusCode::MISDIRECTED_REQUEST, &not_known_as(&name));
    }
    let path = uri.path();
    let guarded = |prefix: &&str| {
        path.strip_prefix(*prefix).is_some_and(|rest| matches!(rest.bytes().next(), None | Some(b'/')))
    };
    if OWN_PAGES_ONLY.iter().any(guarded) && !is_same_site(headers, &config) {
        return refused(uri, StatusCode::FORBIDDEN, OF_ANOTHER_SITE);
    }
    next.run(request).await
}

/// What a refused page is told.
pub(crate) const OF_ANOTHER_SITE: &str = "This request came from a page of another site. If a proxy stands in front of this server, it must pass the Host header \
     on, or c['buildbotURL'] must be the address that browsers see; pages of other sites are let in by \
     c['www']['allowed_origins'].";

fn not_known_as(name: &str) -> String {
    let name: String = name.chars().take(MAX_SHOWN).collect();
    format!(
        "This server is not known as {name:?}. If that is its name, make c['buildbotURL'] the address that browsers see, or \
         name it in c['www']['allowed_origins']."
    )
}

/// Characters of a foreign name that the answer repeats: as long as names may be.
const MAX_SHOWN: usize = 255;

fn refused(uri: &Uri, status: StatusCode, why: &str) -> Response {
    if uri.path().starts_with("/api") {
        let media_type = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
        return (status, media_type, json!({"error": why}).to_string()).into_response();
    }
    (status, format!("{why}\n")).into_response()
}

/// The name of a request that isn't ours. Without a name it comes from no browser of today.
fn foreign_name(config: &Snapshot, this_machine: bool, uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let own = host_of_url(&config.buildbot_url);
    // Where nobody said how this server is called, whoever can reach it over the network may call it as they like.
    if !this_machine && own.as_deref().is_none_or(is_nobodys) {
        return None;
    }
    let named = headers.get_all(header::HOST).iter().map(|host| host.to_str().unwrap_or("?").to_owned());
    let mut named = uri.authority().map(|authority| authority.as_str().to_owned()).into_iter().chain(named);
    named.find(|named| match host_of(named) {
        Some(host) => !(own.as_ref() == Some(&host) || is_nobodys(&host) || is_allowed_host(config, &host)),
        None => true,
    })
}

/// Whether nobody elsewhere can have this name: addresses, this machine's names for itself, and names without a dot.
fn is_nobodys(host: &str) -> bool {
    let is_address = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    is_address
        || !host.contains('.')
        || host.ends_with(".localhost")
        || INSIDE.iter().any(|end| host.ends_with(end))
}

/// Whether `allowed_origins` has pages of this host.
fn is_allowed_host(config: &Snapshot, host: &str) -> bool {
    let patterns = config.www.allowed_origins.iter().flatten();
    patterns.into_iter().any(|pattern| {
        let pattern = pattern.to_lowercase();
        let pattern = pattern.split_once("://").map_or(pattern.as_str(), |(_, rest)| rest);
        let without_port = match pattern.rsplit_once(':') {
            Some((host, port)) if port.chars().all(|c| c.is_ascii_digit() || c == '*') => host,
            _ => pattern,
        };
        matches(without_port, host)
    })
}

/// `ci.example.org` of `ci.example.org:8010`; `None` when it is none.
fn host_of(authority: &str) -> Option<String> {
    let authority: Authority = authority.parse().ok()?;
    Some(authority.host().trim_end_matches('.').to_lowercase()).filter(|host| !host.is_empty())
}

fn host_of_url(url: &str) -> Option<String> {
    host_of(url.parse::<Uri>().ok()?.authority()?.as_str())
}

/// The pages that may use everything here besides our own: those of `c['buildbotURL']`, or those of `allowed_origins`.
pub(crate) fn is_allowed_origin(config: &Snapshot, origin: &str) -> bool {
    let origin = origin.to_lowercase();
    match &config.www.allowed_origins {
        Some(patterns) => patterns.iter().any(|pattern| matches(&pattern.to_lowercase(), &origin)),
        None => origin_of(&config.buildbot_url).is_some_and(|own| own.to_lowercase() == origin),
    }
}

/// A glob as in a shell: `*`, `?`, `[…]`. A pattern that is none matches only itself.
fn matches(pattern: &str, text: &str) -> bool {
    glob::Pattern::new(pattern).map_or(pattern == text, |pattern| pattern.matches(text))
}

/// Whether a request may come from a page of this site. Browsers say where a post comes from; what says nothing is no
/// browser and carries nobody's rights. Names were looked at before, so an origin that is `Host` is ours.
pub(crate) fn is_same_site(headers: &HeaderMap, config: &Snapshot) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let origin = text(header::ORIGIN.as_str());
    let own = origin_of(&config.buildbot_url);
    if origin.is_some_and(|origin| is_allowed_origin(config, origin) || own == Some(origin)) {
        return true;
    }
    if let Some(site) = text("sec-fetch-site") {
        return matches!(site, "same-origin" | "none");
    }
    let Some(origin) = origin else { return true };
    let Some((_, authority)) = origin.split_once("://") else { return false };
    text(header::HOST.as_str()) == Some(authority)
}

/// `https://host:port` of an address.
fn origin_of(url: &str) -> Option<&str> {
    let start = url.find("://")? + 3;
    let end = url[start..].find('/').map_or(url.len(), |slash| start + slash);
    Some(&url[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn config(url: &str, origins: Option<&[&str]>) -> Snapshot {
        let mut config = Snapshot { buildbot_url: url.to_owned(), ..Snapshot::empty() };
        config.www.allowed_origins = origins.map(|all| all.iter().map(|one| (*one).to_owned()).collect());
        config
    }

    fn headers(given: &[(&'static str, &str)]) -> HeaderMap {
        given
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    fn is_foreign(config: &Snapshot, this_machine: bool, host: &str) -> bool {
        foreign_name(config, this_machine, &Uri::from_static("/"), &headers(&[("host", host)])).is_some()
    }

    #[test]
    fn names_that_are_not_ours_are_found() {
        let unnamed = config("http://localhost:8010/", None);
        let named = config("https://CI.example.org/ci/", None);
        let ours =
            ["localhost:8010", "127.0.0.1", "[::1]:8010", "10.1.2.3:80", "x.localhost", "muster-1:8010"];
        for host in ours.into_iter().chain(["m.ci.svc", "m.ci.svc.cluster.local:8010"]) {
            for (config, this_machine) in
                [(&unnamed, true), (&unnamed, false), (&named, true), (&named, false)]
            {
                assert!(!is_foreign(config, this_machine, host), "{host}");
            }
        }
        for host in [
            "evil.example",
            "evil.example:8010",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "a b",
            "",
        ] {
            assert!(is_foreign(&unnamed, true, host), "{host}");
            assert!(is_foreign(&named, false, host), "{host}");
            assert!(!is_foreign(&unnamed, false, host), "{host}: nobody said how the server is called");
        }
        for host in ["ci.example.org", "ci.EXAMPLE.org.:443"] {
            assert!(!is_foreign(&named, true, host), "{host}");
        }
        let more =
            config("https://ci.example.org/", Some(&["https://*.example.com", "http://ui.example.net:80"]));
        for (host, foreign) in [
            ("a.example.com", false),
            ("ui.example.net:8010", false),
            ("ci.example.org", false),
            ("x.example.net", true),
        ] {
            assert_eq!(is_foreign(&more, false, host), foreign, "{host}");
        }
    }

    #[test]
    fn a_name_in_the_address_and_each_of_several_counts() {
        let config = config("https://ci.example.org/", None);
        let absolute = Uri::from_static("http://evil.example/");
        assert!(foreign_name(&config, false, &absolute, &headers(&[("host", "ci.example.org")])).is_some());
        let mut two = headers(&[("host", "ci.example.org")]);
        two.append(header::HOST, HeaderValue::from_static("evil.example"));
        assert!(foreign_name(&config, false, &Uri::from_static("/"), &two).is_some());
        assert!(foreign_name(&config, true, &Uri::from_static("/"), &HeaderMap::new()).is_none(), "HTTP/1.0");
    }

    #[test]
    fn only_pages_of_this_site_and_allowed_ones_give_orders() {
        let config = config("https://ci.example.org/ci/", None);
        let allowed = self::config("https://ci.example.org/", Some(&["https://ui.example.net"]));
        let cases: &[(&[(&'static str, &str)], bool)] = &[
            (&[], true),
            (&[("origin", "https://ci.example.org")], true),
            (&[("origin", "http://h:1"), ("host", "h:1")], true),
            (&[("origin", "http://h:2"), ("host", "h:1")], false),
            (&[("origin", "null"), ("host", "h:1")], false),
            (&[("origin", "null"), ("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "none")], true),
            (&[("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")], false),
            (&[("origin", "https://ui.example.net"), ("sec-fetch-site", "cross-site")], false),
        ];
        for (given, passes) in cases {
            assert_eq!(is_same_site(&headers(given), &config), *passes, "{given:?}");
        }
        assert!(is_same_site(&headers(cases[10].0), &allowed));
    }

    #[test]
    fn the_origin_ends_before_the_path() {
        assert_eq!(origin_of("https://ci.example.org/bb/"), Some("https://ci.example.org"));
        assert_eq!(origin_of("http://localhost:8010"), Some("http://localhost:8010"));
    }
}
