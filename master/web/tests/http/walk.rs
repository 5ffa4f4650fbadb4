//! Every address and every order, as nobody, as somebody without the role and as somebody with it. The test fails for an address
//! that it doesn't know.

use std::{collections::BTreeSet, path::Path};

use futures_util::StreamExt;
use muster_core::policy::Endpoints;
use serde_json::json;

use crate::{
    client::send,
    fixture::Server,
    login::{passwords, rules, session},
};

/// What has to be allowed before an address answers.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Asks {
    /// Nothing: it is needed for logging in, or proves itself otherwise.
    Open,
    /// To look.
    Look,
    /// To change something.
    Order,
    /// To end a process.
    Ends,
}
use Asks::{Ends, Look, Open, Order};

/// The addresses as the routers have them, an example of each, and what they ask for with GET and with POST.
const ROUTES: &[(&str, &str, Option<Asks>, Option<Asks>)] = &[
    ("/", "/", Some(Look), None),
    ("/builders", "/builders", Some(Look), None),
    ("/builders/{builder}", "/builders/2", Some(Look), None),
    ("/builders/{builder}/force/{scheduler}", "/builders/2/force/simple", Some(Look), Some(Order)),
    ("/builders/{builder}/builds/{number}", "/builders/2/builds/1", Some(Look), None),
    ("/builders/{builder}/builds/{number}/stop", "/builders/2/builds/1/stop", None, Some(Order)),
    ("/builders/{builder}/builds/{number}/rebuild", "/builders/2/builds/1/rebuild", None, Some(Order)),
    (
        "/builders/{builder}/builds/{number}/steps/{step}/logs/{slug}",
        "/builders/2/builds/1/steps/2/logs/stdio",
        Some(Look),
        None,
    ),
    ("/pending", "/pending", Some(Look), None),
    ("/pending/cancel", "/pending/cancel", None, Some(Order)),
    ("/pending/first", "/pending/first", None, Some(Order)),
    ("/workers", "/workers", Some(Look), None),
    ("/workers/{name}", "/workers/w1", Some(Look), None),
    ("/changes", "/changes", Some(Look), None),
    ("/about", "/about", Some(Look), None),
    ("/buildrequests/{request}", "/buildrequests/1", Some(Look), None),
    ("/theme", "/theme", None, Some(Open)),
    ("/theme.css", "/theme.css", Some(Open), None),
    ("/static/{*file}", "/static/style.css", Some(Open), None),
    ("/auth/login", "/auth/login", Some(Open), Some(Open)),
    ("/auth/logout", "/auth/logout", Some(Open), Some(Open)),
    ("/avatar", "/avatar?email=a", Some(Look), None),
    ("/config", "/config", Some(Open), None),
    ("/api", "/api", Some(Open), None),
    ("/api/v2", "/api/v2", Some(Look), Some(Order)),
    ("/api/v2/", "/api/v2/", Some(Look), Some(Order)),
    ("/api/v2/{*path}", "/api/v2/builds", Some(Look), Some(Order)),
    ("/api/v2/{*path}", "/api/v2/nosuch", Some(Look), Some(Order)),
    ("/api/v2/{*path}", "/api/v2/logs/32/raw", Some(Look), Some(Order)),
    ("/api/v2/{*path}", "/api/v2/logs/32/raw_inline", Some(Look), Some(Order)),
    ("/api/v2/{*path}", "/api/v2/logs/32/contents", Some(Look), Some(Order)),
    ("/api/v2/{*path}", "/api/v2/builds/14/data/coverage/value", Some(Look), Some(Order)),
    ("/api/latest", "/api/latest", Some(Look), Some(Order)),
    ("/api/latest/", "/api/latest/", Some(Look), Some(Order)),
    ("/api/latest/{*path}", "/api/latest/builds", Some(Look), Some(Order)),
    // A master's operators only; here they are addresses of the interface.
    ("/api/v2/masters/{*path}", "/api/v2/masters/1", Some(Look), Some(Order)),
    ("/api/v2/workers/{*path}", "/api/v2/workers/1", Some(Look), Some(Order)),
    ("/ws", "/ws", Some(Look), None),
    ("/sse", "/sse", Some(Look), None),
    ("/sse/listen", "/sse/listen", Some(Look), None),
    ("/sse/listen/{*path}", "/sse/listen/builds/*/*", Some(Look), None),
    ("/sse/{*path}", "/sse/builds/*/*", Some(Look), None),
    // These name a stream by a number that only its listener was told.
    ("/sse/add", "/sse/add", Some(Open), None),
    ("/sse/remove", "/sse/remove", Some(Open), None),
    ("/sse/add/{uuid}/{*path}", "/sse/add/x/builds", Some(Open), None),
    ("/sse/remove/{uuid}/{*path}", "/sse/remove/x/builds", Some(Open), None),
    // Hooks prove themselves by what their dialect wants.
    ("/change_hook", "/change_hook", Some(Open), Some(Open)),
    ("/change_hook/", "/change_hook/", Some(Open), Some(Open)),
    ("/change_hook/{*dialect}", "/change_hook/base", Some(Open), Some(Open)),
    // Probes and Prometheus log in nowhere.
    ("/livez", "/livez", Some(Open), None),
    ("/readyz", "/readyz", Some(Open), None),
    ("/metrics", "/metrics", Some(Open), None),
];

