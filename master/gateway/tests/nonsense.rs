//! Workers with the right password that answer nonsense, or nothing: they leave within a bound, and are counted.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use common::{Heard, PASSWORD, PbClient, Port};
use futures_util::{SinkExt, StreamExt};
use muster_core::{BuildId, CommandId, Epoch};
use muster_gateway::banana::Item;
use muster_gateway::msgpack;
use muster_gateway::value::Value;
use muster_session::command::Stream;
use muster_session::{Command, MasterEvent, StartCommand, UpdateBody};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// The longest that a worker may take to get ready, and some.
const BOUND: Duration = Duration::from_secs(90);

/// What a worker answers instead of what it should; `None`: nothing at all.
type Nonsense = Option<Value>;

fn nonsense() -> [Nonsense; 5] {
    let long = Value::dict([("version", Value::Text("v".repeat(600 * 1024))), ("basedir", "/w".into())]);
    [None, Some(Value::None), Some(Value::Int(7)), Some(Value::List(vec![Value::Int(1); 1000])), Some(long)]
}

/// A worker over PB that answers one method so; waits until it is closed.
async fn pb_is_closed(port: &Port, method: &str, nonsense: Nonsense) {
    let mut client = PbClient::connect(port.pb).await;
    client.log_in("w0", PASSWORD, Value::Ours(1)).await;
    let mut silent = Silence::default();
    while let Some(heard) = client.hear().await {
        match heard {
            Heard::Call { request, method: called, .. } if called == method => match &nonsense {
                Some(value) => client.answer(request, value).await,
                None => silent.begins(),
            },
            other => client.obey(other).await,
        }
    }
}

/// Lets time pass as fast as it can, from its beginning until it is dropped.
#[derive(Default)]
struct Silence(bool);

impl Silence {
    fn begins(&mut self) {
        if !std::mem::replace(&mut self.0, true) {
            tokio::time::pause();
        }
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        if self.0 {
            tokio::time::resume();
        }
    }
}

#[tokio::test]
async fn a_pb_worker_that_answers_nonsense_is_closed() {
    let port = Port::open(1).await;
    let mut refused = 0;
    for method in ["getWorkerInfo", "setBuilderList"] {
        for nonsense in nonsense() {
            if method == "getWorkerInfo" && matches!(nonsense, Some(Value::Dict(_))) {
                // Long, and true.
                continue;
            }
            let began = Instant::now();
            pb_is_closed(&port, method, nonsense.clone()).await;
            assert!(began.elapsed() < BOUND, "{method} {nonsense:?}");
            refused += 1;
            assert_eq!(port.gateway.refused(), refused, "{method} {nonsense:?}");
        }
    }
    while port.gateway.connected() > 0 {
        tokio::task::yield_now().await;
    }
}

