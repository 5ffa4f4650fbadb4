//! What carries frames: a stream and a sink of whole binary messages, in memory or over a WebSocket.

use std::pin::Pin;

use futures_util::{Sink, SinkExt, Stream, StreamExt};

/// Frames that wait in each direction of an in-memory transport before the sender has to wait.
const MEMORY_QUEUE: usize = 16;

/// Why bytes can't be carried any more.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The socket's own error.
    #[error("the connection broke: {0}")]
    Io(#[from] std::io::Error),
    /// Not WebSocket, or broken WebSocket.
    #[error("the WebSocket connection broke: {0}")]
    WebSocket(Box<tokio_tungstenite::tungstenite::Error>),
    /// A text message.
    #[error("a text message came where only binary ones are spoken")]
    Text,
    /// Sent after the other end was dropped.
    #[error("the other side is gone")]
    Gone,
}

pub(crate) type Incoming = Pin<Box<dyn Stream<Item = Result<Vec<u8>, TransportError>> + Send>>;
pub(crate) type Outgoing = Pin<Box<dyn Sink<Vec<u8>, Error = TransportError> + Send>>;

/// One connection, whatever is under it.
pub struct Transport {
    pub(crate) incoming: Incoming,
    pub(crate) outgoing: Outgoing,
    /// The other end, for people: an address.
    pub(crate) peer: String,
}

impl Transport {
    /// From two halves. Both must hold back when the other side is slow.
    pub fn new<I, O>(incoming: I, outgoing: O, peer: impl Into<String>) -> Transport
    where
        I: Stream<Item = Result<Vec<u8>, TransportError>> + Send + 'static,
        O: Sink<Vec<u8>, Error = TransportError> + Send + 'static,
    {
        Transport { incoming: Box::pin(incoming), outgoing: Box::pin(outgoing), peer: peer.into() }
    }

    /// Two ends that are connected in memory. Dropping one closes the other.
    pub fn pair() -> (Transport, Transport) {
        let (a_out, b_in) = memory_channel();
        let (b_out, a_in) = memory_channel();
        let end = |incoming: Incoming, outgoing: Outgoing| Transport {
            incoming,
            outgoing,
            peer: "this process".into(),
        };
        (end(a_in, a_out), end(b_in, b_out))
    }

    /// The other end, for people: an address.
    pub fn peer(&self) -> &str {
        &self.peer
    }

    /// Sends one frame, outside of a session.
    ///
    /// # Errors
    /// When the connection is broken.
    pub async fn send(&mut self, frame: Vec<u8>) -> Result<(), TransportError> {
        self.outgoing.send(frame).await
    }

    /// The next frame, outside of a session; `None` at the end.
    ///
    /// # Errors
    /// When the connection is broken.
    pub async fn receive(&mut self) -> Result<Option<Vec<u8>>, TransportError> {
        self.incoming.next().await.transpose()
    }

    pub(crate) async fn close(&mut self) -> Result<(), TransportError> {
        self.outgoing.close().await
    }
}

fn memory_channel() -> (Outgoing, Incoming) {
    let (sender, receiver) = futures_channel::mpsc::channel(MEMORY_QUEUE);
    (Box::pin(sender.sink_map_err(|_| TransportError::Gone)), Box::pin(receiver.map(Ok)))
}
