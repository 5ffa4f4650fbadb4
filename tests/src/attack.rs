//! What strangers do to a master's pages, and what that costs it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use crate::{Database, http};

/// How often a probe asks.
const PROBE: Duration = Duration::from_millis(20);

/// Memory of a process in MiB: `VmRSS` is resident now, `VmHWM` was at most.
pub fn memory(process: u32, name: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}

/// Lets `VmHWM` begin anew.
pub fn forget_peak(process: u32) {
    // Only the process's own user may; then the peak is that of its whole life.
    let _ = std::fs::write(format!("/proc/{process}/clear_refs"), "5");
}

/// Asks `/livez` all the time.
pub struct Probe {
    ends: Arc<AtomicBool>,
    asking: JoinHandle<Vec<Duration>>,
}

impl Probe {
    /// Begins.
    pub fn start(server: SocketAddr) -> Probe {
        let ends = Arc::new(AtomicBool::new(false));
        let end = ends.clone();
        let asking = spawn(move || {
            let mut took = Vec::new();
            while !end.load(Ordering::SeqCst) {
                let asked = Instant::now();
                let answer = http::request(server, "GET", "/livez", None);
                assert!(answer.is_ok_and(|answer| answer.status == 200), "the master lives");
                took.push(asked.elapsed());
                sleep(PROBE);
            }
            took
        });
        Probe { ends, asking }
    }

    /// How long answers took, sorted.
    pub fn end(self) -> Vec<Duration> {
        self.ends.store(true, Ordering::SeqCst);
        let mut took = self.asking.join().unwrap();
        took.sort();
        took
    }
}

fn connect(server: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

fn status_of(stream: &mut TcpStream) -> u16 {
    let mut head = [0; 12];
    match stream.read_exact(&mut head) {
        Ok(()) => String::from_utf8_lossy(&head)[9..].trim().parse().unwrap_or(0),
        Err(_) => 0,
    }
}

/// Posts a body on each of so many connections at once; answers the statuses. 0 is a connection that was closed.
pub fn posts(server: SocketAddr, path: &str, kind: &str, body: &str, times: usize) -> Vec<u16> {
    let posting = (0..times).map(|_| {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {server}\r\nContent-Type: {kind}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let body = body.to_owned();
        spawn(move || {
            let mut stream = connect(server);
            // One that is refused may be closed before all was sent.
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
            status_of(&mut stream)
        })
    });
    let posting: Vec<_> = posting.collect();
    posting.into_iter().map(|one| one.join().unwrap()).collect()
}

/// Begins posts of `length` bytes each, and sends all but the last byte. They stay open until they are dropped.
pub fn stalled(server: SocketAddr, path: &str, length: usize, times: usize) -> Vec<TcpStream> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {server}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    let body = vec![b' '; length - 1];
    let begin = |_| {
        let mut stream = connect(server);
        stream.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        stream
    };
    (0..times).map(begin).collect()
}

/// Asks for `path` on so many connections, and reads nothing.
pub fn deaf(server: SocketAddr, path: &str, times: usize) -> Vec<TcpStream> {
    let ask = |_| {
        let mut stream = connect(server);
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {server}\r\nAccept: application/json\r\n\r\n").unwrap();
        stream
    };
    (0..times).map(ask).collect()
}

/// Asks for `path` on so many connections at once, as a browser does, and reads everything; answers the statuses.
pub fn readers(server: SocketAddr, path: &str, times: usize) -> Vec<u16> {
    let ask = |_| {
        let path = path.to_owned();
        spawn(move || {
            let mut stream = connect(server);
            write!(
                stream,
                "GET {path} HTTP/1.1\r\nHost: {server}\r\nAccept: application/json\r\nAccept-Encoding: gzip\r\n\
                 Connection: close\r\n\r\n"
            )
            .unwrap();
            let status = status_of(&mut stream);
            let mut part = vec![0; 64 << 10];
            while stream.read(&mut part).is_ok_and(|read| read > 0) {}
            status
        })
    };
    let asking: Vec<_> = (0..times).map(ask).collect();
    asking.into_iter().map(|one| one.join().unwrap()).collect()
}

/// Opens event sockets, each of which asks for so many long paths and reads nothing.
pub fn long_paths(server: SocketAddr, paths: usize, sockets: usize) -> Vec<TcpStream> {
    let open = |_| {
        let mut stream = connect(server);
        stream.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
        write!(
            stream,
            "GET /ws HTTP/1.1\r\nHost: {server}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        .unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        for number in 0..paths {
            let path = format!("{number}/{}", "*/".repeat(15_000));
            let frame = format!(r#"{{"cmd": "startConsuming", "_id": {number}, "path": "{path}"}}"#);
            if stream.write_all(&masked(frame.as_bytes())).is_err() {
                break;
            }
        }
        stream
    };
    (0..sockets).map(open).collect()
}

/// A text frame of a client, masked with zeros.
fn masked(text: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x81, 0x80 | 126];
    frame.extend_from_slice(&u16::try_from(text.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(text);
    frame
}

/// Adds builds to the history, like those that are there. There must be one.
pub fn add_builds(database: &Database, count: usize) {
    database.execute(&format!(
        "INSERT INTO builds (number, builderid, buildrequestid, workerid, masterid, started_at, complete_at, \
         locks_duration_s, state_string, results) \
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) \
         SELECT b.number + n.i, b.builderid, b.buildrequestid, b.workerid, b.masterid, 1700000000, 1700000100, \
         0, 'build successful', 0 FROM n, (SELECT * FROM builds ORDER BY id LIMIT 1) b"
    ));
}

/// Makes the first log one of so many MiB.
pub fn fill_log(database: &Database, mebibytes: usize) {
    let lines = 600;
    let content = vec![format!("o{}", "a line of a long log; ".repeat(5)); lines].join("\n");
    let chunks = (mebibytes << 20) / content.len();
    database.execute("DELETE FROM logchunks WHERE logid = 1");
    database.execute(&format!(
        "INSERT INTO logchunks (logid, first_line, last_line, content, compressed) \
         WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {chunks} - 1) \
         SELECT 1, i * {lines}, i * {lines} + {lines} - 1, '{content}', 0 FROM n"
    ));
    database.execute(&format!("UPDATE logs SET num_lines = {} WHERE id = 1", chunks * lines));
}
