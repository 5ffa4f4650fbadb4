//! The router on sockets: a task reads each connection, another writes it; between them is the router's state.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::select_all;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{FutureExt, SinkExt, StreamExt};
use rustls::ServerConfig;
use tokio::net::{TcpListener, UnixListener, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::accept_hdr_async_with_config;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{
    HeaderValue, StatusCode,
    header::{ORIGIN, SEC_WEBSOCKET_PROTOCOL},
};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::outbox::{Fate, Outbox};
use super::stream::{self, Io, WebSocket};
use crate::codec::Serialisation;
use crate::keepalive::{Due, Keepalive};
use crate::router::{Limits, Output, PeerId, Router, RouterConfig, RouterMetrics};

/// How long a peer may take to accept what is written to it (30 s). Then its connection is closed.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);
/// How long peers have to take their farewell at a shutdown (3 s). Then they are dropped.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(3);
/// Connections that may be opening (TLS, WebSocket's handshake) beside the peers that are there (1000: a cluster that comes
/// back at once). Further ones are closed at once.
const MAX_OPENING: usize = 1000;
/// Pause after the system refused to accept a connection, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A socket that listens.
pub struct Listener {
    socket: Socket,
    tls: Option<TlsAcceptor>,
}

enum Socket {
    /// One for each address that the name has; never empty.
    Tcp(Vec<TcpListener>),
    Unix(UnixListener),
}

impl Listener {
    /// On a TCP port of all addresses that the host's name has (`localhost` is both 127.0.0.1 and ::1), with TLS if `tls`
    /// is given. `[::]` takes IPv4 as well.
    ///
    /// # Errors
    /// When the name has no address, or the port can't be had.
    pub async fn tcp(address: &str, tls: Option<Arc<ServerConfig>>) -> io::Result<Listener> {
        let mut addresses: Vec<SocketAddr> = lookup_host(address).await?.collect();
        addresses.sort_unstable();
        addresses.dedup();
        let (mut sockets, mut failed) = (Vec::new(), None);
        for mut address in addresses {
            if address.port() == 0 {
                // Any port, but the same for all.
                address.set_port(sockets.first().and_then(port_of).unwrap_or(0));
            }
            match TcpListener::bind(address).await {
                Ok(socket) => sockets.push(socket),
                // A machine without IPv6 may have it in its table of names all the same.
                Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => failed = Some(error),
                Err(error) => return Err(error),
            }
        }
        if sockets.is_empty() {
            return Err(failed.unwrap_or_else(|| io::Error::other("the name has no address")));
        }
        Ok(Listener { socket: Socket::Tcp(sockets), tls: tls.map(TlsAcceptor::from) })
    }

    /// On a unix socket. One that nobody listens on any more is replaced.
    ///
    /// # Errors
    /// When the socket can't be made.
    pub fn unix(path: &Path) -> io::Result<Listener> {
        use std::os::unix::fs::FileTypeExt;
        let is_socket = std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
        if is_socket && std::os::unix::net::UnixStream::connect(path).is_err() {
            std::fs::remove_file(path)?;
        }
        Ok(Listener { socket: Socket::Unix(UnixListener::bind(path)?), tls: None })
    }

    /// The TCP port; `None` for a unix socket.
    pub fn port(&self) -> Option<u16> {
        match &self.socket {
            Socket::Tcp(sockets) => sockets.first().and_then(port_of),
            Socket::Unix(_) => None,
        }
    }

    /// The next connection, and where it is from.
    async fn accept(&self) -> io::Result<(Box<dyn Io>, String)> {
        match &self.socket {
            Socket::Tcp(sockets) => {
                let accepting = sockets.iter().map(|socket| socket.accept().boxed());
                let (stream, from) = select_all(accepting).await.0?;
                stream.set_nodelay(true)?;
                Ok((Box::new(stream), from.to_string()))
            }
            Socket::Unix(socket) => Ok((Box::new(socket.accept().await?.0), "a unix socket".to_owned())),
        }
    }
}

fn port_of(socket: &TcpListener) -> Option<u16> {
    socket.local_addr().ok().map(|address| address.port())
}

/// A router with its connections. Clones are the same router.
#[derive(Clone)]
pub struct RouterServer(Arc<Hub>);

struct Hub {
    limits: Limits,
    origins: Vec<String>,
    metrics: Arc<RouterMetrics>,
    shared: Mutex<Shared>,
}

struct Shared {
    router: Router,
    outboxes: HashMap<PeerId, Arc<Outbox>>,
    last_peer: u64,
}

impl RouterServer {
    /// A router without connections.
    pub fn new(config: RouterConfig) -> RouterServer {
        let (limits, metrics) = (config.limits.clone(), Arc::new(RouterMetrics::default()));
        let origins = config.origins.clone();
        metrics.announce();
        let router = Router::new(config, metrics.clone());
        let shared = Mutex::new(Shared { router, outboxes: HashMap::new(), last_peer: 0 });
        RouterServer(Arc::new(Hub { limits, origins, metrics, shared }))
    }

    /// What it counts.
    pub fn metrics(&self) -> &RouterMetrics {
        &self.0.metrics
    }

    /// Peers that are connected, and subscriptions in force.
    pub fn peers_and_subscriptions(&self) -> (usize, usize) {
        let shared = self.0.shared();
        (shared.outboxes.len(), shared.router.subscriptions())
    }

    /// Accepts connections until `stop`; then says goodbye to all peers and returns when they are gone.
    pub async fn serve(&self, listener: Listener, stop: CancellationToken) {
        let connections = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => break,
            };
            match accepted {
                Ok((_, from)) if connections.len() >= self.0.limits.peers.saturating_add(MAX_OPENING) => {
                    self.0.metrics.connections_refused.increment();
                    tracing::warn!("a connection from {from} is refused: {} are open", connections.len());
                }
                Ok((stream, from)) => {
                    let (hub, tls) = (self.0.clone(), listener.tls.clone());
                    // So that every line about this connection says where it is from.
                    let span = tracing::info_span!("router", %from);
                    connections.spawn(async move { hub.connection(stream, tls).await }.instrument(span));
                }
                Err(error) => {
                    tracing::warn!("the router can't accept a connection: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        self.0.shut_down();
        connections.close();
        if timeout(SHUTDOWN_PATIENCE, connections.wait()).await.is_err() {
            tracing::warn!("{} peers did not take their farewell", connections.len());
        }
    }
}

impl Hub {
    async fn connection(&self, stream: Box<dyn Io>, tls: Option<TlsAcceptor>) {
        let deadline = Instant::now() + self.limits.join_within();
        let opened = timeout_at(deadline, open(stream, tls, self.limits.frame_bytes, &self.origins)).await;
        let (socket, serialisation) = match opened {
            Ok(Ok(opened)) => opened,
            Ok(Err(error)) => {
                self.metrics.connections_failed.increment();
                return tracing::info!("a connection to the router did not open: {error}");
            }
            Err(_) => {
                self.metrics.connections_failed.increment();
                return tracing::info!("a connection to the router did not open in time");
            }
        };
        let Some((peer, outbox)) = self.register(serialisation) else { return };
        let (sink, messages) = socket.split();
        {
            let reading = self.read(peer, serialisation, messages, &outbox, deadline);
            let writing = write(sink, &outbox);
            tokio::pin!(reading, writing);
            tokio::select! {
                // Whatever ended the reading, what waits (such as an ABORT) is still written.
                () = &mut reading => {
                    outbox.close();
                    // An error means that the peer is gone already.
                    let _ = writing.await;
                }
                ended = &mut writing => if let Err(error) = ended {
                    tracing::debug!("{peer} can't be written to: {error}");
                },
            }
        }
        self.unregister(peer);
    }

    fn register(&self, serialisation: Serialisation) -> Option<(PeerId, Arc<Outbox>)> {
        let mut shared = self.shared();
        if shared.outboxes.len() >= self.limits.peers {
            self.metrics.connections_refused.increment();
            tracing::warn!("a connection is refused: the router has {} peers", shared.outboxes.len());
            return None;
        }
        self.metrics.connections.increment();
        shared.last_peer += 1;
        let peer = PeerId(shared.last_peer);
        let outbox = Arc::new(Outbox::new(self.limits.queue_messages, self.limits.queue_bytes));
        shared.outboxes.insert(peer, outbox.clone());
        shared.router.connected(peer, serialisation);
        self.measure(&shared);
        tracing::debug!("{peer} connects");
        Some((peer, outbox))
    }

    fn unregister(&self, peer: PeerId) {
        let mut shared = self.shared();
        shared.outboxes.remove(&peer);
        self.with_router(shared, |router, out| router.disconnected(peer, out));
        self.measure(&self.shared());
        tracing::debug!("{peer} is gone");
    }

    fn measure(&self, shared: &Shared) {
        metrics::gauge!("muster_router_peers").set(shared.outboxes.len() as f64);
    }

    fn shut_down(&self) {
        self.with_router(self.shared(), |router, out| router.shut_down(out));
    }

    /// Lets the router work, and hands out what it wants sent before anybody else gets the router: so the order in
    /// which peers see messages is the order in which the router decided.
    fn with_router(
        &self,
        mut shared: MutexGuard<'_, Shared>,
        work: impl FnOnce(&mut Router, &mut Vec<Output>),
    ) {
        let mut out = Vec::new();
        work(&mut shared.router, &mut out);
        for output in out {
            match output {
                Output::Close(peer) => {
                    if let Some(outbox) = shared.outboxes.get(&peer) {
                        outbox.close();
                    }
                }
                Output::Send { to, frame, droppable } => {
                    let Some(outbox) = shared.outboxes.get(&to) else { continue };
                    match outbox.push(frame, droppable) {
                        Fate::Queued => {}
                        Fate::Dropped if droppable => self.metrics.events_dropped.increment(),
                        Fate::Dropped => {}
                        Fate::Overflowed => {
                            self.metrics.peers_too_slow.increment();
                            tracing::warn!("{to} does not read; it is closed");
                        }
                    }
                }
            }
        }
    }

    /// Reads until the peer is gone or dead.
    async fn read(
        &self,
        peer: PeerId,
        serialisation: Serialisation,
        mut messages: SplitStream<WebSocket>,
        outbox: &Outbox,
        join_by: Instant,
    ) {
        let mut keepalive = Keepalive::new(self.limits.ping_after(), std::time::Instant::now());
        let mut joined = false;
        loop {
            let alive_until = Instant::from_std(keepalive.deadline());
            let deadline = if joined { alive_until } else { alive_until.min(join_by) };
            let message = match timeout_at(deadline, messages.next()).await {
                Ok(Some(Ok(message))) => message,
                Ok(Some(Err(error))) => return self.reading_failed(peer, &error),
                Ok(None) => return,
                Err(_) => {
                    joined = joined || self.shared().router.has_joined(peer);
                    match keepalive.due(std::time::Instant::now()) {
                        _ if !joined && Instant::now() >= join_by => {
                            self.metrics.peers_timed_out.increment();
                            return tracing::info!("{peer} has not joined a realm in time");
                        }
                        Due::Close => {
                            self.metrics.peers_timed_out.increment();
                            return tracing::warn!("{peer} is silent and is taken for dead");
                        }
                        Due::Ping => outbox.ping(),
                        Due::Nothing => {}
                    }
                    continue;
                }
            };
            keepalive.heard(std::time::Instant::now());
            if let Some(bytes) = stream::payload(message) {
                let decoded = serialisation.decode(&bytes);
                self.with_router(self.shared(), |router, out| match decoded {
                    Ok(message) => router.received(peer, message, out),
                    Err(error) => router.received_garbage(peer, &error, out),
                });
            }
        }
    }

    fn reading_failed(&self, peer: PeerId, error: &tungstenite::Error) {
        match error {
            tungstenite::Error::Capacity(_) | tungstenite::Error::Utf8(_) => {
                self.metrics.protocol_violations.increment();
                tracing::warn!("{peer} is closed: {error}");
            }
            _ => tracing::debug!("{peer} is gone: {error}"),
        }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what waits until the connection is to be closed.
async fn write(mut sink: SplitSink<WebSocket, Message>, outbox: &Outbox) -> Result<(), tungstenite::Error> {
    loop {
        let batch = outbox.next().await;
        let writing = async {
            for frame in batch.frames {
                sink.feed(stream::message(frame)?).await?;
            }
            if batch.ping {
                sink.feed(Message::Ping(Default::default())).await?;
            }
            if batch.close {
                sink.feed(Message::Close(None)).await?;
            }
            sink.flush().await
        };
        match timeout(WRITE_PATIENCE, writing).await {
            Ok(written) => written?,
            Err(_) => return Err(io::Error::from(io::ErrorKind::TimedOut).into()),
        }
        if batch.close {
            return Ok(());
        }
    }
}

/// TLS and WebSocket's handshake, with the first subprotocol of the peer's that is known.
async fn open(
    stream: Box<dyn Io>,
    tls: Option<TlsAcceptor>,
    frame_bytes: usize,
    origins: &[String],
) -> Result<(WebSocket, Serialisation), tungstenite::Error> {
    let stream: Box<dyn Io> = match tls {
        Some(tls) => Box::new(tls.accept(stream).await?),
        None => stream,
    };
    let mut chosen = None;
    let config = Some(stream::config(frame_bytes));
    // The type of the error is the library's.
    #[allow(clippy::result_large_err)]
    let choose = |request: &Request, mut response: Response| match choose_serialisation(request) {
        _ if !is_let_in(request, origins) => Err(foreign_page()),
        Some(serialisation) => {
            let name = HeaderValue::from_static(serialisation.subprotocol());
            response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, name);
            chosen = Some(serialisation);
            Ok(response)
        }
        None => Err(no_common_subprotocol()),
    };
    let socket = accept_hdr_async_with_config(stream, choose, config).await?;
    let serialisation = chosen.expect("a handshake without a serialisation is refused");
    Ok((socket, serialisation))
}

fn choose_serialisation(request: &Request) -> Option<Serialisation> {
    let offers = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let mut names = offers.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    names.find_map(|name| Serialisation::from_subprotocol(name.trim()))
}

/// Whether no web page connects, or one that is let in.
fn is_let_in(request: &Request, origins: &[String]) -> bool {
    let mut given = request.headers().get_all(ORIGIN).iter().map(|origin| origin.to_str().unwrap_or("?"));
    given.all(|given| origins.iter().any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(given)))
}

fn foreign_page() -> ErrorResponse {
    let mut response = ErrorResponse::new(Some(
        "This router takes no web pages; 'origins' in its configuration lets some in.\n".to_owned(),
    ));
    *response.status_mut() = StatusCode::FORBIDDEN;
    response
}

fn no_common_subprotocol() -> ErrorResponse {
    let names = Serialisation::ALL.map(Serialisation::subprotocol).join(", ");
    let mut response = ErrorResponse::new(Some(format!("This is a WAMP router; it speaks {names}.\n")));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response
}
