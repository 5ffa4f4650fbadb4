//! Crossbar as the router of our client, and autobahn as a client of our router.

use std::path::Path;
use std::process::Stdio;

use muster_router_compat::Serialisation;
use muster_router_compat::auth::{Credentials, Salting, Secret};
use muster_router_compat::net::tls::ClientTls;
use muster_router_compat::net::{ConnectError, ConnectOptions, Connection, address::RouterUrl};
use muster_router_compat::router::{Proof, RouterConfig};
use muster_tests::{Authority, Process, Site, crossbar};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::{PATIENCE, REALM, TestRouter, identity, talk};

/// What an autobahn client sees that does everything once.
async fn autobahn(url: String, arguments: &[&str]) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/net/autobahn_peer.py");
    let python = tokio::task::spawn_blocking(|| crossbar::program("python")).await.unwrap();
    let mut peer = Command::new(python);
    peer.arg(script).arg(url).args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, peer.output()).await.expect("the peer hangs").unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let last = text.lines().last().unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn everything(role: &str) -> Value {
    let payload = json!({"none": null, "id": 9_007_199_254_740_992_u64, "text": "ä€😀", "float": 1.5});
    json!({
        "role": role,
        "events": [["org.buildbot.mq.control.worker.3.stop", payload], ["org.buildbot.other", payload]],
        // As Crossbar does it.
        "chosen": [
            "exclude:other", "eligible:me+other", "exclude_authid:other", "eligible_authid:me",
            "exclude_authrole:other", "eligible_authrole:me", "eligible: exclude:",
        ],
        "sum": 5,
        "error": "wamp.error.no_such_procedure",
    })
}

#[tokio::test]
async fn autobahn_is_served_in_both_serialisations() {
    let router = TestRouter::start(RouterConfig::open(REALM)).await;
    for serializer in ["json", "msgpack"] {
        assert_eq!(autobahn(router.url().to_string(), &[serializer]).await, everything("anonymous"));
    }
    router.stop().await;
}

#[tokio::test]
async fn autobahn_proves_who_it_is() {
    let salting = Salting { salt: "pepper".to_owned(), iterations: 100, keylen: 32 };
    let derived = salting.derive(&Secret::new("right"));
    for (method, proof) in [
        ("ticket", Proof::Ticket(Secret::new("right"))),
        ("wampcra", Proof::WampCra { secret: Secret::new("right"), salting: None }),
        ("wampcra", Proof::WampCra { secret: derived, salting: Some(salting) }),
    ] {
        let router = TestRouter::start(RouterConfig::closed(REALM, "m1", proof)).await;
        assert_eq!(
            autobahn(router.url().to_string(), &["json", method, "m1", "right"]).await,
            everything("master")
        );
        let refused = autobahn(router.url().to_string(), &["json", method, "m1", "wrong"]).await;
        assert!(refused.get("role").is_none(), "{refused}");
        assert_eq!(router.count("sessions_refused"), 1);
        router.stop().await;
    }
}

/// Crossbar with each authentication on a unix socket of its own, and anonymous ones on TCP and TLS.
struct Crossbar {
    _process: Process,
    site: Site,
    authority: Authority,
    tcp: [u16; 2],
    tls: u16,
}

