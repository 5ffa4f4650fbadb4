//! Strangers on the ports: garbage, silence, floods. They are turned away, and everybody else is served.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use muster_tests::{Master, Rest, Results, Site, Worker, http};
use serde_json::json;
use tokio_tungstenite::tungstenite::{Message, client};

/// Connections that say nothing: more than there are threads, fewer than workers may open at once.
const SILENT: usize = 100;
/// How long a stranger waits to be turned away.
const PATIENCE: Duration = Duration::from_secs(30);

struct Running {
    master: Master,
    rest: Rest,
    worker: Worker,
    site: Site,
}

fn running() -> Running {
    let site = Site::new();
    let mut master = Master::new(&site, "builder(\"good\", sh(\"echo fine\", name=\"say\"))\n");
    let rest = master.start();
    let worker = master.start_worker(&site);
    Running { master, rest, worker, site }
}

impl Running {
    /// Builds with the worker that was there, and with one that comes now.
    #[track_caller]
    fn still_serves(mut self) {
        let request = self.rest.force("good", json!({}));
        self.rest.built(request, Results::Success);
        self.worker.stop();
        let _next = self.master.start_worker(&self.site);
        let request = self.rest.force("good", json!({}));
        let build = self.rest.built(request, Results::Success);
        assert_eq!(self.rest.lines(build, "say", 'o'), ["fine"]);
        let said = self.master.process().said();
        assert!(!said.contains("panicked") && !said.contains("internal error"), "{said}");
        self.master.database().wait_until_idle();
        assert!(self.master.stop().success());
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Says `words` and waits until the other side closes.
#[track_caller]
fn is_turned_away(address: SocketAddr, words: &[u8]) {
    let mut stream = connect(address);
    // It may be closed before all of it is said.
    let _ = stream.write_all(words);
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}: still open after {words:?}");
    }
}

fn garbage() -> Vec<Vec<u8>> {
    let mut random = fastrand::Rng::with_seed(7);
    let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(100_000).collect();
    vec![
        b"\x00\xff SSH-2.0-nonsense\r\n\r\n".to_vec(),
        // What begins a TLS connection.
        [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &noise[..200], b"\r\n\r\n"].concat(),
        [&noise[..], b"\r\n\r\n"].concat(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        [b"GET /", &[b'a'; 200_000][..], b" HTTP/1.1\r\n\r\n"].concat(),
    ]
}

#[test]
fn garbage_is_turned_away() {
    let running = running();
    for words in garbage() {
        is_turned_away(running.master.sessions, &words);
        is_turned_away(running.master.web, &words);
    }
    running.still_serves();
}

#[test]
fn frames_that_are_none_end_only_their_connection() {
    let running = running();
    let address = running.master.sessions;
    let oversized = vec![0; 3 << 20];
    for message in [
        Message::text("hello"),
        Message::binary(vec![0xc1; 40]),
        Message::binary(oversized),
        Message::binary(vec![0x91; 100_000]),
    ] {
        let (mut socket, _) = client(format!("ws://{address}/"), connect(address)).unwrap();
        // The other side may close before all of it is written.
        let _ = socket.send(message);
        while socket.read().is_ok() {}
    }
    running.still_serves();
}

#[test]
fn silence_holds_nobody_up() {
    let running = running();
    let addresses = [running.master.sessions, running.master.web];
    let silent: Vec<TcpStream> =
        addresses.iter().flat_map(|address| (0..SILENT).map(|_| connect(*address))).collect();
    let half: Vec<TcpStream> = addresses
        .iter()
        .map(|address| {
            let mut stream = connect(*address);
            stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nUpgra").unwrap();
            stream
        })
        .collect();
    running.still_serves();
    drop((silent, half));
}

#[test]
fn silence_on_the_session_port_has_an_end() {
    let running = running();
    is_turned_away(running.master.sessions, b"GET / HTTP/1.1\r\nHost: x\r\n");
    running.still_serves();
}

#[test]
fn odd_requests_get_an_answer() {
    let running = running();
    let web = running.master.web;
    let long = format!("/api/v2/{}", "x/".repeat(2000));
    for (method, target, body, status) in [
        ("POST", "/api/v2/forceschedulers/force-good", Some("{not json"), 400),
        ("POST", "/api/v2/forceschedulers/force-good", Some("[]"), 400),
        (
            "POST",
            "/api/v2/forceschedulers/nobody",
            Some(r#"{"jsonrpc":"2.0","method":"force","id":1,"params":{}}"#),
            500,
        ),
        // As Buildbot answers; what matters is that the order does not wait for the build to come.
        ("POST", "/api/v2/builds/2", Some(r#"{"jsonrpc":"2.0","method":"stop","id":1,"params":{}}"#), 200),
        ("GET", "/api/v2/nonsense", None, 404),
        ("GET", "/api/v2/builds/99999999999999999999", None, 404),
        ("GET", "/api/v2/builds?limit=many", None, 400),
        ("GET", "/builders/nobody", None, 404),
        ("GET", "/builders/good/builds/x", None, 404),
        ("GET", "/%00%ff", None, 404),
        ("DELETE", "/api/v2/builds/1", None, 400),
        ("GET", &long, None, 404),
    ] {
        let answer = http::request(web, method, target, body).unwrap();
        assert_eq!(answer.status, status, "{method} {target}: {}", String::from_utf8_lossy(&answer.body));
        assert!(!answer.body.is_empty(), "{method} {target} says why");
    }
    running.still_serves();
}

#[test]
fn a_body_that_is_too_long_is_refused() {
    let running = running();
    let mut stream = connect(running.master.web);
    let length: usize = 64 << 20;
    let head = format!(
        "POST /api/v2/forceschedulers/force-good HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let block = vec![b' '; 1 << 20];
    // It is answered before all of it is sent, and then the connection may break.
    for _ in 0..length / block.len() {
        if stream.write_all(&block).is_err() {
            break;
        }
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.is_empty() || answer.contains(" 413 "), "{answer}");
    running.still_serves();
}
