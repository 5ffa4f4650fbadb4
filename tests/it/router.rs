//! `muster router`, and masters whose router goes away.

use std::net::SocketAddr;
use std::time::Duration;

use muster_tests::{Authority, Master, Postgres, Process, Results, Router, Site, binary, http, until};
use serde_json::json;

use crate::devtools::Browser;
use crate::events::Events;

/// How long the router stays away: longer than the longest pause between two dials, so that the master has to find it again
/// by itself. `MUSTER_ROUTER_AWAY` (seconds) makes it longer; `make outage` takes a minute.
const AWAY: Duration = Duration::from_secs(4);
/// Builds that run meanwhile; `MUSTER_ROUTER_BUILDS` makes them more.
const BUILDS: usize = 60;
/// Pages are fresh within this time after the router's return.
const FRESH_WITHIN: Duration = Duration::from_secs(2);

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Two masters: builds run on one of them, people look at the other.
#[test]
fn no_build_suffers_while_the_router_is_away_and_pages_are_fresh_soon_after_its_return() {
    let away = from_environment("MUSTER_ROUTER_AWAY").map_or(AWAY, Duration::from_secs);
    let builds = from_environment("MUSTER_ROUTER_BUILDS").map_or(BUILDS, |count| count as usize);
    let (site, mut router) = (Site::new(), Router::default());
    router.start(&site);
    let server = Postgres::start();
    let database = format!("c['db'] = {{'db_url': '{}'}}\n", server.url("buildbot"));
    let common = router.mq() + &database + "c['multiMaster'] = True\n";
    let quick = "builder('quick', sh('echo hello'), collapseRequests=False)\n";
    let mut master = Master::new(&site, &(common.clone() + quick));
    master.upgrade();
    let mut pages = Master::at(&site, "pages", &(common + "c['schedulers'] = []\n"));
    let (rest, seen) = (master.start(), pages.start());
    let _worker = master.start_worker(&site);
    for one in [&mut master, &mut pages] {
        one.process().wait_for("events go over the router");
    }
    let mut browser = Browser::start(&site);
    browser.go(&format!("http://{}/builders/quick", pages.web));
    let events = Events::listen(pages.web, &["builds/*/*"]);

    let force = |number: usize| rest.force("quick", json!({"reason": format!("number {number}")}));
    let mut requests: Vec<i64> = (0..builds / 2).map(force).collect();
    events.wait_for("builds/*/finished");
    router.kill();
    for one in [&mut master, &mut pages] {
        one.process().wait_for("the session with the router");
    }
    // The outage itself is what is tested, so its length is a time and no state. Builds go on all the while.
    for number in builds / 2..builds {
        requests.push(force(number));
        std::thread::sleep(away / (builds - builds / 2) as u32);
    }
    let last = rest.built(requests[builds - 1], Results::Success);
    let number = rest.one(&format!("builds/{last}"))["number"].clone();
    // The page that is open shows this build only after somebody told it to look.
    let shows_last = format!("!!document.querySelector('a[href$=\"/builders/quick/builds/{number}\"]')");
    let shown_early = browser.evaluate(&shows_last) == json!(true);

    let back = router.start(&site);
    let told = events.wait_for("muster/missed").at;
    assert!(told - back < FRESH_WITHIN, "{:?} after the router's return", told - back);
    browser.wait_for(&shows_last);
    let fresh = back.elapsed();
    assert!(!shown_early && fresh < FRESH_WITHIN, "early: {shown_early}, fresh after {fresh:?}");
    eprintln!("away {away:?}, {builds} builds; told after {:?}, page fresh after {fresh:?}", told - back);

    for request in requests {
        seen.built(request, Results::Success);
        assert_eq!(seen.builds_of(request).len(), 1, "no build was begun twice");
    }
    // The one that shows pages may be back first. What happens until the other one is, is told by a look, not by an event.
    until("both are back", || (figure(master.web, "muster_bus_connected") == Some(1.0)).then_some(()));
    let after = rest.force("quick", json!({"reason": "told again"}));
    let built = rest.built(after, Results::Success);
    events.wait_for_one("builds/*/finished", |build| build["buildid"] == json!(built));
    assert!(master.stop().success() && pages.stop().success());
}