impl Crossbar {
    fn start() -> Crossbar {
        let site = Site::new();
        let cra = json!({"type": "static", "users": {
            "m1": {"secret": "right", "role": "anonymous"},
            // Crossbar derives the key by itself.
            "m2": {"secret": "right", "role": "anonymous", "salt": "pepper", "iterations": 100, "keylen": 32},
        }});
        let ticket =
            json!({"type": "static", "principals": {"m1": {"ticket": "right", "role": "anonymous"}}});
        let anonymous = json!({"anonymous": {"type": "static", "role": "anonymous"}});
        let transport = |name: &str, endpoint: Value, auth: &Value| {
            let scheme = if endpoint["tls"].is_null() { "ws" } else { "wss" };
            let url = format!("{scheme}://localhost/ws");
            json!({"type": "websocket", "id": name, "endpoint": endpoint, "url": url, "auth": auth})
        };
        let unix = |name: &str, auth: &Value| {
            transport(name, json!({"type": "unix", "path": site.path(name)}), auth)
        };
        let authority = Authority::new();
        let server = authority.identity("localhost");
        let certificates = json!({
            "certificate": server.certificate, "key": server.key, "ca_certificates": [authority.file()],
        });
        let tcp = ["127.0.0.1", "::1"].map(Site::free_port_of);
        let tls = Site::free_port_of("127.0.0.1");
        let port = |version: u8, host: &str, port: u16| json!({"type": "tcp", "version": version, "interface": host, "port": port});
        let mut encrypted = port(4, "127.0.0.1", tls);
        encrypted["tls"] = certificates;
        let everything = json!({
            "uri": "", "match": "prefix", "disclose": {"caller": false, "publisher": false}, "cache": true,
            "allow": {"call": true, "register": true, "publish": true, "subscribe": true},
        });
        let config = json!({
            "version": 2,
            "controller": {},
            "workers": [{
                "type": "router",
                "realms": [{"name": REALM, "roles": [{"name": "anonymous", "permissions": [everything]}]}],
                "transports": [
                    unix("anonymous", &anonymous),
                    unix("ticket", &json!({"ticket": ticket})),
                    unix("wampcra", &json!({"wampcra": cra})),
                    transport("ipv4", port(4, "127.0.0.1", tcp[0]), &anonymous),
                    transport("ipv6", port(6, "::1", tcp[1]), &anonymous),
                    transport("tls", encrypted, &anonymous),
                ],
            }],
        });
        let mut sockets: Vec<String> =
            ["anonymous", "ticket", "wampcra"].map(|name| site.path(name).display().to_string()).into();
        sockets.extend(
            [("127.0.0.1", tcp[0]), ("[::1]", tcp[1]), ("127.0.0.1", tls)]
                .map(|(host, port)| format!("{host}:{port}")),
        );
        let process =
            crossbar::start(&site, &config, &sockets.iter().map(String::as_str).collect::<Vec<_>>());
        Crossbar { _process: process, site, authority, tcp, tls }
    }

    /// An anonymous client of each transport.
    fn transports(&self) -> Vec<ConnectOptions> {
        let to = |url: String| ConnectOptions::new(url.parse().unwrap(), REALM);
        let mut encrypted = to(format!("wss://localhost:{}/ws", self.tls));
        encrypted.tls =
            ClientTls { ca: Some(self.authority.file()), identity: Some(identity(&self.authority, "m1")) };
        vec![
            self.options("anonymous", Credentials::Anonymous),
            to(format!("ws://127.0.0.1:{}/ws", self.tcp[0])),
            to(format!("ws://[::1]:{}/ws", self.tcp[1])),
            encrypted,
        ]
    }

    fn options(&self, socket: &str, credentials: Credentials) -> ConnectOptions {
        let url = RouterUrl::Unix(self.site.path(socket));
        ConnectOptions { credentials, ..ConnectOptions::new(url, REALM) }
    }
}

#[tokio::test]
async fn our_client_is_served_by_crossbar() {
    let crossbar = tokio::task::spawn_blocking(Crossbar::start).await.unwrap();
    let anonymous = crossbar.options("anonymous", Credentials::Anonymous);
    for transport in crossbar.transports() {
        for serialisation in Serialisation::ALL {
            let options = ConnectOptions { serialisations: vec![serialisation], ..transport.clone() };
            talk(&options, &options).await;
        }
    }
    let url = format!("ws://127.0.0.1:{}/ws", crossbar.tcp[0]);
    assert_eq!(autobahn(url, &["json"]).await, everything("anonymous"), "what our router is compared with");
    let ticket = |text: &str| {
        let (authid, ticket) = ("m1".to_owned(), Secret::new(text));
        crossbar.options("ticket", Credentials::Ticket { authid, ticket })
    };
    let cra = |authid: &str, text: &str| {
        let (authid, secret) = (authid.to_owned(), Secret::new(text));
        crossbar.options("wampcra", Credentials::WampCra { authid, secret })
    };
    talk(&ticket("right"), &anonymous).await;
    talk(&cra("m1", "right"), &cra("m2", "right")).await;
    for refused in [ticket("wrong"), cra("m1", "wrong"), crossbar.options("ticket", Credentials::Anonymous)] {
        assert!(matches!(Connection::open(&refused).await, Err(ConnectError::Session(_))));
    }
}