/// A worker over msgpack.
struct MsgpackClient(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl MsgpackClient {
    async fn connect(address: SocketAddr) -> MsgpackClient {
        let mut request = format!("ws://{address}").into_client_request().unwrap();
        // w0:secret
        request.headers_mut().insert("Authorization", "Basic dzA6c2VjcmV0".parse().unwrap());
        MsgpackClient(connect_async(request).await.unwrap().0)
    }

    async fn say(&mut self, bytes: Vec<u8>) {
        // The gateway may have closed.
        let _ = self.0.send(Message::binary(bytes)).await;
    }

    /// The next request; `None` when the gateway has closed.
    async fn hear(&mut self) -> Option<(String, Value)> {
        loop {
            match self.0.next().await? {
                Ok(Message::Binary(bytes)) => {
                    let message = msgpack::decode(&bytes).unwrap();
                    let op = message.get("op").and_then(Value::as_text).unwrap();
                    return Some((op, message.get("seq_number").unwrap().clone()));
                }
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }

    async fn answer(&mut self, number: Value, result: Value) {
        let message = [("op", Value::from("response")), ("seq_number", number), ("result", result)];
        self.say(msgpack::encode(&Value::dict(message)).unwrap()).await;
    }
}

/// What a worker says on its own.
fn told(op: &str, more: &[(&'static str, Value)]) -> Vec<u8> {
    let mut fields = vec![("op", Value::from(op))];
    fields.extend(more.iter().cloned());
    msgpack::encode(&Value::dict(fields)).unwrap()
}

#[tokio::test]
async fn a_msgpack_worker_that_answers_nonsense_is_closed() {
    let port = Port::open(1).await;
    let mut refused = 0;
    let cases =
        ["get_worker_info", "set_worker_settings"].map(|op| nonsense().map(|nonsense| (op, nonsense)));
    for (op, nonsense) in cases.into_iter().flatten() {
        // Settings are answered by anything, and a command after them by nothing.
        let began = Instant::now();
        let mut client = MsgpackClient::connect(port.msgpack).await;
        let mut silent = Silence::default();
        while let Some((asked, number)) = client.hear().await {
            match &nonsense {
                Some(value) if asked == op => client.answer(number, value.clone()).await,
                None if asked == op => silent.begins(),
                _ if asked == "get_worker_info" => {
                    client.answer(number, Value::dict([("basedir", "/w"), ("system", "posix")])).await;
                }
                // The worker's directories are never listed.
                _ if asked == "start_command" => silent.begins(),
                _ => client.answer(number, Value::None).await,
            }
        }
        drop(silent);
        assert!(began.elapsed() < BOUND, "{op} {nonsense:?}");
        refused += 1;
        assert_eq!(port.gateway.refused(), refused, "{op} {nonsense:?}");
    }
}

#[tokio::test]
async fn garbage_of_a_msgpack_worker_ends_its_connection() {
    let port = Port::open(1).await;
    let said = [
        Vec::new(),
        vec![0xc1; 100],
        vec![0x91; 100_000],
        vec![0xdd, 0xff, 0xff, 0xff, 0xff],
        // More than a message may have.
        vec![0xc0; 5 << 20],
        told("update", &[]),
        msgpack::encode(&Value::dict([("seq_number", Value::Int(1))])).unwrap(),
        told("update", &[("seq_number", "one".into())]),
    ];
    for (number, bytes) in said.into_iter().enumerate() {
        let mut client = MsgpackClient::connect(port.msgpack).await;
        client.say(bytes).await;
        while client.hear().await.is_some() {}
        assert_eq!(port.gateway.refused(), number as u64 + 1);
    }
}

/// Updates that mean nothing are answered and left out, and the longest text that PB can carry comes whole.
#[tokio::test]
async fn nonsense_about_a_command_does_no_harm() {
    let mut port = Port::open(1).await;
    let mut client = PbClient::connect(port.pb).await;
    client.attach("w0").await.unwrap();
    let mut session = port.sessions.recv().await.unwrap();
    let id = CommandId { build: BuildId(1), step: 0, ordinal: 0 };
    let command = Command::Glob { pattern: "*".into() };
    session.link.start(id, Epoch(1), StartCommand { builddir: "b".into(), command }).unwrap();
    let object = loop {
        match client.hear().await.unwrap() {
            Heard::Call { request, method, args, .. } if method == "startCommand" => {
                client.answer(request, &Value::Text("what?".into())).await;
                let Value::Theirs(object) = args[0] else { panic!("{args:?}") };
                break Item::Int(object.into());
            }
            other => client.obey(other).await,
        }
    };
    let long = "ä".repeat(320 * 1024);
    let pair = |key: &str, value: Value| {
        let fields = Value::Dict(vec![(key.into(), value)]);
        Value::List(vec![Value::List(vec![fields, Value::Int(0)])])
    };
    let facts = ["type", "value", "traceback"].map(|key| (key, Value::Text(long.clone())));
    let failure = Value::Instance {
        class: "twisted.spread.pb.CopyableFailure".into(),
        state: Box::new(Value::dict(facts)),
    };
    let said: Vec<(&str, Vec<Value>)> = vec![
        ("update", Vec::new()),
        ("update", vec![Value::Int(1)]),
        ("update", vec![Value::List(vec![Value::List(Vec::new()), Value::None])]),
        ("update", vec![pair("rc", "zero".into())]),
        ("update", vec![pair("stat", Value::List(vec![Value::None; 10]))]),
        ("update", vec![pair("files", Value::Int(3))]),
        ("update", vec![pair("log", Value::Tuple(vec!["only a name".into()]))]),
        ("update", vec![pair("stdout", Value::dict([("not", "text")]))]),
        ("update", vec![pair("stdout", Value::Text(long.clone()))]),
        ("update", vec![pair("log", Value::Tuple(vec!["nobody asked".into(), "text".into()]))]),
        ("update", vec![pair("files", Value::List(vec![Value::Text(long.clone()), "a".into()]))]),
        ("update", vec![pair("failure_reason", Value::Text(long.clone()))]),
        ("complete", vec![failure]),
        ("complete", vec![Value::None, Value::Int(1), Value::Int(2)]),
        ("update", vec![pair("stdout", "late\n".into())]),
    ];
    let mut requests = HashSet::new();
    for (method, args) in said {
        requests.insert(client.call(object.clone(), method, args).await);
    }
    while !requests.is_empty() {
        match client.hear().await.expect("the connection is open") {
            Heard::Answer { request, .. } => drop(requests.remove(&request)),
            Heard::Error { request, value } => panic!("call {request} failed: {value:?}"),
            other => client.obey(other).await,
        }
    }
    let mut text = String::new();
    loop {
        let MasterEvent::Update { number, body, .. } = session.events.next().await.unwrap() else { continue };
        session.link.acknowledge(id, number);
        match body {
            UpdateBody::Output(outputs) => {
                for output in outputs {
                    assert_eq!(output.stream, Stream::Stdout);
                    text += &output.text;
                }
            }
            UpdateBody::Files(names) => assert_eq!(names, ["a"]),
            UpdateBody::FailureReason(reason) => assert!(long.starts_with(&reason)),
            UpdateBody::Complete { error } => {
                assert!(error.unwrap().starts_with("ää"), "a frame of a session can't take all of it");
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(text.replace('\n', "") == long, "it came whole, and nothing late");
}

#[tokio::test]
async fn a_worker_that_does_not_end_when_it_is_told_to_is_closed() {
    let mut port = Port::open(1).await;
    let mut client = PbClient::connect(port.pb).await;
    client.attach("w0").await.unwrap();
    let session = port.sessions.recv().await.unwrap();
    session.link.shutdown();
    let mut silent = Silence::default();
    let mut told = false;
    while let Some(heard) = client.hear().await {
        if matches!(&heard, Heard::Call { method, .. } if method == "shutdown") {
            told = true;
            silent.begins();
        }
        client.obey(heard).await;
    }
    assert!(told && port.gateway.refused() == 1);
}