/// The value of a figure, without labels.
fn figure(address: SocketAddr, name: &str) -> Option<f64> {
    let answer = http::request(address, "GET", "/metrics", None).ok()?;
    let text = String::from_utf8(answer.body).unwrap();
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn prometheus_sees_what_router_and_bus_do() {
    let (site, mut router) = (Site::new(), Router::default());
    let probe = SocketAddr::from((Site::address(), Site::free_port()));
    let port = format!("tcp:{}:interface={}", probe.port(), probe.ip());
    router.start_with(&site, &["--probe", &port]);
    for path in ["/livez", "/readyz"] {
        assert_eq!(http::request(probe, "GET", path, None).unwrap().status, 200, "{path}");
    }
    let at_router = |name: &str| figure(probe, name);
    assert_eq!(at_router("muster_router_sessions_joined_total"), Some(0.0));

    let mut master = Master::new(&site, &(router.mq() + "builder('quick', sh('true'))\n"));
    let rest = master.start();
    let _worker = master.start_worker(&site);
    rest.built(rest.force("quick", json!({})), Results::Success);
    assert_eq!(at_router("muster_router_sessions_joined_total"), Some(1.0));
    let web = master.web;
    let at_master = |name: &str| figure(web, name);
    let sent = || at_master("muster_bus_sent_total").unwrap();
    until("the router has all that was sent", || {
        (sent() > 20.0 && at_router("muster_router_publications_total") == Some(sent())).then_some(())
    });
    assert_eq!(at_router("muster_router_peers"), Some(1.0));
    assert_eq!(at_router("muster_router_subscriptions"), Some(1.0));
    assert_eq!(at_master("muster_bus_connected"), Some(1.0));
    assert_eq!(at_master("muster_bus_sessions_total"), Some(1.0));
    assert!(at_master("muster_bus_published_total").unwrap() > 10.0);
    assert!(at_master("muster_bus_publish_seconds_count").unwrap() >= 1.0);

    let status = router.process().stop();
    assert!(status.success(), "{status}");
    until("the master sees that it is gone", || {
        (at_master("muster_bus_connected") == Some(0.0)).then_some(())
    });
    assert_eq!(at_master("muster_bus_sessions_lost_total"), Some(1.0));
    let dropped = at_master("muster_bus_dropped_router_away_total").unwrap();
    rest.built(rest.force("quick", json!({})), Results::Success);
    assert!(at_master("muster_bus_dropped_router_away_total").unwrap() > dropped);
    router.start(&site);
    until("it is back", || (at_master("muster_bus_sessions_total") == Some(2.0)).then_some(()));
    assert!(master.stop().success());
}

/// One master over TLS with a certificate and a ticket, one over a unix socket with WAMP-CRA, and a file that lets both in.
#[test]
fn masters_join_as_a_routers_file_asks() {
    let (site, authority) = (Site::new(), Authority::new());
    let (server, own) = (authority.identity("localhost"), authority.identity("m1"));
    let port = Site::free_port_of("127.0.0.1");
    // The key that PBKDF2 makes of "password", so that the file does not hold the password.
    let derived = "RbCTL9FiwCX50tTpYlPMZDE/K82SzkqN6mE7lILcfpc=";
    let file = json!({
        "listen": [
            {"unix": "router.sock"},
            {"address": format!("localhost:{port}"), "tls": {
                "certificate": server.certificate, "key": server.key, "client_ca": authority.file(),
            }},
        ],
        "realms": {"site": {
            "roles": {"master": [{"uri": "org.buildbot.", "match": "prefix", "publish": true, "subscribe": true}]},
            "principals": {
                "m1": {"role": "master", "ticket": "let me in"},
                "m2": {"role": "master", "wampcra": {"secret": derived, "salting": {"salt": "pepper", "iterations": 1000, "keylen": 32}}},
            },
        }},
    });
    let file = site.write("router.json", &file.to_string());
    let mut command = binary::command(&["router", "--config"]);
    let mut router = Process::start(command.arg(&file).current_dir(site.path("")), &site.path("router.log"));
    router.wait_for(&format!("the router listens on localhost:{port}"));

    let mq = |url: String, more: &str| {
        format!(
            "c['mq'] = {{'type': 'wamp', 'router_url': '{url}', 'realm': 'site', {more}}}\nc['multiMaster'] = True\n"
        )
    };
    let over_tls = mq(
        format!("wss://localhost:{port}/ws"),
        &format!(
            "'auth_method': 'ticket', 'authid': 'm1', 'secret': 'let me in', 'tls_ca': '{}', 'tls_certificate': '{}', 'tls_key': '{}'",
            authority.file().display(),
            own.certificate.display(),
            own.key.display()
        ),
    );
    let server = Postgres::start();
    let database = format!("c['db'] = {{'db_url': '{}'}}\n", server.url("buildbot"));
    let mut first = Master::at(&site, "first", &(over_tls + &database + "builder('quick', sh('true'))\n"));
    first.upgrade();
    let socket = format!("ws+unix:{}", site.path("router.sock").display());
    let over_unix = mq(socket, "'auth_method': 'wampcra', 'authid': 'm2', 'secret': 'password'");
    let mut second = Master::at(&site, "second", &(over_unix + &database + "c['schedulers'] = []\n"));
    let rest = first.start();
    second.start();
    for master in [&mut first, &mut second] {
        master.process().wait_for("events go over the router");
    }
    let _worker = first.start_worker(&site);
    let events = Events::listen(second.web, &["builds/*/finished"]);
    rest.built(rest.force("quick", json!({})), Results::Success);
    events.wait_for("builds/*/finished");
    assert!(first.stop().success() && second.stop().success());
    let said = router.said();
    assert!(router.stop().success(), "{said}");
}
