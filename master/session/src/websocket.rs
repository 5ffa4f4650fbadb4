//! Frames over a WebSocket: one binary message each.

use futures_util::{SinkExt, StreamExt, future};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::{Message, WebSocketConfig};

use crate::transport::{Transport, TransportError};
use crate::wire::MAX_FRAME;

/// Bytes gathered before they are written; every batch of frames is flushed at its end.
const WRITE_BUFFER: usize = 64 * 1024;

fn config() -> WebSocketConfig {
    let mut config = WebSocketConfig::default();
    config.read_buffer_size = 16 * 1024;
    config.write_buffer_size = WRITE_BUFFER;
    config.max_write_buffer_size = WRITE_BUFFER + 2 * MAX_FRAME;
    config.max_message_size = Some(MAX_FRAME);
    config.max_frame_size = Some(MAX_FRAME);
    config
}

/// The master's end of a connection that was just accepted.
///
/// # Errors
/// When the peer doesn't ask for a WebSocket.
pub async fn accept<S>(stream: S, peer: String) -> Result<Transport, TransportError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let socket = tokio_tungstenite::accept_async_with_config(stream, Some(config())).await?;
    Ok(transport(socket, peer))
}

/// The worker's end; `url` is what the request asks for.
///
/// # Errors
/// When the peer doesn't grant a WebSocket.
pub async fn request<S>(stream: S, url: &str) -> Result<Transport, TransportError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (socket, _) = tokio_tungstenite::client_async_with_config(url, stream, Some(config())).await?;
    Ok(transport(socket, url.to_owned()))
}

fn transport<S>(socket: WebSocketStream<S>, peer: String) -> Transport
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sink, stream) = socket.split();
    let outgoing =
        sink.with(|frame: Vec<u8>| future::ready(Ok::<_, TransportError>(Message::Binary(frame.into()))));
    let incoming = stream.filter_map(|message| future::ready(frame(message)));
    Transport::new(incoming, outgoing, peer)
}

/// The frame in a message; `None` for messages that WebSocket needs for itself.
fn frame(message: Result<Message, Error>) -> Option<Result<Vec<u8>, TransportError>> {
    match message {
        Ok(Message::Binary(bytes)) => Some(Ok(bytes.into())),
        Ok(Message::Text(_)) => Some(Err(TransportError::Text)),
        Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_)) => None,
        // The end of the stream follows; a killed peer takes no leave.
        Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => None,
        Err(error) => Some(Err(error.into())),
    }
}

impl From<Error> for TransportError {
    fn from(error: Error) -> TransportError {
        match error {
            Error::Io(error) => TransportError::Io(error),
            other => TransportError::WebSocket(Box::new(other)),
        }
    }
}
