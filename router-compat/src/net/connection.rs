//! A client's connection to a router.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{SinkExt, StreamExt};
use rustls_pki_types::ServerName;
use thiserror::Error;
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::tungstenite::{self, Message};

use super::address::RouterUrl;
use super::stream::{self, Io, WebSocket};
use super::tls::{ClientTls, TlsError};
use crate::auth::Credentials;
use crate::client::{Client, Incoming, SessionError};
use crate::codec::{Frame, Serialisation};
use crate::keepalive::{Due, Keepalive};
use crate::message::{Dict, Id};

/// How long dialling and joining may take together (10 s).
const OPEN_PATIENCE: Duration = Duration::from_secs(10);
/// How long an address of the router's name may be silent before the next one is tried as well (250 ms, as RFC 8305 says).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);
/// How long the router may take to accept what is written to it (30 s).
const WRITE_PATIENCE: Duration = Duration::from_secs(30);
/// How long the router may take for its goodbye (2 s).
const LEAVE_PATIENCE: Duration = Duration::from_secs(2);
/// Silence after which the router is pinged unless the options say otherwise (10 s); it is dead when it stays silent for as
/// long again twice.
const PING_AFTER: Duration = Duration::from_secs(10);
/// Largest message that is taken, in bytes (4 MiB). A larger one ends the connection.
const MAX_FRAME_BYTES: usize = 4 << 20;

/// Where to, and as whom.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// The router.
    pub url: RouterUrl,
    /// The realm.
    pub realm: String,
    /// How to prove who this is.
    pub credentials: Credentials,
    /// What to offer, the preferred one first.
    pub serialisations: Vec<Serialisation>,
    /// For `wss`.
    pub tls: ClientTls,
    /// Silence after which the router is pinged; it is dead when it stays silent for as long again twice.
    pub ping_after: Duration,
}

impl ConnectOptions {
    /// Anonymous, with all serialisations.
    pub fn new(url: RouterUrl, realm: impl Into<String>) -> ConnectOptions {
        ConnectOptions {
            url,
            realm: realm.into(),
            credentials: Credentials::Anonymous,
            serialisations: Serialisation::ALL.to_vec(),
            tls: ClientTls::default(),
            ping_after: PING_AFTER,
        }
    }
}

