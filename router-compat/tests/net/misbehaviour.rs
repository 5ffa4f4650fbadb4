//! Peers that break the rules cost themselves their connection, and nobody else anything.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use muster_router_compat::Match;
use muster_router_compat::net::{ConnectOptions, Connection, ConnectionError};
use muster_router_compat::router::RouterConfig;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::support::{PATIENCE, REALM, TestClient, TestRouter, until};

type Raw = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A WebSocket that says what it is told to.
async fn raw(router: &TestRouter) -> Raw {
    let mut request = router.url().to_string().into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "wamp.2.json".parse().unwrap());
    tokio_tungstenite::connect_async(request).await.unwrap().0
}

async fn join(router: &TestRouter) -> Raw {
    let mut socket = raw(router).await;
    say(&mut socket, format!(r#"[1, "{REALM}", {{"roles": {{"subscriber": {{}}}}}}]"#)).await;
    assert!(heard(&mut socket).await.unwrap().starts_with("[2,"));
    socket
}

async fn say(socket: &mut Raw, text: impl Into<String>) {
    socket.send(Message::text(text.into())).await.unwrap();
}

/// The next text; `None` when the connection is closed.
async fn heard(socket: &mut Raw) -> Option<String> {
    loop {
        match tokio::time::timeout(PATIENCE, socket.next()).await.expect("nothing came") {
            Some(Ok(Message::Text(text))) => return Some(text.to_string()),
            Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
            Some(Ok(_)) => {}
        }
    }
}

#[tokio::test]
async fn garbage_ids_and_disorder_get_an_abort() {
    let router = TestRouter::start(RouterConfig::open(REALM)).await;
    let mut bystander = TestClient::open(&router.options()).await;
    bystander.subscribe(Match::Exact, "a.b").await;
    let wrongs =
        ["no json", "{}", "[16, 9007199254740993, {}, \"a.b\"]", "[2, 1, {}]", "[1, \"realm1\", {}]"];
    for (count, wrong) in wrongs.into_iter().enumerate() {
        let mut socket = join(&router).await;
        say(&mut socket, wrong).await;
        let answer = heard(&mut socket).await.unwrap();
        assert!(
            answer.starts_with("[3,") && answer.contains("wamp.error.protocol_violation"),
            "{wrong}: {answer}"
        );
        assert_eq!(heard(&mut socket).await, None, "{wrong}");
        assert_eq!(router.count("protocol_violations"), count as u64 + 1);
    }
    let mut good = join(&router).await;
    say(&mut good, "[16, 1, {}, \"a.b\", [7]]").await;
    assert_eq!(bystander.event().await.1, 7);
    until("the others are gone", || router.server.peers_and_subscriptions().0 == 2).await;
    router.stop().await;
}

#[tokio::test]
async fn an_oversized_frame_ends_the_connection() {
    let mut config = RouterConfig::open(REALM);
    config.limits.frame_bytes = 1000;
    let router = TestRouter::start(config).await;
    let mut socket = join(&router).await;
    say(&mut socket, format!("[16, 1, {{}}, \"a\", [\"{}\"]]", "x".repeat(2000))).await;
    assert_eq!(heard(&mut socket).await, None);
    until("it is counted", || router.count("protocol_violations") == 1).await;
    router.stop().await;
}

#[tokio::test]
async fn another_protocol_is_refused_and_counted() {
    let router = TestRouter::start(RouterConfig::open(REALM)).await;
    let mut request = router.url().to_string().into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "wamp.2.cbor".parse().unwrap());
    let refused = tokio_tungstenite::connect_async(request).await.unwrap_err().to_string();
    assert!(refused.contains("400"), "{refused}");
    let mut stream = TcpStream::connect(("127.0.0.1", router.port.unwrap())).await.unwrap();
    stream.write_all(b"SSH-2.0-OpenSSH_9.2p1\r\n").await.unwrap();
    until("both are counted", || router.count("connections_failed") == 2).await;
    router.stop().await;
}

#[tokio::test]
async fn web_pages_are_let_in_by_name_only() {
    let named =
        RouterConfig { origins: vec!["https://ci.example.org".to_owned()], ..RouterConfig::open(REALM) };
    let all = RouterConfig { origins: vec!["*".to_owned()], ..RouterConfig::open(REALM) };
    let cases = [
        (RouterConfig::open(REALM), [false, false, false]),
        (named, [false, true, false]),
        (all, [true, true, true]),
    ];
    for (config, let_in) in cases {
        let router = TestRouter::start(config).await;
        for (origin, let_in) in
            ["http://evil.example", "https://CI.example.org", "null"].into_iter().zip(let_in)
        {
            let mut request = router.url().to_string().into_client_request().unwrap();
            request.headers_mut().insert("sec-websocket-protocol", "wamp.2.json".parse().unwrap());
            request.headers_mut().insert("origin", origin.parse().unwrap());
            match tokio_tungstenite::connect_async(request).await {
                Ok(_) => assert!(let_in, "{origin}"),
                Err(error) => assert!(!let_in && error.to_string().contains("403"), "{origin}: {error}"),
            }
        }
        join(&router).await;
        router.stop().await;
    }
}

#[tokio::test]
async fn who_does_not_join_in_time_is_closed() {
    let mut config = RouterConfig::open(REALM);
    config.limits.join_seconds = 1;
    let router = TestRouter::start(config).await;
    let mut socket = raw(&router).await;
    assert_eq!(heard(&mut socket).await, None);
    assert_eq!(router.count("peers_timed_out"), 1);
    router.stop().await;
}

#[tokio::test]
async fn a_silent_peer_is_pinged_and_taken_for_dead() {
    let mut config = RouterConfig::open(REALM);
    config.limits.ping_seconds = 1;
    let router = TestRouter::start(config).await;
    let mut living = TestClient::open(&router.options()).await;
    // This one reads nothing, so it answers no ping.
    let dead = join(&router).await;
    let staying = async { living.next().await };
    tokio::select! {
        other = staying => panic!("{other:?}"),
        () = until("the dead one is noticed", || router.count("peers_timed_out") == 1) => {}
    }
    until("it is gone", || router.server.peers_and_subscriptions().0 == 1).await;
    drop(dead);
    router.stop().await;
}

/// A router that is stopped, or whose machine is gone: nothing comes, and nothing says that the connection is over.
#[tokio::test]
async fn a_silent_router_is_taken_for_dead() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/ws", listener.local_addr().unwrap()).parse().unwrap();
    let silent = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        #[allow(clippy::result_large_err, reason = "the type is the library's")]
        let choose = |_: &Request, mut response: Response| {
            response.headers_mut().insert("sec-websocket-protocol", "wamp.2.json".parse().unwrap());
            Ok(response)
        };
        let mut socket = tokio_tungstenite::accept_hdr_async(stream, choose).await.unwrap();
        socket.next().await.unwrap().unwrap();
        socket.send(Message::text("[2, 7, {}]")).await.unwrap();
        // It keeps the connection and reads nothing more, so no ping is answered.
        std::future::pending::<()>().await
    });
    let ping_after = Duration::from_millis(200);
    let options = ConnectOptions { ping_after, ..ConnectOptions::new(url, REALM) };
    let mut connection = Connection::open(&options).await.unwrap();
    let began = std::time::Instant::now();
    let end = tokio::time::timeout(PATIENCE, connection.next()).await.unwrap();
    assert!(matches!(end, Err(ConnectionError::Dead)), "{end:?}");
    assert!(began.elapsed() >= 3 * ping_after, "two pings had their time: {:?}", began.elapsed());
    silent.abort();
}

