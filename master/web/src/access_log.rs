//! The access log, in the combined format that tools read. Requests never wait for the disk.

use std::{
    io::Write,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    task::{Context, Poll},
};

use axum::{
    Extension,
    body::{Body, Bytes, HttpBody},
    extract::Request,
    http::{HeaderMap, HeaderName, header},
    middleware::Next,
    response::Response,
};
use hyper::body::{Frame, SizeHint};
use jiff::Timestamp;

/// Lines that wait for the disk; further ones are dropped and counted. Some seconds of a busy server.
const QUEUE: usize = 8_192;
/// Bytes of one field that a client fills; the rest is cut off.
const MAX_FIELD: usize = 2_048;

/// Where lines go. Clones are the same log.
#[derive(Clone)]
pub struct AccessLog {
    lines: SyncSender<String>,
    dropped: Arc<AtomicU64>,
}

/// The other end of a connection, for the log: its address without the port.
#[derive(Clone, Debug)]
pub(crate) struct Peer(pub(crate) Arc<str>);

impl Peer {
    /// From its name for people, `ADDRESS:PORT`.
    pub(crate) fn of(name: &str) -> Peer {
        let address = name.parse::<std::net::SocketAddr>().map(|peer| peer.ip().to_string());
        Peer(address.unwrap_or_else(|_| "-".to_owned()).into())
    }
}

impl AccessLog {
    /// Writes each line to `sink`, from a thread of its own.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn to(sink: impl Write + Send + 'static) -> std::io::Result<AccessLog> {
        let (lines, waiting) = sync_channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let counted = dropped.clone();
        std::thread::Builder::new()
            .name("access log".to_owned())
            .spawn(move || write(waiting, sink, &counted))
            .map(|_| AccessLog { lines, dropped })
    }

    fn put(&self, line: String) {
        if let Err(TrySendError::Full(_)) = self.lines.try_send(line) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write(lines: Receiver<String>, mut sink: impl Write, dropped: &AtomicU64) {
    let mut fails = false;
    for line in lines {
        let written = sink.write_all(line.as_bytes());
        if let Err(error) = &written
            && !fails
        {
            tracing::warn!(%error, "the access log can't be written; requests are answered all the same");
        }
        fails = written.is_err();
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::warn!("{lost} lines of the access log were dropped: the disk was too slow for them");
        }
    }
}

/// Notes a request when the last byte of its answer is gone, or its client.
pub(crate) async fn note(Extension(log): Extension<AccessLog>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().map_or("-".into(), |peer| peer.0.clone());
    let at = Timestamp::now().strftime("%d/%b/%Y:%H:%M:%S +0000");
    let asked = format!("{} {} {:?}", request.method(), request.uri(), request.version());
    let begin = format!("{peer} - - [{at}] \"{}\"", escaped(&asked));
    let text = |headers: &HeaderMap, name: HeaderName| {
        headers
            .get(name)
            .map_or_else(|| "-".to_owned(), |value| escaped(&String::from_utf8_lossy(value.as_bytes())))
    };
    let (referer, agent) =
        (text(request.headers(), header::REFERER), text(request.headers(), header::USER_AGENT));
    let response = next.run(request).await;
    let begin = format!("{begin} {}", response.status().as_u16());
    let end = format!("\"{referer}\" \"{agent}\"\n");
    response.map(|body| Body::new(Counted { body, sent: 0, begin, end, log }))
}

/// As Apache escapes: nothing in a field can end it or begin a line.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes().take(MAX_FIELD) {
        match byte {
            b'"' | b'\\' => escaped.extend(['\\', char::from(byte)]),
            b' '..=b'~' => escaped.push(char::from(byte)),
            _ => escaped += &format!("\\x{byte:02x}"),
        }
    }
    escaped
}

/// A body that is counted while it is sent, and noted when it is dropped.
struct Counted {
    body: Body,
    sent: u64,
    begin: String,
    end: String,
    log: AccessLog,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            self.sent += data.len() as u64;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let sent = if self.sent == 0 { "-".to_owned() } else { self.sent.to_string() };
        self.log.put(format!("{} {sent} {}", self.begin, self.end));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_can_not_be_left() {
        assert_eq!(escaped("a\"b\\c\nd\u{e4}"), "a\\\"b\\\\c\\x0ad\\xc3\\xa4");
        assert_eq!(escaped(&"x".repeat(5_000)).len(), MAX_FIELD);
    }

    #[test]
    fn the_port_of_a_peer_is_left_out() {
        let named = |name: &str| Peer::of(name).0.to_string();
        assert_eq!(
            (named("127.0.0.1:80"), named("[::1]:80"), named("a local process")),
            ("127.0.0.1".into(), "::1".into(), "-".into())
        );
    }
}
