//! Events over WebSocket and as streams.

use futures_util::{SinkExt, StreamExt};
use muster_bus::Event;
use muster_core::SchedulerId;
use muster_core::policy::{Action, Permit};
use muster_store::Error;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

use crate::{client::get, fixture::Server};

pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

pub async fn connect(server: &Server) -> Socket {
    connect_async(format!("ws://{}/ws", server.address)).await.unwrap().0
}

pub async fn ask(socket: &mut Socket, frame: Value) -> Value {
    socket.send(Message::text(frame.to_string())).await.unwrap();
    next(socket).await
}

pub async fn next(socket: &mut Socket) -> Value {
    let frame = socket.next().await.unwrap().unwrap();
    serde_json::from_str(frame.to_text().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_gets_the_events_of_its_paths() {
    let server = Server::golden().await;
    let mut socket = connect(&server).await;
    let start = json!({"cmd": "startConsuming", "path": "schedulers/*/updated", "_id": 1});
    assert_eq!(ask(&mut socket, start).await, json!({"msg": "OK", "code": 200, "_id": 1}));
    server
        .data
        .set_scheduler_enabled(&Permit::system("a test", Action::EnableScheduler), SchedulerId(2), false)
        .await
        .unwrap();
    let event = next(&mut socket).await;
    assert_eq!(event["k"], "schedulers/2/updated");
    assert_eq!((&event["m"]["name"], &event["m"]["enabled"]), (&json!("on-main"), &json!(false)));

    let stop = json!({"cmd": "stopConsuming", "path": "schedulers/*/updated", "_id": "two"});
    assert_eq!(ask(&mut socket, stop.clone()).await, json!({"msg": "OK", "code": 200, "_id": "two"}));
    server
        .data
        .set_scheduler_enabled(&Permit::system("a test", Action::EnableScheduler), SchedulerId(2), true)
        .await
        .unwrap();
    let answer = ask(&mut socket, stop).await;
    assert_eq!(
        answer,
        json!({"error": "path was not consumed 'schedulers/*/updated'", "code": 400, "_id": "two"})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_json_ends_the_connection_and_no_upgrade_is_426() {
    let server = Server::empty().await;
    assert_eq!(get(server.address, "/ws").await.status, 426);
    let mut socket = connect(&server).await;
    socket.send(Message::text("{bad")).await.unwrap();
    while let Some(Ok(frame)) = socket.next().await {
        assert!(!frame.is_text(), "{frame:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_server_closes_the_sockets() {
    let mut server = Server::empty().await;
    let mut socket = connect(&server).await;
    assert_eq!(ask(&mut socket, json!({"cmd": "ping", "_id": 1})).await["msg"], "pong");
    server.end().await;
    while let Some(Ok(_)) = socket.next().await {}
}

/// Publishes `count` events of 16 kB.
async fn publish_long(server: &Server, count: usize) {
    let committed = server.data.db().tx("test_event", |_tx| async move {
        Ok::<_, Error>(vec![Event::new(["long/1".to_owned()], json!("x".repeat(16 << 10))); count])
    });
    server.data.bus().publish(committed.await.unwrap());
}

/// A browser that reads nothing: its events fill the socket, then its queue; then it is dropped. Others go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_browser_is_dropped_and_the_others_are_served() {
    const EVENTS: usize = 4_000;
    const BATCH: usize = 100;
    let server = Server::empty().await;
    let start = json!({"cmd": "startConsuming", "path": "long/*", "_id": 1});
    let (mut slow, mut quick) = (connect(&server).await, connect(&server).await);
    ask(&mut slow, start.clone()).await;
    ask(&mut quick, start).await;
    for _ in 0..EVENTS / BATCH {
        publish_long(&server, BATCH).await;
        for _ in 0..BATCH {
            assert_eq!(next(&mut quick).await["k"], "long/1");
        }
    }
    let mut seen = 0;
    while seen < EVENTS && matches!(slow.next().await, Some(Ok(_))) {
        seen += 1;
    }
    assert!(seen < EVENTS, "the slow browser was served to the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_tells_its_id_and_then_its_events() {
    let server = Server::golden().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request =
        format!("GET /sse/listen/schedulers/*/updated HTTP/1.1\r\nHost: {}\r\n\r\n", server.address);
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut lines = BufReader::new(stream).lines();
    let mut data = async || loop {
        let line = lines.next_line().await.unwrap().expect("the stream is open");
        if let Some(data) = line.strip_prefix("data: ") {
            return data.to_owned();
        }
    };
    let id = data().await;
    server
        .data
        .set_scheduler_enabled(&Permit::system("a test", Action::EnableScheduler), SchedulerId(2), false)
        .await
        .unwrap();
    let event: Value = serde_json::from_str(&data().await).unwrap();
    assert_eq!(event["key"], json!(["schedulers", "2", "updated"]));

    let path = format!("/sse/add/{id}/workers/*/state_updated");
    assert_eq!(get(server.address, &path).await.text(), "ok");
    let path = format!("/sse/remove/{id}/never/added");
    assert_eq!(get(server.address, &path).await.status, 404);
    let unknown = get(server.address, "/sse/add/nobody/builds/*/*").await;
    assert_eq!((unknown.status, unknown.text()), (400, "unknown uuid"));
    assert_eq!(get(server.address, "/sse/add").await.text(), "need uuid");
}

/// On one thread, so that nobody reads while more is published than the bus keeps.
#[tokio::test]
async fn who_missed_events_is_told_to_look_again() {
    let server = Server::empty().await;
    let mut socket = connect(&server).await;
    assert_eq!(ask(&mut socket, json!({"cmd": "ping", "_id": 1})).await["msg"], "pong");
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = format!("GET /sse/listen/builds/*/new HTTP/1.1\r\nHost: {}\r\n\r\n", server.address);
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut lines = BufReader::new(stream).lines();
    while !lines.next_line().await.unwrap().unwrap().starts_with("event: handshake") {}

    let committed = server.data.db().tx("test_events", |_tx| async move {
        Ok::<_, Error>(vec![Event::new(["other/1".to_owned()], Value::Null); muster_bus::BACKLOG + 7])
    });
    server.data.bus().publish(committed.await.unwrap());
    let told = next(&mut socket).await;
    assert_eq!(told["k"], "muster/missed");
    assert!(told["m"]["events"].as_u64().unwrap() >= 7, "{told}");
    loop {
        let line = lines.next_line().await.unwrap().expect("the stream is open");
        if line.contains(r#"["muster","missed"]"#) {
            return;
        }
    }
}
