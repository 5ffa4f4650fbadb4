//! A worker's socket: pieces of bytes in, pieces out, whatever is under it.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::{Sink, SinkExt, Stream, StreamExt, future, sink};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, ReadHalf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::{Error, Message};

/// Bytes that are read at once, by way of the stack: an idle worker has no buffer.
const READ_BUFFER: usize = 32 * 1024;

/// Small pieces of a byte stream are written together up to this.
const TOGETHER: usize = 64 * 1024;

/// Bytes that may wait for a peer that does not read. Orders are short, and a download sends its next block only when
/// it is asked for; so a peer with more than this does not work any more, and its connection is closed.
const MAX_UNSENT: usize = 8 * 1024 * 1024;

type Incoming = Pin<Box<dyn Stream<Item = io::Result<Vec<u8>>> + Send>>;
type Outgoing = Pin<Box<dyn Sink<Vec<u8>, Error = io::Error> + Send>>;

/// Both directions of a connection.
pub(crate) struct Wire {
    pub(crate) incoming: Incoming,
    pub(crate) outbox: Outbox,
    /// The other end, for people.
    pub(crate) peer: String,
}

/// What waits to be written.
pub(crate) struct Outbox {
    sink: Outgoing,
    waiting: VecDeque<Vec<u8>>,
    bytes: usize,
    flushed: bool,
    /// Pieces have no boundaries on the wire.
    is_stream: bool,
}

impl Wire {
    /// A stream of bytes.
    pub(crate) fn stream<S>(socket: S, peer: String) -> Wire
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (reader, writer) = tokio::io::split(socket);
        let incoming = Pieces { reader: Some(reader) };
        let outgoing = sink::unfold(writer, |mut writer, bytes: Vec<u8>| async move {
            writer.write_all(&bytes).await?;
            Ok(writer)
        });
        Wire { incoming: Box::pin(incoming), outbox: Outbox::new(Box::pin(outgoing), true), peer }
    }

    /// One binary message a piece.
    pub(crate) fn messages<S>(socket: WebSocketStream<S>, peer: String) -> Wire
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sink, stream) = socket.split();
        let outgoing = sink
            .with(|bytes: Vec<u8>| future::ready(Ok::<_, Error>(Message::Binary(bytes.into()))))
            .sink_map_err(io::Error::other);
        let incoming = stream.filter_map(|message| {
            future::ready(match message {
                Ok(Message::Binary(bytes)) => Some(Ok(bytes.into())),
                // Text has no meaning here; the others are WebSocket's own.
                Ok(_) => None,
                Err(error) => Some(Err(receiving(error))),
            })
        });
        Wire { incoming: Box::pin(incoming), outbox: Outbox::new(Box::pin(outgoing), false), peer }
    }
}

/// [`io::ErrorKind::InvalidData`] tells that the peer broke a rule; otherwise only the connection broke.
fn receiving(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) | Error::ConnectionClosed => {
            io::Error::new(io::ErrorKind::ConnectionReset, error)
        }
        Error::Protocol(_) | Error::Capacity(_) | Error::Utf8(_) => {
            io::Error::new(io::ErrorKind::InvalidData, error)
        }
        other => io::Error::other(other),
    }
}

/// What comes in on a stream of bytes, as it comes.
struct Pieces<S> {
    /// `None` after the end.
    reader: Option<ReadHalf<S>>,
}

impl<S: AsyncRead> Stream for Pieces<S> {
    type Item = io::Result<Vec<u8>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Vec<u8>>>> {
        let Some(reader) = &mut self.reader else { return Poll::Ready(None) };
        let mut bytes = [const { MaybeUninit::uninit() }; READ_BUFFER];
        let mut buffer = ReadBuf::uninit(&mut bytes);
        let read = ready!(Pin::new(reader).poll_read(context, &mut buffer));
        if read.is_err() || buffer.filled().is_empty() {
            self.reader = None;
        }
        Poll::Ready(match read {
            Ok(()) if buffer.filled().is_empty() => None,
            Ok(()) => Some(Ok(buffer.filled().to_vec())),
            Err(error) => Some(Err(error)),
        })
    }
}

impl Outbox {
    fn new(sink: Outgoing, is_stream: bool) -> Outbox {
        Outbox { sink, waiting: VecDeque::new(), bytes: 0, flushed: true, is_stream }
    }

    /// Takes a piece.
    ///
    /// # Errors
    /// When the peer has not read for too long.
    pub(crate) fn push(&mut self, piece: Vec<u8>) -> io::Result<()> {
        self.bytes += piece.len();
        if self.bytes > MAX_UNSENT {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the worker does not read what it is sent"));
        }
        match self.waiting.back_mut() {
            Some(last) if self.is_stream && last.len() < TOGETHER => last.extend_from_slice(&piece),
            _ => self.waiting.push_back(piece),
        }
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.flushed
    }

    /// Writes all that waits. Safe to cancel.
    pub(crate) async fn drain(&mut self) -> io::Result<()> {
        poll_fn(|context| self.poll_drain(context)).await
    }

    fn poll_drain(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.waiting.is_empty() {
            ready!(self.sink.as_mut().poll_ready(context))?;
            if let Some(piece) = self.waiting.pop_front() {
                self.bytes -= piece.len();
                self.flushed = false;
                self.sink.as_mut().start_send(piece)?;
            }
        }
        ready!(self.sink.as_mut().poll_flush(context))?;
        self.flushed = true;
        Poll::Ready(Ok(()))
    }
}
