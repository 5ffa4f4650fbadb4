//! As much of HTTP as a test needs: one request on one connection.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// Sends a request and reads the whole answer. HTTP 1.0, so that the end of the connection is the end of the body.
///
/// # Errors
/// When nobody listens, the connection breaks, or what answers is no HTTP.
pub fn request(server: SocketAddr, method: &str, target: &str, json: Option<&str>) -> io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&server, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_nodelay(true)?;
    let body = json.unwrap_or_default();
    let kind = json.map_or("", |_| "Content-Type: application/json\r\n");
    let length = body.len();
    let request = format!(
        "{method} {target} HTTP/1.0\r\nHost: {server}\r\nAccept: application/json\r\n{kind}Content-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse(&answer).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "this is no answer of HTTP"))
}

fn parse(answer: &[u8]) -> Option<Answer> {
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let status = head.split_whitespace().nth(1)?.parse().ok()?;
    Some(Answer { status, body: answer[end + 4..].to_owned() })
}
