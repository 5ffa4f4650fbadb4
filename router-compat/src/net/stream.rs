//! A WebSocket over whatever carries bytes.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};

use crate::codec::{Frame, Serialisation};

/// What carries bytes both ways.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A WebSocket over any of them.
pub type WebSocket = WebSocketStream<Box<dyn Io>>;

/// The bounds of a WebSocket. A larger message ends the connection.
pub fn config(frame_bytes: usize) -> WebSocketConfig {
    WebSocketConfig::default().max_message_size(Some(frame_bytes)).max_frame_size(Some(frame_bytes))
}

/// A frame as a message of WebSocket: JSON is text, MessagePack is binary.
///
/// # Errors
/// Never, because encoded JSON is UTF-8; the type of the error is that of the connection.
pub fn message(frame: Frame) -> Result<Message, Error> {
    Ok(match frame.serialisation {
        Serialisation::Json => Message::Text(
            frame.bytes.try_into().map_err(|error: std::str::Utf8Error| Error::Utf8(error.to_string()))?,
        ),
        Serialisation::MessagePack => Message::Binary(frame.bytes),
    })
}

/// The bytes of a message of WAMP; `None` for the messages of WebSocket itself. The serialisation was agreed upon, so
/// a text that should be binary is left to the decoder.
pub fn payload(message: Message) -> Option<Bytes> {
    match message {
        Message::Text(text) => Some(text.into()),
        Message::Binary(bytes) => Some(bytes),
        _ => None,
    }
}