/// Why there is no session.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The router can't be reached.
    #[error("can't reach it: {0}")]
    Unreachable(#[source] io::Error),
    /// TLS is set up wrongly here.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The name can't stand in a certificate.
    #[error("'{0}' is no name that a certificate could have")]
    BadServerName(String),
    /// Something else than a WAMP router answers.
    #[error("no WAMP router with a common serialisation answers there: {0}")]
    NoRouter(#[source] Box<tungstenite::Error>),
    /// The session was refused or broke.
    #[error(transparent)]
    Session(#[from] ConnectionError),
    /// It took too long.
    #[error("it did not answer within {} s", OPEN_PATIENCE.as_secs())]
    TimedOut,
}

/// Why a session ended.
#[derive(Debug, Error)]
pub enum ConnectionError {
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(#[from] Box<tungstenite::Error>),
    /// The router closed it.
    #[error("the router closed the connection")]
    Closed,
    /// The router said goodbye.
    #[error("the router ended the session ({0})")]
    Left(String),
    /// The router stayed silent.
    #[error("the router is silent and is taken for dead")]
    Dead,
    /// The router does not read.
    #[error("the router does not read")]
    NotRead,
    /// Refused, garbage, or out of order.
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// An open session.
pub struct Connection {
    socket: WebSocket,
    client: Client,
    keepalive: Keepalive,
    session: Id,
    details: Dict,
}

impl Connection {
    /// Dials and joins.
    ///
    /// # Errors
    /// When the router can't be reached, is none, or refuses.
    pub async fn open(options: &ConnectOptions) -> Result<Connection, ConnectError> {
        match timeout(OPEN_PATIENCE, Connection::try_open(options)).await {
            Ok(opened) => opened,
            Err(_) => Err(ConnectError::TimedOut),
        }
    }

    async fn try_open(options: &ConnectOptions) -> Result<Connection, ConnectError> {
        let stream = dial(options).await?;
        let (socket, serialisation) = shake_hands(options, stream).await?;
        let client = Client::new(&options.realm, options.credentials.clone(), serialisation);
        let hello = client.hello();
        let keepalive = Keepalive::new(options.ping_after, std::time::Instant::now());
        let mut connection = Connection { socket, client, keepalive, session: 0, details: Dict::new() };
        connection.send([hello]).await?;
        match connection.next().await? {
            Incoming::Joined { session, details } => {
                connection.session = session;
                connection.details = details;
                Ok(connection)
            }
            _ => Err(ConnectionError::Session(SessionError::Violation("a message before WELCOME")).into()),
        }
    }

    /// The id of the session.
    pub fn session(&self) -> Id {
        self.session
    }

    /// The details of WELCOME.
    pub fn details(&self) -> &Dict {
        &self.details
    }

    /// Makes requests; send their frames with [`Connection::send`].
    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Sends messages, in one go.
    ///
    /// # Errors
    /// When the connection broke, or the router does not read.
    pub async fn send(&mut self, frames: impl IntoIterator<Item = Frame>) -> Result<(), ConnectionError> {
        let writing = async {
            for frame in frames {
                self.socket.feed(stream::message(frame)?).await?;
            }
            self.socket.flush().await
        };
        match timeout(WRITE_PATIENCE, writing).await {
            Ok(written) => written.map_err(|error| Box::new(error).into()),
            Err(_) => Err(ConnectionError::NotRead),
        }
    }

    /// Waits for what comes next. Nothing is lost when the caller stops waiting.
    ///
    /// # Errors
    /// When the session is over.
    pub async fn next(&mut self) -> Result<Incoming, ConnectionError> {
        loop {
            let deadline = Instant::from_std(self.keepalive.deadline());
            let message = match timeout_at(deadline, self.socket.next()).await {
                Ok(Some(Ok(Message::Close(_))) | None) => return Err(ConnectionError::Closed),
                Ok(Some(message)) => message.map_err(Box::new)?,
                Err(_) => {
                    match self.keepalive.due(std::time::Instant::now()) {
                        Due::Ping => self.ping().await?,
                        Due::Close => return Err(ConnectionError::Dead),
                        Due::Nothing => {}
                    }
                    continue;
                }
            };
            self.keepalive.heard(std::time::Instant::now());
            let Some(bytes) = stream::payload(message) else { continue };
            match self.client.received(&bytes)? {
                Some(Incoming::Reply(frame)) => self.send([frame]).await?,
                Some(Incoming::Left { reason }) => return Err(ConnectionError::Left(reason)),
                Some(incoming) => return Ok(incoming),
                None => {}
            }
        }
    }

    async fn ping(&mut self) -> Result<(), ConnectionError> {
        let ping = self.socket.send(Message::Ping(Default::default()));
        match timeout(WRITE_PATIENCE, ping).await {
            Ok(sent) => sent.map_err(|error| Box::new(error).into()),
            Err(_) => Err(ConnectionError::NotRead),
        }
    }

    /// Says goodbye and closes. What the router still sends is lost.
    pub async fn leave(mut self) {
        let goodbye = self.client.leave();
        let farewell = async {
            self.send([goodbye]).await?;
            while self.next().await.is_ok() {}
            Ok::<(), ConnectionError>(())
        };
        // A router that does not answer is left all the same.
        let _ = timeout(LEAVE_PATIENCE, farewell).await;
    }
}

async fn dial(options: &ConnectOptions) -> Result<Box<dyn Io>, ConnectError> {
    match &options.url {
        RouterUrl::Unix(path) => {
            Ok(Box::new(UnixStream::connect(path).await.map_err(ConnectError::Unreachable)?))
        }
        RouterUrl::Tcp { tls, host, port, .. } => {
            let dialling = async { dial_one_of(lookup_host((host.as_str(), *port)).await?).await };
            let stream = dialling.await.map_err(ConnectError::Unreachable)?;
            stream.set_nodelay(true).map_err(ConnectError::Unreachable)?;
            if !tls {
                return Ok(Box::new(stream));
            }
            let connector = TlsConnector::from(Arc::clone(&options.tls.load()?));
            let name =
                ServerName::try_from(host.clone()).map_err(|_| ConnectError::BadServerName(host.clone()))?;
            Ok(Box::new(connector.connect(name, stream).await.map_err(ConnectError::Unreachable)?))
        }
    }
}

/// Dials addresses one after the other, the next one when the last has not answered for a moment: one that
/// swallows everything (a broken IPv6, mostly) must not keep the others from being tried (RFC 8305).
async fn dial_one_of(mut addresses: impl Iterator<Item = SocketAddr>) -> io::Result<TcpStream> {
    let mut dials = FuturesUnordered::new();
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    loop {
        let next = addresses.next();
        let patience = if next.is_some() { NEXT_ADDRESS_AFTER } else { OPEN_PATIENCE };
        dials.extend(next.map(TcpStream::connect));
        match timeout(patience, dials.next()).await {
            Ok(Some(Ok(stream))) => return Ok(stream),
            Ok(Some(Err(error))) => failed = error,
            Ok(None) => return Err(failed),
            Err(_) => {}
        }
    }
}

async fn shake_hands(
    options: &ConnectOptions,
    stream: Box<dyn Io>,
) -> Result<(WebSocket, Serialisation), ConnectError> {
    let no_router = |error| ConnectError::NoRouter(Box::new(error));
    let url = match &options.url {
        RouterUrl::Unix(_) => "ws://localhost/".to_owned(),
        url => url.to_string(),
    };
    let mut request = url.into_client_request().map_err(no_router)?;
    let names: Vec<&str> = options.serialisations.iter().map(|each| each.subprotocol()).collect();
    let offer = names
        .join(", ")
        .parse()
        .map_err(|error| no_router(tungstenite::Error::HttpFormat(tungstenite::http::Error::from(error))))?;
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, offer);
    let config = Some(stream::config(MAX_FRAME_BYTES));
    let (socket, response) = client_async_with_config(request, stream, config).await.map_err(no_router)?;
    let chosen = response.headers().get(SEC_WEBSOCKET_PROTOCOL).and_then(|name| name.to_str().ok());
    let serialisation = chosen.and_then(Serialisation::from_subprotocol).ok_or_else(|| {
        let missing = tungstenite::error::SubProtocolError::NoSubProtocol;
        no_router(tungstenite::error::ProtocolError::SecWebSocketSubProtocolError(missing).into())
    })?;
    Ok((socket, serialisation))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpSocket;

    use super::*;

    #[tokio::test]
    async fn an_address_that_refuses_or_swallows_everything_does_not_keep_the_next_from_being_tried() {
        let good = tokio::net::TcpListener::bind("[::1]:0").await.unwrap();
        let refusing = {
            let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            closed.local_addr().unwrap()
        };
        // One that never accepts: when its queue is full, the system answers nothing.
        let swallowing = TcpSocket::new_v4().unwrap();
        swallowing.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let swallowing = swallowing.listen(1).unwrap();
        let full = swallowing.local_addr().unwrap();
        let mut waiting = Vec::new();
        while let Ok(taken) = timeout(NEXT_ADDRESS_AFTER, TcpStream::connect(full)).await {
            waiting.push(taken.unwrap());
        }
        let reached = dial_one_of([refusing, full, good.local_addr().unwrap()].into_iter()).await.unwrap();
        assert_eq!(reached.peer_addr().unwrap(), good.local_addr().unwrap());
        assert_eq!(
            dial_one_of([refusing].into_iter()).await.unwrap_err().kind(),
            io::ErrorKind::ConnectionRefused
        );
        assert!(dial_one_of(std::iter::empty()).await.is_err());
    }
}
