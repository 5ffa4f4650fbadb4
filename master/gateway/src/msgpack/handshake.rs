//! The WebSocket's opening, with name and password in its header (`docs/compat/worker-protocol.md` 2.1).

use std::sync::PoisonError;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use muster_net::Guesses;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::StatusCode;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::MESSAGE_LIMIT;
use super::held::{Held, Verdict};
use crate::roster::{Account, StockWorker};

/// Bytes that are read from a socket at once.
const READ_BUFFER: usize = 8 * 1024;

/// Why nobody came in. The peer was told by a status.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("{0:?} is not known on this port, or its password is wrong")]
    Denied(String),
    #[error("its name and password can't be read")]
    Malformed,
    #[error("{0}")]
    WebSocket(#[from] Box<Error>),
}

/// Opens the WebSocket for a worker that has proven its password.
pub(crate) async fn handshake<S>(
    socket: S,
    account: &(dyn Fn(&str) -> Option<Account> + Sync),
    (guesses, peer): (&Guesses, &str),
) -> Result<(String, StockWorker, WebSocketStream<Held<S>>), HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut config = WebSocketConfig::default();
    config.read_buffer_size = READ_BUFFER;
    config.max_message_size = Some(MESSAGE_LIMIT);
    config.max_frame_size = Some(MESSAGE_LIMIT);
    let mut who = Err(HandshakeError::Malformed);
    let (socket, verdict) = Held::new(socket, guesses, peer);
    #[allow(clippy::result_large_err, reason = "the library's own type")]
    let check = |request: &Request, response: Response| {
        who = authenticate(request, account);
        let tried = match &who {
            Ok((name, _)) => Some((name, true)),
            Err(HandshakeError::Denied(name)) => Some((name, false)),
            Err(_) => None,
        };
        if let Some((name, passed)) = tried {
            let name = account(name).map(|_| name.clone());
            *verdict.lock().unwrap_or_else(PoisonError::into_inner) = Some(Verdict { name, passed });
        }
        match &who {
            Ok(_) => Ok(response),
            Err(HandshakeError::Denied(_)) => Err(turn_away(StatusCode::UNAUTHORIZED)),
            Err(_) => Err(turn_away(StatusCode::BAD_REQUEST)),
        }
    };
    let accepted = tokio_tungstenite::accept_hdr_async_with_config(socket, check, Some(config)).await;
    match (accepted, who) {
        (Ok(socket), Ok((name, worker))) => Ok((name, worker, socket)),
        (Ok(_), Err(error)) => Err(error),
        // Whoever asks for no WebSocket at all never came to the question of a password.
        (Err(Error::Http(_)), Err(error)) => Err(error),
        (Err(error), _) => Err(Box::new(error).into()),
    }
}

fn authenticate(
    request: &Request,
    account: &(dyn Fn(&str) -> Option<Account> + Sync),
) -> Result<(String, StockWorker), HandshakeError> {
    let (name, password) = credentials(request)?;
    match account(&name).filter(|account| account.has_password(&password)) {
        Some(Account::Worker(worker)) => Ok((name, worker)),
        Some(Account::Changes(_)) | None => Err(HandshakeError::Denied(name)),
    }
}

/// Name and password; both are empty when there are none.
fn credentials(request: &Request) -> Result<(String, String), HandshakeError> {
    let malformed = || HandshakeError::Malformed;
    let Some(header) = request.headers().get("Authorization") else {
        return Ok((String::new(), String::new()));
    };
    let encoded = header.to_str().ok().and_then(|text| text.strip_prefix("Basic ")).ok_or_else(malformed)?;
    let decoded = BASE64.decode(encoded.trim()).map_err(|_| malformed())?;
    let decoded = String::from_utf8(decoded).map_err(|_| malformed())?;
    let (name, password) = decoded.split_once(':').ok_or_else(malformed)?;
    Ok((name.to_owned(), password.to_owned()))
}

fn turn_away(status: StatusCode) -> ErrorResponse {
    let mut response = ErrorResponse::new(None);
    *response.status_mut() = status;
    response
}
