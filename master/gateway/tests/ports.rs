//! The ports, over real sockets: strangers leave within a bound, workers attach, calls are answered as they must be.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::time::Duration;

use common::{Heard, PASSWORD, PbClient, Port, roster};
use muster_core::{BuildId, CommandId, Epoch};
use muster_gateway::banana::Item;
use muster_gateway::value::Value;
use muster_session::command::{DownloadFile, Stream, UploadFile};
use muster_session::{Command, MasterEvent, StartCommand, UpdateBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Reads until the other side closes.
async fn is_closed(socket: &mut TcpStream) {
    let mut rest = Vec::new();
    // A reset is an end as well.
    let _ = socket.read_to_end(&mut rest).await;
}

#[tokio::test(start_paused = true)]
async fn strangers_who_say_nothing_leave() {
    let port = Port::open(1).await;
    let began = tokio::time::Instant::now();
    for address in [port.pb, port.msgpack] {
        let mut socket = TcpStream::connect(address).await.unwrap();
        is_closed(&mut socket).await;
    }
    assert!(began.elapsed() < Duration::from_secs(60));
    assert_eq!(port.gateway.refused(), 2);
}

#[tokio::test]
async fn garbage_ends_the_connection_at_once() {
    let port = Port::open(1).await;
    let deep = [0x7f_u8, 0x80].repeat(200);
    // A string of 300 KB is fine for a worker, not for a stranger.
    let long = [&[0, 0x40, 0x12, 0x82][..], &[b'x'; 20_000]].concat();
    let said: [&[u8]; 4] = [
        b"GET / HTTP/1.1\r\nHost: example.org\r\nUser-Agent: a browser with a long name\r\n\r\n",
        &[0xff; 100],
        &deep,
        &long,
    ];
    for (number, bytes) in said.iter().enumerate() {
        let mut socket = TcpStream::connect(port.pb).await.unwrap();
        socket.write_all(bytes).await.unwrap();
        is_closed(&mut socket).await;
        assert_eq!(port.gateway.refused(), number as u64 + 1);
    }
    for request in ["hello\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"] {
        let mut socket = TcpStream::connect(port.msgpack).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        is_closed(&mut socket).await;
    }
    assert_eq!(port.gateway.refused(), 6);
}

#[tokio::test]
async fn a_wrong_password_is_told_so_that_the_worker_lives_on() {
    let port = Port::open(1).await;
    for (name, password) in [("w0", "wrong"), ("nobody", PASSWORD)] {
        let mut client = PbClient::connect(port.pb).await;
        let response = client.log_in(name, password, Value::Ours(1)).await;
        let Some(Heard::Error { request, value: Value::Instance { state, .. } }) = client.hear().await else {
            panic!("no error");
        };
        assert_eq!(request, response);
        let parents = state.get("parents").unwrap().elements().unwrap();
        assert!(parents.contains(&"twisted.cred.error.UnauthorizedLogin".into()), "{parents:?}");
        // It is held for a while, and closed then.
        tokio::time::pause();
        is_closed(&mut client.socket).await;
        tokio::time::resume();
    }
}

/// Says a wrong password; whether it was told so.
async fn guess(address: std::net::SocketAddr, name: &str) -> bool {
    let mut client = PbClient::connect(address).await;
    client.log_in(name, "wrong", Value::Ours(1)).await;
    // One that is turned away is told nothing.
    matches!(client.hear().await, Some(Heard::Error { .. }))
}

#[tokio::test]
async fn guesses_are_slow_and_keep_no_worker_out() {
    let port = Port::open(2).await;
    let mut worker = PbClient::connect(port.pb).await;
    worker.attach("w0").await.unwrap();
    let guesses: Vec<_> = (0..60).map(|_| tokio::spawn(guess(port.pb, "w1"))).collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    // The one that was let in there comes again at once.
    drop(worker);
    let again = async { PbClient::connect(port.pb).await.attach("w0").await.expect("it is let in") };
    tokio::time::timeout(Duration::from_secs(2), again).await.expect("at once");
    let mut told = 0;
    for guess in guesses {
        told += u32::from(guess.await.unwrap());
    }
    assert!((2..30).contains(&told), "{told} guesses were told");
    // And the one that was meant, after a while.
    let other = async { PbClient::connect(port.pb).await.attach("w1").await.expect("it is let in") };
    tokio::time::timeout(Duration::from_secs(8), other).await.expect("soon");
}

#[tokio::test]
async fn guesses_over_msgpack_are_slow() {
    let port = Port::open(1).await;
    let began = std::time::Instant::now();
    for _ in 0..6 {
        let mut socket = TcpStream::connect(port.msgpack).await.unwrap();
        // w0:wrong
        let request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                       Authorization: Basic dzA6d3Jvbmc=\r\n\r\n";
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut said = String::new();
        socket.read_to_string(&mut said).await.unwrap();
        assert!(said.starts_with("HTTP/1.1 401"), "{said}");
    }
    assert!(began.elapsed() >= Duration::from_millis(750), "{:?}", began.elapsed());
}

#[tokio::test]
async fn many_workers_attach_at_once() {
    const WORKERS: usize = 500;
    let mut port = Port::open(WORKERS).await;
    let attach = |number: usize| {
        let address = port.pb;
        tokio::spawn(async move {
            let mut client = PbClient::connect(address).await;
            client.attach(&format!("w{number}")).await.expect("it is let in");
            client
        })
    };
    let tasks: Vec<_> = (0..WORKERS).map(attach).collect();
    let mut clients = Vec::new();
    for task in tasks {
        clients.push(task.await.unwrap());
    }
    assert_eq!(port.gateway.connected(), WORKERS);
    let session = port.sessions.recv().await.unwrap();
    assert_eq!(session.info["version"], "4.3.0");
    drop(clients);
    while port.gateway.connected() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn silent_connections_don_t_keep_workers_out() {
    const SILENT: usize = 2100;
    let port = Port::open(1).await;
    let mut silent = Vec::new();
    for _ in 0..SILENT {
        silent.push(TcpStream::connect(port.pb).await.unwrap());
    }
    let attach = async { PbClient::connect(port.pb).await.attach("w0").await.expect("it is let in") };
    tokio::time::timeout(Duration::from_secs(5), attach).await.expect("soon");
    assert!(port.gateway.refused() > 0, "somebody left for it");
}

#[tokio::test]
async fn a_dead_connection_makes_way_for_the_newest() {
    let mut port = Port::open(1).await;
    let mut dead = PbClient::connect(port.pb).await;
    dead.attach("w0").await.unwrap();
    let mut first = port.sessions.recv().await.unwrap();
    // It does not answer its ping.
    let mut newcomer = PbClient::connect(port.pb).await;
    newcomer.attach("w0").await.unwrap();
    let second = port.sessions.recv().await.unwrap();
    assert!(second.dial_no > first.dial_no && second.link.boot_id() != first.link.boot_id());
    is_closed(&mut dead.socket).await;
    loop {
        match first.events.next().await.unwrap() {
            MasterEvent::Over => break,
            MasterEvent::Connected { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(port.gateway.connected(), 1);
}

fn id(ordinal: u32) -> CommandId {
    CommandId { build: BuildId(1), step: 0, ordinal }
}

fn order(command: Command) -> StartCommand {
    StartCommand { builddir: "b".into(), command }
}

/// Waits for the call `method`; answers its number, its object and arguments. Others are answered.
async fn called(client: &mut PbClient, wanted: &str) -> (i128, i128, Vec<Value>) {
    loop {
        match client.hear().await.expect("the connection is open") {
            Heard::Call { request, object, method, args } if method == wanted => {
                return (request, object, args);
            }
            other => client.obey(other).await,
        }
    }
}

async fn answered(client: &mut PbClient, wanted: i128) -> Value {
    loop {
        match client.hear().await.expect("the connection is open") {
            Heard::Answer { request, value } if request == wanted => return value,
            Heard::Error { request, value } => panic!("call {request} failed: {value:?}"),
            other => client.obey(other).await,
        }
    }
}

async fn next_update(session: &mut common::Session) -> (CommandId, u64, UpdateBody) {
    loop {
        if let MasterEvent::Update { command, number, body } = session.events.next().await.unwrap() {
            return (command, number, body);
        }
    }
}

fn remote(args: &[Value], place: usize, key: Option<&str>) -> Item {
    let value = match key {
        Some(key) => args[place].get(key).unwrap(),
        None => &args[place],
    };
    let Value::Theirs(object) = value else { panic!("{value:?}") };
    Item::Int((*object).into())
}

#[tokio::test]
async fn blocks_are_answered_once_the_engine_has_them() {
    let mut port = Port::open(1).await;
    let mut client = PbClient::connect(port.pb).await;
    client.attach("w0").await.unwrap();
    let mut session = port.sessions.recv().await.unwrap();
    let upload = UploadFile {
        workdir: "build".into(),
        source: "x".into(),
        max_size: None,
        block_size: 10,
        keep_stamp: false,
    };
    session.link.start(id(0), Epoch(1), order(Command::UploadFile(upload))).unwrap();
    let (request, _, args) = called(&mut client, "startCommand").await;
    client.answer(request, &Value::None).await;
    let (command, writer) = (remote(&args, 0, None), remote(&args, 3, Some("writer")));

    let write = client.call(writer.clone(), "write", vec![Value::Bytes(b"block".to_vec())]).await;
    let update = Value::List(vec![Value::List(vec![
        Value::dict([("stdout", Value::from("half a li"))]),
        Value::Int(0),
    ])]);
    let told = client.call(command.clone(), "update", vec![update]).await;
    // The update is in the journal, and its answer overtakes that of the block.
    assert_eq!(answered(&mut client, told).await, Value::Int(0));
    assert_eq!(next_update(&mut session).await, (id(0), 1, UpdateBody::Chunk(b"block".to_vec())));
    session.link.acknowledge(id(0), 1);
    assert_eq!(answered(&mut client, write).await, Value::None);

    let complete = client.call(command.clone(), "complete", vec![Value::None]).await;
    assert_eq!(answered(&mut client, complete).await, Value::None);
    let (_, _, body) = next_update(&mut session).await;
    assert!(
        matches!(body, UpdateBody::Output(outputs) if outputs[0].stream == Stream::Stdout && outputs[0].text == "half a li\n")
    );
    assert_eq!(next_update(&mut session).await.2, UpdateBody::Complete { error: None });
    session.link.acknowledge(id(0), 3);
    // Late calls on a finished command are answered as any others.
    let late = client.call(writer, "write", vec![Value::Bytes(b"late".to_vec())]).await;
    assert_eq!(answered(&mut client, late).await, Value::None);
}

#[tokio::test]
async fn a_builder_gets_one_command_at_a_time_and_interrupts_find_theirs() {
    let mut port = Port::open(1).await;
    let mut client = PbClient::connect(port.pb).await;
    client.attach("w0").await.unwrap();
    let mut session = port.sessions.recv().await.unwrap();
    for ordinal in 0..3 {
        session.link.start(id(ordinal), Epoch(1), order(Command::Glob { pattern: "*".into() })).unwrap();
    }
    let (request, _, args) = called(&mut client, "startCommand").await;
    client.answer(request, &Value::None).await;
    assert_eq!(args[1], "1.0.0".into());
    // The second one waits, and an interrupt of it must not hit the first.
    session.link.interrupt(id(1), "why not").unwrap();
    assert_eq!(next_update(&mut session).await, (id(1), 1, UpdateBody::Complete { error: None }));
    let complete = client.call(remote(&args, 0, None), "complete", vec![Value::None]).await;
    answered(&mut client, complete).await;
    let (_, _, args) = called(&mut client, "startCommand").await;
    assert_eq!(args[1], "1.0.2".into());
    session.link.interrupt(id(2), "enough").unwrap();
    let (_, _, args) = called(&mut client, "interruptCommand").await;
    assert_eq!(args[0], "1.0.2".into());
}

#[tokio::test]
async fn a_download_is_read_as_it_comes() {
    let mut port = Port::open(1).await;
    let mut client = PbClient::connect(port.pb).await;
    client.attach("w0").await.unwrap();
    let session = port.sessions.recv().await.unwrap();
    let download =
        DownloadFile { workdir: "build".into(), destination: "x".into(), max_size: None, mode: None };
    session.link.start(id(0), Epoch(1), order(Command::DownloadFile(download))).unwrap();
    let (request, _, args) = called(&mut client, "startCommand").await;
    client.answer(request, &Value::None).await;
    let reader = remote(&args, 3, Some("reader"));
    let first = client.call(reader.clone(), "read", vec![Value::Int(4)]).await;
    session.link.chunk(id(0), b"some bytes".to_vec(), false).await.unwrap();
    assert_eq!(answered(&mut client, first).await, Value::Bytes(b"some".to_vec()));
    let second = client.call(reader.clone(), "read", vec![Value::Int(100)]).await;
    assert_eq!(answered(&mut client, second).await, Value::Bytes(b" bytes".to_vec()));
    session.link.chunk(id(0), Vec::new(), true).await.unwrap();
    let end = client.call(reader.clone(), "read", vec![Value::Int(100)]).await;
    assert_eq!(answered(&mut client, end).await, Value::Bytes(Vec::new()));
    let close = client.call(reader, "close", Vec::new()).await;
    assert_eq!(answered(&mut client, close).await, Value::None);
}

#[tokio::test]
async fn a_worker_that_left_the_configuration_loses_its_connection() {
    let port = Port::open(1).await;
    let mut client = PbClient::connect(port.pb).await;
    client.attach("w0").await.unwrap();
    port.roster.send_replace(roster(0).into());
    is_closed(&mut client.socket).await;
}