#[tokio::test]
async fn a_slow_consumer_loses_events_and_the_others_nothing() {
    const EVENTS: u64 = 3000;
    let mut config = RouterConfig::open(REALM);
    config.limits.queue_messages = 100;
    let router = TestRouter::start(config).await;
    let mut slow = join(&router).await;
    say(&mut slow, "[32, 1, {}, \"a.b\"]").await;
    assert!(heard(&mut slow).await.unwrap().starts_with("[33,"));
    let mut quick = TestClient::open(&router.options()).await;
    quick.subscribe(Match::Exact, "a.b").await;
    let mut publisher = TestClient::open(&router.options()).await;
    let filling = serde_json::Value::from("x".repeat(10_000));
    for count in 0..EVENTS {
        publisher.publish("a.b", serde_json::json!([count, filling])).await;
        assert_eq!(quick.event().await.1[0], count);
    }
    assert!(router.count("events_dropped") > 0);
    assert_eq!(router.count("events"), 2 * EVENTS);
    // It still lives, and gets what there was room for.
    assert!(heard(&mut slow).await.unwrap().starts_with("[36,"));
    router.stop().await;
}

#[tokio::test]
async fn everybody_hears_that_the_router_stops() {
    let router = TestRouter::start(RouterConfig::open(REALM)).await;
    let mut connection = Connection::open(&router.options()).await.unwrap();
    let told = tokio::spawn(async move { connection.next().await });
    router.stop().await;
    let told = tokio::time::timeout(Duration::from_secs(5), told).await.unwrap().unwrap();
    assert!(matches!(told, Err(ConnectionError::Left(reason)) if reason == "wamp.close.system_shutdown"));
}
