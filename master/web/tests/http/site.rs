//! Names that are not this site's, and pages of other sites.

use crate::{
    client::{Reply, send},
    fixture::Server,
};

const UPGRADE: [(&str, &str); 4] = [
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

async fn ask(server: &Server, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
    send(server.address, method, path, headers, "").await
}

/// A page elsewhere that has bound its name to this machine: for its browser it and the server are one site.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_was_bound_to_this_machine_is_refused() {
    let server = Server::golden().await;
    let host = format!("evil.example:{}", server.address.port());
    let origin = format!("http://{host}");
    let rebound = [("Host", host.as_str()), ("Origin", &origin), ("Sec-Fetch-Site", "same-origin")];
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/builders"),
        ("GET", "/nothing"),
        ("GET", "/static/page.js"),
        ("GET", "/config"),
        ("GET", "/api"),
        ("GET", "/api/v2/builds"),
        ("HEAD", "/api/v2/builds"),
        ("GET", "/api/v2/logs/1/raw"),
        ("GET", "/sse/listen/builds/*/*"),
        ("GET", "/ws"),
        ("GET", "/change_hook/base"),
        ("POST", "/change_hook/base"),
        ("POST", "/api/v2/builds/1"),
        ("POST", "/builders/1/builds/1/stop"),
        ("POST", "/builders/1/force/force"),
        ("POST", "/pending/cancel"),
    ] {
        let reply = ask(&server, method, path, &rebound).await;
        assert_eq!(reply.status, 421, "{method} {path}");
        if method != "HEAD" {
            assert!(reply.text().contains("c['buildbotURL']"), "{path}: {}", reply.text());
        }
    }
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(ask(&server, "GET", path, &rebound).await.status, 200, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_sites_hear_nothing_and_order_nothing() {
    let server = Server::golden().await;
    let own = format!("http://{}", server.address);
    for origin in ["http://evil.example", "http://127.0.0.1:1", "null"] {
        for path in ["/ws", "/sse/listen/builds/*/*", "/change_hook/base", "/change_hook"] {
            let headers = [&UPGRADE[..], &[("Origin", origin)]].concat();
            let reply = ask(&server, "GET", path, &headers).await;
            assert_eq!(reply.status, 403, "{path} of {origin}: {}", reply.text());
        }
        for path in [
            "/builders/1/builds/1/stop",
            "/builders/1/builds/1/rebuild",
            "/pending/cancel",
            "/pending/first",
            "/theme",
        ] {
            assert_eq!(
                ask(&server, "POST", path, &[("Origin", origin)]).await.status,
                403,
                "{path} of {origin}"
            );
        }
    }
    // A picture's address on a page elsewhere.
    let picture = [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors")];
    assert_eq!(ask(&server, "GET", "/change_hook/base?who=x", &picture).await.status, 403);
    for origin in [own.as_str(), "http://127.0.0.1:8010"] {
        let headers = [&UPGRADE[..], &[("Origin", origin)]].concat();
        let stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
        assert_eq!(
            switched(stream, server.address, &headers).await,
            "HTTP/1.1 101 Switching Protocols",
            "{origin}"
        );
    }
}

/// The first line of the answer to a handshake.
async fn switched(
    mut stream: tokio::net::TcpStream,
    server: std::net::SocketAddr,
    headers: &[(&str, &str)],
) -> String {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    let mut request = format!("GET /ws HTTP/1.1\r\nHost: {server}\r\n");
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    stream.write_all(format!("{request}\r\n").as_bytes()).await.unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).await.unwrap();
    line.trim_end().to_owned()
}