/// Orders by REST: the resource and method as the code has them, an example, and what they ask for.
const ORDERS: &[(&str, &str, &str, Asks)] = &[
    ("Build", "stop", "builds/1", Order),
    ("Build", "rebuild", "builds/4", Order),
    ("BuildRequest", "cancel", "buildrequests/18", Order),
    ("BuildRequest", "set_priority", "buildrequests/18", Order),
    ("ForceScheduler", "force", "forceschedulers/simple", Order),
    ("Scheduler", "enable", "schedulers/2", Order),
    ("Worker", "pause", "workers/w2", Order),
    ("Worker", "unpause", "workers/w2", Order),
    ("Worker", "stop", "workers/w2", Ends),
    ("Worker", "kill", "workers/w2", Ends),
    ("Master", "stop", "masters/1", Ends),
];

/// What stands between two quotes behind each `mark` in the sources.
fn named_in_sources(mark: &str) -> BTreeSet<String> {
    fn walk(directory: &Path, mark: &str, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, mark, found);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let behind = text.split(mark).skip(1);
            found.extend(behind.filter_map(|rest| rest.split('"').nth(1)).map(str::to_owned));
        }
    }
    let mut found = BTreeSet::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), mark, &mut found);
    found
}

#[test]
fn every_address_and_order_is_in_the_tables() {
    let known: BTreeSet<String> = ROUTES.iter().map(|(route, ..)| (*route).to_owned()).collect();
    assert_eq!(named_in_sources(".route("), known);
    let control =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api/control.rs")).unwrap();
    let orders = control.split("(Some(Resource::").skip(1).map(|rest| {
        let (resource, rest) = rest.split_once("), \"").unwrap();
        (resource, rest.split('"').next().unwrap())
    });
    let known: BTreeSet<_> = ORDERS.iter().map(|(resource, method, ..)| (*resource, *method)).collect();
    assert_eq!(orders.collect::<BTreeSet<_>>(), known);
}

/// Whether a rule for `endpoints` keeps those out who lack the role.
fn denied(endpoints: Option<Endpoints>, asks: Asks, has_role: bool) -> bool {
    match (endpoints, asks) {
        (_, Open) => false,
        // Without a rule nobody ends a process.
        (None, Ends) => true,
        (None, _) => false,
        (Some(Endpoints::AnyControl), Look) => false,
        _ => !has_role,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_past_the_rules() {
    for endpoints in [Some(Endpoints::Any), Some(Endpoints::AnyControl), None] {
        let server = Server::with(|config| {
            config.www.auth = Some(passwords());
            config.www.authz = endpoints.map(rules);
        })
        .await;
        let (root, ann) = (session(&server, "root", "sesame").await, session(&server, "ann", "open").await);
        for (cookie, has_role) in [("", false), (ann.as_str(), false), (root.as_str(), true)] {
            for (_, path, get, post) in ROUTES {
                for (method, asks) in [("GET", get), ("POST", post)] {
                    let Some(asks) = asks else { continue };
                    let status = status(&server, method, path, cookie).await;
                    let wanted = denied(endpoints, *asks, has_role);
                    assert_eq!(status == 403, wanted, "{endpoints:?} {method} {path} {has_role}: {status}");
                }
            }
            for (_, method, path, asks) in ORDERS {
                let params = json!({"reason": "r", "priority": 1, "enabled": true, "builderid": 2, "username": "a@b.c"});
                let call = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
                let headers = [("Content-Type", "application/json"), ("Cookie", cookie)];
                let reply =
                    send(server.address, "POST", &format!("/api/v2/{path}"), &headers, &call.to_string())
                        .await;
                let wanted = denied(endpoints, *asks, has_role);
                assert_eq!(
                    reply.status == 403,
                    wanted,
                    "{endpoints:?} {method} {path} {has_role}: {}",
                    reply.text()
                );
            }
        }
    }
}

/// The status of an answer, whose rest may never end.
async fn status(server: &Server, method: &str, path: &str, cookie: &str) -> u16 {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "fly", "params": {}}).to_string();
    let (body, kind) = match (method, path.starts_with("/api/")) {
        ("POST", true) => (call.as_str(), "application/json"),
        ("POST", false) if path.starts_with("/pending") => ("id=18", "application/x-www-form-urlencoded"),
        _ => ("", "application/x-www-form-urlencoded"),
    };
    let length = if method == "POST" { format!("Content-Length: {}\r\n", body.len()) } else { String::new() };
    let upgrade = match path {
        "/ws" => {
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nConnection: Upgrade\r\n"
        }
        _ => "Connection: close\r\n",
    };
    let mut connection = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {}\r\nCookie: {cookie}\r\nContent-Type: {kind}\r\n{length}{upgrade}\r\n{body}",
        server.address
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0_u8; 12];
    connection.read_exact(&mut answer).await.unwrap();
    std::str::from_utf8(&answer[9..12]).unwrap().parse().unwrap()
}

/// Whoever loses the right to listen hears nothing more.
#[tokio::test(flavor = "multi_thread")]
async fn a_listener_ends_with_the_right_to_listen() {
    let server = Server::golden().await;
    let (mut socket, _) =
        tokio_tungstenite::connect_async(format!("ws://{}/ws", server.address)).await.unwrap();
    server.configure(|config| config.www.authz = Some(rules(Endpoints::Any)));
    while let Some(Ok(frame)) = socket.next().await {
        assert!(frame.is_close(), "{frame:?}");
    }
    assert!(tokio_tungstenite::connect_async(format!("ws://{}/ws", server.address)).await.is_err());
}
