//! The session port: workers that come in over WebSocket, and everybody else.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::*;
use futures_util::{SinkExt, StreamExt};
use muster_core::Epoch;
use muster_session::listen::MAX_OPENINGS;
use muster_session::wire::{self, FromMaster, FromWorker, Hello, MAX_FRAME};
use muster_session::{
    BootId, Disconnect, MasterLink, MasterUrl, Opening, OpeningError, Passwords, RefusalCode, Transport,
    UpdateBody, WorkerEvent, connect, open, serve,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

async fn listen(passwords: Passwords) -> (MasterUrl, mpsc::Receiver<Opening>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (openings, receiver) = mpsc::channel(4);
    tokio::spawn(serve(listener, passwords, openings));
    (MasterUrl { host: "localhost".into(), port, tls: false }, receiver)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_worker_works_over_a_socket_and_comes_back() {
    let (url, mut openings) = listen(passwords()).await;
    let mut worker = TestWorker::new("secret");
    let (link, mut events) = MasterLink::new("w1", worker.boot_id.clone());

    let dial = worker.dial(connect(&url).await.unwrap(), 1);
    let opening = openings.recv().await.unwrap();
    assert!(opening.peer().starts_with("127.0.0.1:"), "{}", opening.peer());
    let conversation = converse(&link, opening);
    link.start(command(0), Epoch(1), glob()).unwrap();
    let (id, number, _) = worker.next_order().await;
    worker.link.acknowledge(id, number);
    let big = vec![7; wire::MAX_BLOCK];
    for _ in 0..8 {
        worker.tell(id, UpdateBody::Chunk(big.clone()));
    }
    for number in 1..=4 {
        assert_eq!(next_update(&mut events).await.1, number);
        link.acknowledge(id, number);
    }
    conversation.abort();
    dial.await.unwrap();

    worker.dial(connect(&url).await.unwrap(), 2);
    converse(&link, openings.recv().await.unwrap());
    for number in 5..=8 {
        assert_eq!(next_update(&mut events).await, (id, number, UpdateBody::Chunk(big.clone())));
        link.acknowledge(id, number);
    }
    worker.tell(id, UpdateBody::Complete { error: None });
    assert_eq!(next_update(&mut events).await.1, 9);
    link.acknowledge(id, 9);
    while !worker.next_stored().await.2 {}
}

#[tokio::test]
async fn strangers_are_told_the_same_whether_name_or_password_is_wrong() {
    for passwords in [passwords(), Arc::new(|_: &str| None) as Passwords] {
        let (url, _openings) = listen(passwords).await;
        let worker = TestWorker::new("guess");
        let Disconnect::Refused(refusal) = worker.dial(connect(&url).await.unwrap(), 1).await.unwrap() else {
            panic!("it was let in")
        };
        assert_eq!(refusal.code, RefusalCode::Credentials);
        assert!(refusal.reason.contains("c['workers']"), "{}", refusal.reason);
    }
}

#[tokio::test]
async fn a_master_has_to_know_the_password_too() {
    let mut worker = TestWorker::new("secret");
    let (near, far) = Transport::pair();
    let dial = worker.dial(near, 1);
    // A master that lets everybody in, whatever the proof, and sends it back as its own.
    let mut far = common::Raw(far);
    let FromWorker::Hello(hello) = far.receive().await else { panic!("a hello comes first") };
    far.send(&FromMaster::Challenge { version: 1, nonce: hello.nonce }).await;
    let FromWorker::Claim(claim) = far.receive().await else { panic!("then a claim") };
    far.send(&FromMaster::Welcome(wire::Welcome { proof: claim.proof, terms: terms() })).await;
    let end = dial.await.unwrap();
    assert!(end.to_string().contains("could not prove"), "{end}");
    let nothing = tokio::time::timeout(Duration::ZERO, worker.events.next()).await;
    assert!(!matches!(nothing, Ok(Some(WorkerEvent::Connected { .. }))));
}

#[tokio::test]
async fn garbage_on_the_port_harms_nobody() {
    let (url, mut openings) = listen(passwords()).await;
    let mut stream = TcpStream::connect(("127.0.0.1", url.port)).await.unwrap();
    stream.write_all(b"\x00\xffSSH-2.0-nonsense\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // Closed, or reset because we said more than was read.
    let _ = stream.read_to_end(&mut answer).await;

    for message in
        [Message::text("hello"), Message::binary(vec![0xc1; 40]), Message::binary(vec![0; MAX_FRAME + 1])]
    {
        let stream = TcpStream::connect(("127.0.0.1", url.port)).await.unwrap();
        let (mut socket, _) = tokio_tungstenite::client_async(url.to_string() + "/", stream).await.unwrap();
        // The other side may close before all of it is written.
        let _ = socket.send(message).await;
        while let Some(Ok(_)) = socket.next().await {}
    }

    let worker = TestWorker::new("secret");
    worker.dial(connect(&url).await.unwrap(), 1);
    assert_eq!(openings.recv().await.unwrap().worker(), "w1");
}

#[tokio::test]
async fn silent_connections_don_t_keep_workers_out() {
    let (url, mut openings) = listen(passwords()).await;
    let mut silent = Vec::new();
    for _ in 0..MAX_OPENINGS {
        silent.push(TcpStream::connect(("127.0.0.1", url.port)).await.unwrap());
    }
    let worker = TestWorker::new("secret");
    let came = async {
        worker.dial(connect(&url).await.unwrap(), 1);
        openings.recv().await.unwrap()
    };
    let came = tokio::time::timeout(Duration::from_secs(5), came).await;
    assert_eq!(came.expect("it is let in soon").worker(), "w1");
}

#[tokio::test]
async fn a_port_without_a_master_is_named() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let error = connect(&MasterUrl { host: "127.0.0.1".into(), port, tls: false }).await.err().unwrap();
    assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
}

#[tokio::test(start_paused = true)]
async fn silence_is_turned_away() {
    let (_near, far) = Transport::pair();
    assert!(matches!(open(far, &passwords()).await, Err(OpeningError::Silent)));

    let worker = TestWorker::new("secret");
    let (near, _far) = Transport::pair();
    let end = worker.dial(near, 1).await.unwrap();
    assert!(end.to_string().contains("nothing was heard"), "{end}");
}

#[tokio::test]
async fn versions_without_a_common_one_are_named() {
    let (near, far) = Transport::pair();
    let mut near = common::Raw(near);
    let hello = Hello {
        versions: vec![77],
        worker: "w1".into(),
        boot_id: BootId::fresh(),
        dial_no: 1,
        nonce: muster_session::auth::Nonce::fresh(),
    };
    near.send(&FromWorker::Hello(hello)).await;
    let Err(OpeningError::Refused(reason)) = open(far, &passwords()).await else { panic!("it was let in") };
    assert!(reason.contains("[77]"), "{reason}");
    let FromMaster::Refused(refusal) = near.receive().await else { panic!("it was told nothing") };
    assert_eq!(refusal.code, RefusalCode::Version);
}
