//! Routers that are none, or don't want us: a clear line in the log, counters, growing pauses, and the bus goes on inside
//! its process.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use muster_bus::{Bus, WampOptions};
use muster_router_compat::auth::{Credentials, Secret};
use muster_router_compat::net::tls::ClientTls;
use muster_router_compat::net::{Listener, RouterServer};
use muster_router_compat::router::{Proof, RouterConfig};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};
use tokio_util::sync::CancellationToken;

/// Attempts that each case waits for. The pauses before the third and the fourth are at least 100 and 200 ms, the one
/// before the second 50 ms.
const ATTEMPTS: u32 = 4;
const LEAST: Duration = Duration::from_millis(350);
const PATIENCE: Duration = Duration::from_secs(30);

/// What the log says.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// How a false router answers.
#[derive(Clone, Copy)]
enum Answer {
    /// With these bytes instead of WebSocket's handshake.
    Bytes(&'static str),
    /// With a handshake that leaves out the subprotocol.
    NoSubprotocol,
    /// With these texts, each after a message of the client; several in one are told apart by line breaks.
    Texts(&'static [&'static str]),
}

async fn answer(stream: TcpStream, answer: Answer) {
    match answer {
        Answer::Bytes(bytes) => {
            let mut stream = stream;
            // The client may be gone already.
            let _ = stream.write_all(bytes.as_bytes()).await;
        }
        Answer::NoSubprotocol => drop(shake_hands(stream, false).await),
        Answer::Texts(texts) => {
            let Some(mut socket) = shake_hands(stream, true).await else { return };
            for text in texts {
                let _ = socket.next().await;
                for line in text.lines() {
                    let _ = socket.send(Message::text(line)).await;
                }
            }
            // The client has to end it.
            while let Some(Ok(_)) = socket.next().await {}
        }
    }
}

async fn shake_hands(stream: TcpStream, with_subprotocol: bool) -> Option<WebSocketStream<TcpStream>> {
    #[allow(clippy::result_large_err, reason = "the type is the library's")]
    let choose = |_: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
        if with_subprotocol {
            response.headers_mut().insert("sec-websocket-protocol", "wamp.2.json".parse().unwrap());
        }
        Ok(response)
    };
    accept_hdr_async(stream, choose).await.ok()
}

/// A router at an address, and how often it was dialled.
struct Place {
    port: u16,
    dials: Arc<AtomicU32>,
    _serving: tokio_util::task::AbortOnDropHandle<()>,
}

async fn false_router(how: Answer) -> Place {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, dials) = (listener.local_addr().unwrap().port(), Arc::new(AtomicU32::new(0)));
    let counted = dials.clone();
    let serving = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(answer(stream, how));
        }
    });
    Place { port, dials, _serving: tokio_util::task::AbortOnDropHandle::new(serving) }
}

async fn true_router(config: RouterConfig) -> Place {
    let listener = Listener::tcp("127.0.0.1:0", None).await.unwrap();
    let port = listener.port().unwrap();
    let server = RouterServer::new(config);
    let serving = tokio::spawn(async move { server.serve(listener, CancellationToken::new()).await });
    let serving = tokio_util::task::AbortOnDropHandle::new(serving);
    Place { port, dials: Arc::default(), _serving: serving }
}

fn counter(bus: &Bus, name: &str) -> u64 {
    bus.counters().into_iter().find(|(known, _)| *known == name).unwrap().1
}

/// A master's bus at that place: what it says, what it counts, and that it does not hurry.
async fn endure(place: Place, credentials: Credentials, says: &str, counts: &[&str], log: &Log) {
    let url = format!("ws://127.0.0.1:{}/ws", place.port);
    let (realm, tls) = ("buildbot".to_owned(), ClientTls::default());
    let options = WampOptions { url: url.parse().unwrap(), realm, credentials, tls, orders_role: None };
    let (bus, driver) = Bus::wamp(options);
    let (stop, began) = (CancellationToken::new(), Instant::now());
    let driving = tokio::spawn(driver.run(stop.clone()));
    let waiting = async {
        while counts.iter().any(|name| counter(&bus, name) < u64::from(ATTEMPTS)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let counted = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(counted.is_ok(), "{says}: {counts:?} are too few in {:?}", bus.counters());
    let took = began.elapsed();
    assert!(took >= LEAST, "{says}: {ATTEMPTS} attempts within {took:?}");
    let dials = place.dials.load(Ordering::Relaxed);
    assert!(dials <= ATTEMPTS + 1, "{says}: {dials} dials");
    stop.cancel();
    driving.await.unwrap();
    let said = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<&str> = said.lines().filter(|line| line.contains(&url)).collect();
    assert!(lines.iter().any(|line| line.contains("WARN") && line.contains(says)), "{says:?} in {lines:#?}");
}

#[tokio::test]
async fn bad_routers_are_named_and_counted_and_dialled_with_pauses() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).init();
    let false_ones: [(Answer, &str, &[&str]); 9] = [
        (
            Answer::Bytes("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"),
            "no WAMP router",
            &["dials_failed", "protocol_violations"],
        ),
        (
            Answer::Bytes("SSH-2.0-OpenSSH_9.2p1\r\n"),
            "no WAMP router",
            &["dials_failed", "protocol_violations"],
        ),
        (Answer::NoSubprotocol, "no WAMP router", &["dials_failed", "protocol_violations"]),
        (Answer::Texts(&["hello"]), "no message of WAMP", &["dials_refused", "protocol_violations"]),
        (
            Answer::Texts(&["[2, 9007199254740993, {}]"]),
            "an id from 1 to 2^53",
            &["dials_refused", "protocol_violations"],
        ),
        (
            Answer::Texts(&[r#"[3, {"message": "too late"}, "wamp.error.no_such_role"]"#]),
            "refused the session (wamp.error.no_such_role): too late",
            &["dials_refused"],
        ),
        (Answer::Texts(&[r#"[4, "kerberos", {}]"#]), "'kerberos', which was not offered", &["dials_refused"]),
        (
            Answer::Texts(&["[2, 7, {}]", "[33, 1, 9]\n[36, 9, 9007199254740993, {}, []]"]),
            "an id from 1 to 2^53",
            &["sessions", "sessions_lost", "protocol_violations"],
        ),
        (
            Answer::Texts(&["[2, 7, {}]", r#"[8, 32, 1, {}, "wamp.error.not_authorized", ["no"]]"#]),
            "refused the session (wamp.error.not_authorized): no",
            &["sessions", "sessions_lost"],
        ),
    ];
    let mut cases = Vec::new();
    for (answer, says, counts) in false_ones {
        let place = false_router(answer).await;
        cases.push(endure(place, Credentials::Anonymous, says, counts, &log));
    }
    let ticket = |text| Credentials::Ticket { authid: "m1".to_owned(), ticket: Secret::new(text) };
    let closed = || RouterConfig::closed("buildbot", "m1", Proof::Ticket(Secret::new("right")));
    for (config, credentials, says) in [
        (RouterConfig::open("another"), Credentials::Anonymous, "there is no realm 'buildbot'"),
        (closed(), ticket("wrong"), "'m1' could not prove who it is"),
        (closed(), Credentials::Anonymous, "accepts none of the authentication methods"),
    ] {
        let place = true_router(config).await;
        cases.push(endure(place, credentials, says, &["dials_refused"], &log));
    }
    futures_util::future::join_all(cases).await;
}
