//! Whatever strangers send to the ports for stock workers: they leave within a bound, with one line in the log that names
//! them, and are counted.

use std::io::{Read, Write};
use std::net::TcpStream;

use muster_tests::http;

use super::*;

/// The longest that any of them may stay; a peer that says nothing at all stays longest.
const BOUND: Duration = Duration::from_secs(20);

/// The greeting of a peer that speaks PB: its dialect, and the version of the broker.
const HELLO: &[u8] = b"\x02\x82pb\x02\x80\x13\x87\x06\x81";

/// A stranger, and what it is.
struct Stranger {
    kind: &'static str,
    socket: TcpStream,
}

impl Stranger {
    fn comes(kind: &'static str, port: SocketAddr, says: &[u8]) -> Stranger {
        let mut socket = TcpStream::connect(port).unwrap();
        socket.set_read_timeout(Some(BOUND)).unwrap();
        // The master may close before it has read all.
        let _ = socket.write_all(says);
        Stranger { kind, socket }
    }

    /// Waits until the master closes; answers this end's address.
    fn leaves(mut self) -> (&'static str, SocketAddr) {
        let address = self.socket.local_addr().unwrap();
        let mut buffer = [0; 4096];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
                Err(error) => panic!("{}: still there after {BOUND:?}: {error}", self.kind),
            }
        }
        (self.kind, address)
    }
}

/// A request for a WebSocket, as `credentials` in base 64.
fn upgrade(credentials: &str) -> Vec<u8> {
    format!(
        "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Basic {credentials}\r\n\r\n"
    )
    .into_bytes()
}

fn refused(probe: SocketAddr) -> u64 {
    let answer = http::request(probe, "GET", "/metrics", None).unwrap();
    let figures = String::from_utf8(answer.body).unwrap();
    let name = "muster_stock_connections_refused_total ";
    figures.lines().find_map(|line| line.strip_prefix(name)?.parse().ok()).unwrap_or(0)
}

fn memory(probe: SocketAddr) -> f64 {
    let answer = http::request(probe, "GET", "/metrics", None).unwrap();
    let figures = String::from_utf8(answer.body).unwrap();
    let name = "process_resident_memory_bytes ";
    figures.lines().find_map(|line| line.strip_prefix(name)?.parse().ok()).unwrap()
}

#[test]
fn strangers_leave_within_a_bound_are_named_once_and_counted() {
    let ground = Ground::new("");
    let (pb, msgpack, web) = (ground.pb, ground.msgpack, ground.master.web);
    let _worker = ground.worker(Release::Current, Protocol::Pb);
    let before = (refused(web), memory(web));
    let with_hello = |more: &[u8]| [HELLO, more].concat();
    let login = |name: &str| {
        let head = b"\x07\x80\x1a\x87\x01\x81\x04\x82root\x05\x82login\x01\x81\x02\x80\x0b\x87";
        let name = [&[name.len() as u8, 0x82][..], name.as_bytes()].concat();
        with_hello(&[&head[..], &name, b"\x01\x80\x05\x87"].concat())
    };
    // A list of lists of lists, an announced gigabyte, and digits without an end.
    let deep = with_hello(&b"\x7f\x80".repeat(10_000));
    let long = with_hello(&[b"\x00\x00\x00\x00\x04\x82", &[b'x'; 60_000][..]].concat());
    let page: &[u8] = b"GET / HTTP/1.1\r\nHost: example.org\r\nUser-Agent: a browser with a long name and much to say\r\n\r\n";
    let strangers = [
        Stranger::comes("silent", pb, b""),
        Stranger::comes("silent over msgpack", msgpack, b""),
        Stranger::comes("stops after the greeting", pb, HELLO),
        Stranger::comes("stops after the name", pb, &login("w1")),
        Stranger::comes("stops in the headers", msgpack, b"GET / HTTP/1.1\r\nHost: x\r\n"),
        Stranger::comes("a browser", pb, page),
        Stranger::comes("garbage", pb, &[0xff; 5000]),
        Stranger::comes("deep", pb, &deep),
        Stranger::comes("long", pb, &long),
        Stranger::comes("digits", pb, &[0x7f; 1000]),
        Stranger::comes("an unknown dialect", pb, b"\x03\x82foo"),
        Stranger::comes("another version", pb, b"\x02\x82pb\x02\x80\x13\x87\x05\x81"),
        Stranger::comes("an unknown message", pb, &with_hello(b"\x01\x80\x03\x82foo")),
        Stranger::comes(
            "no name",
            pb,
            &with_hello(
                b"\x07\x80\x1a\x87\x01\x81\x04\x82root\x05\x82login\x01\x81\x01\x80\x0b\x87\x01\x80\x05\x87",
            ),
        ),
        Stranger::comes("garbage over msgpack", msgpack, &[0xff; 5000]),
        Stranger::comes("a browser over msgpack", msgpack, page),
        Stranger::comes("headers without an end", msgpack, &b"X: y\r\n".repeat(100_000)),
        // w1:wrong, nobody:secret, and no colon.
        Stranger::comes("a wrong password", msgpack, &upgrade("dzE6d3Jvbmc=")),
        Stranger::comes("an unknown worker", msgpack, &upgrade("bm9ib2R5OnNlY3JldA==")),
        Stranger::comes("no password", msgpack, &upgrade("dzE=")),
        Stranger::comes("no base 64", msgpack, &upgrade("!!!")),
    ];
    let count = strangers.len() as u64;
    let left: Vec<_> = strangers.into_iter().map(Stranger::leaves).collect();
    until("all are counted", || (refused(web) == before.0 + count).then_some(()));
    let mut master = ground.master;
    let said = master.process().said();
    let mut named_once = 0;
    for (kind, address) in left {
        let named: Vec<_> = said.lines().filter(|line| line.contains(&format!("{address}\""))).collect();
        assert!(named.len() <= 1, "{kind} at {address}: {named:#?}");
        for line in &named {
            assert!(line.contains("WARN") && line.len() < 500, "{kind}: {line}");
        }
        named_once += named.len();
    }
    // Beyond the first ones of a minute they are only counted.
    assert!(named_once >= 10, "{named_once}: {said}");
    let more = (memory(web) - before.1) / 1e6;
    assert!(more < 8.0, "{more} MB more");
    // Who works is not disturbed.
    let request = ground.rest.force("quick", json!({}));
    ground.rest.built(request, Results::Success);
    assert_eq!(refused(web), before.0 + count);
}
