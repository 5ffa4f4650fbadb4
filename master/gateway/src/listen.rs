//! Ports: accepts connections, lets in who proves a password, and hands them to who attends them.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::StreamExt;
use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::StatusCode;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::attendant::Attendant;
use crate::gateway::Gateway;
use crate::ghosts::Ghosts;
use crate::msgpack::{self, MsgpackWorker};
use crate::pb::{ChangePort, LoggedIn, Login, Outcome, PbWorker};
use crate::roster::{Account, Port, StockWorker};
use crate::stock::{Breach, Stock};
use crate::wire::Wire;

/// How long a peer may take to log in.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a peer with a wrong password is held: stock workers close by themselves after their back-off, which grows
/// to this, and would come back sooner if they were closed.
const DENIED_TIMEOUT: Duration = Duration::from_secs(65);

/// How long a client that sends changes may be silent.
const CHANGES_TIMEOUT: Duration = Duration::from_secs(60);

/// Rest after an error of `accept`: mostly the process has no file descriptor left, and needs time to get one back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A silent TCP connection is probed after this, and every [`PROBE_INTERVAL`]; a dead one is found within a minute.
const PROBE_AFTER: Duration = Duration::from_secs(30);
const PROBE_INTERVAL: Duration = Duration::from_secs(10);
const PROBES: u32 = 3;

/// How long TCP may try to deliver what was written.
const UNDELIVERED: Duration = Duration::from_secs(60);

/// A socket that waits for connections. It should be opened with a deep backlog: thousands of workers come at once.
#[derive(Debug)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Socket for T {}
type AnySocket = Box<dyn Socket>;

impl Listener {
    /// Where it listens, for people.
    pub fn address(&self) -> String {
        match self {
            Listener::Tcp(listener) => listener.local_addr().map_or_else(|error| error.to_string(), |at| at.to_string()),
            Listener::Unix(listener) => {
                let path = listener.local_addr().ok().and_then(|at| at.as_pathname().map(|path| path.display().to_string()));
                path.unwrap_or_else(|| "a local socket".to_owned())
            }
        }
    }

    async fn accept(&self) -> io::Result<(AnySocket, String)> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                prepare(&stream)?;
                Ok((Box::new(stream), peer.to_string()))
            }
            Listener::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Box::new(stream), "a local process".to_owned()))
            }
        }
    }
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, PROBE_AFTER)?;
    sockopt::set_tcp_keepintvl(stream, PROBE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(stream, PROBES)?;
    sockopt::set_tcp_user_timeout(stream, UNDELIVERED.as_millis() as u32)?;
    Ok(())
}

#[derive(Clone, Copy)]
enum Protocol {
    Pb,
    Msgpack,
}

/// Serves stock workers and command line tools over PB until `stop`. `port` tells which accounts come in here.
pub async fn serve_pb(listener: Listener, gateway: Gateway, port: Port, stop: CancellationToken) {
    serve(listener, gateway, port, Protocol::Pb, stop).await;
}

/// Serves stock workers over msgpack until `stop`.
pub async fn serve_msgpack(listener: Listener, gateway: Gateway, stop: CancellationToken) {
    serve(listener, gateway, None, Protocol::Msgpack, stop).await;
}

async fn serve(listener: Listener, gateway: Gateway, port: Port, protocol: Protocol, stop: CancellationToken) {
    let connections = TaskTracker::new();
    let port = Arc::new(port);
    loop {
        let accepted = async {
            let permit = gateway.strangers().acquire_owned().await.expect("the semaphore is never closed");
            (permit, listener.accept().await)
        };
        tokio::select! {
            () = stop.cancelled() => break,
            (permit, accepted) = accepted => match accepted {
                Ok((socket, peer)) => {
                    let door = Door { gateway: gateway.clone(), port: port.clone(), peer, stop: stop.clone(), permit };
                    connections.spawn(door.admit(socket, protocol));
                }
                Err(error) => {
                    tracing::warn!(%error, "the port for stock workers can't accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    connections.close();
    connections.wait().await;
}

/// One connection that has just come.
struct Door {
    gateway: Gateway,
    port: Arc<Port>,
    peer: String,
    stop: CancellationToken,
    /// The place of a stranger, until somebody has logged in.
    permit: OwnedSemaphorePermit,
}

/// Why nobody came in.
#[derive(Debug, thiserror::Error)]
enum Rejected {
    #[error("it did not log in within {LOGIN_TIMEOUT:?}")]
    Silent,
    #[error("it went away before it had logged in")]
    Left,
    #[error("{0}")]
    Breach(#[from] Breach),
    #[error("{0}")]
    Socket(#[from] io::Error),
    #[error("{0}")]
    WebSocket(String),
    #[error("{name:?} is not known on this port, or its password is wrong")]
    Denied { name: String },
}

impl Door {
    async fn admit(self, socket: AnySocket, protocol: Protocol) {
        let (gateway, peer, stop) = (self.gateway.clone(), self.peer.clone(), self.stop.clone());
        let served = async {
            match protocol {
                Protocol::Pb => self.pb(socket).await,
                Protocol::Msgpack => self.msgpack(socket).await,
            }
        };
        tokio::select! {
            served = served => if let Err(rejected) = served {
                gateway.count_refusal();
                tracing::warn!(peer, "a connection to the port for stock workers was turned away: {rejected}");
            },
            // Those who attend a worker end by themselves, and have a word of farewell.
            () = stopped_long_ago(stop) => {}
        }
    }

    async fn pb(self, socket: AnySocket) -> Result<(), Rejected> {
        let mut wire = Wire::stream(socket, self.peer.clone());
        let mut login = Login::new(*uuid::Uuid::new_v4().as_bytes());
        let who = tokio::select! {
            who = timeout(LOGIN_TIMEOUT, self.log_in(&mut wire, &mut login)) => who,
            () = self.stop.cancelled() => return Ok(()),
        };
        match who {
            Err(_) => Err(Rejected::Silent),
            Ok(Ok(who)) => match who.account.clone() {
                Account::Worker(worker) => self.attend_pb(wire, login, &who, worker).await,
                Account::Changes(_) => self.take_changes(wire, login, who).await,
            },
            Ok(Err(Rejected::Denied { name })) => {
                if let Ok(_place) = self.gateway.denied().try_acquire_owned() {
                    let (peer, stop) = (self.peer.clone(), self.stop.clone());
                    drop(self);
                    tracing::warn!(peer, "a log-in failed: {}", Rejected::Denied { name });
                    hold(wire, stop).await;
                    return Ok(());
                }
                Err(Rejected::Denied { name })
            }
            Ok(Err(rejected)) => Err(rejected),
        }
    }

    async fn log_in(&self, wire: &mut Wire, login: &mut Login) -> Result<LoggedIn, Rejected> {
        let account = |name: &str| self.gateway.roster().account(&self.port, name);
        loop {
            while let Some(piece) = login.output() {
                wire.outbox.push(piece)?;
            }
            wire.outbox.drain().await?;
            let bytes = wire.incoming.next().await.ok_or(Rejected::Left)??;
            match login.receive(&bytes, &account)? {
                Outcome::Waiting => {}
                Outcome::In(who) => return Ok(who),
                Outcome::Denied { name } => {
                    while let Some(piece) = login.output() {
                        wire.outbox.push(piece)?;
                    }
                    wire.outbox.drain().await?;
                    return Err(Rejected::Denied { name });
                }
            }
        }
    }

    async fn attend_pb(
        self,
        wire: Wire,
        login: Login,
        who: &LoggedIn,
        worker: StockWorker,
    ) -> Result<(), Rejected> {
        let stock = PbWorker::new(login, who, worker.builders)?;
        self.attend(&who.name, &worker.password, wire, |_| Ok((stock, None))).await
    }

    /// Settles who the worker of this name is, and attends it. Nobody is told an error: that would end a worker.
    async fn attend<S: Stock>(
        self,
        name: &str,
        password: &str,
        wire: Wire,
        stock: impl FnOnce(&Gateway) -> Result<(S, Option<Ghosts>), Rejected>,
    ) -> Result<(), Rejected> {
        let Door { gateway, peer, stop, permit, .. } = self;
        drop(permit);
        let claim = tokio::select! {
            claim = gateway.claim(name) => claim,
            () = stop.cancelled() => return Ok(()),
        };
        match claim {
            Ok(claim) => {
                let (stock, ghosts) = stock(&gateway)?;
                let attendant = Attendant::new(gateway, name, password, stock, wire, claim, ghosts);
                attendant.attend(stop).await;
            }
            Err(turned) => {
                gateway.count_refusal();
                tracing::warn!(worker = name, peer, "the connection is closed: {turned}");
            }
        }
        Ok(())
    }

    async fn take_changes(self, mut wire: Wire, login: Login, who: LoggedIn) -> Result<(), Rejected> {
        let Account::Changes(source) = &who.account else { return Ok(()) };
        let mut port = ChangePort::new(login, &who)?;
        loop {
            while let Some((request, change)) = port.next_change()? {
                let kept = match change.below(source.prefix.as_deref()) {
                    None => Ok(()),
                    Some(change) => (self.gateway.around().changes)(source.source.clone(), change).await,
                };
                if let Err(reason) = &kept {
                    tracing::error!(source = source.source, peer = self.peer, reason, "a change could not be kept");
                }
                port.answer(request, kept)?;
            }
            while let Some(piece) = port.output() {
                wire.outbox.push(piece)?;
            }
            wire.outbox.drain().await?;
            tokio::select! {
                read = timeout(CHANGES_TIMEOUT, wire.incoming.next()) => match read {
                    Ok(Some(bytes)) => port.push(&bytes?),
                    Ok(None) | Err(_) => return Ok(()),
                },
                () = self.stop.cancelled() => return Ok(()),
            }
        }
    }

    async fn msgpack(self, socket: AnySocket) -> Result<(), Rejected> {
        let mut who = None;
        let check = |request: &Request, response: Response| {
            let account = credentials(request).map(|(name, password)| {
                let account = self.gateway.roster().account(&self.port, &name);
                (name, account.filter(|account| account.password() == password))
            });
            match account {
                Err(()) => Err(turn_away(StatusCode::BAD_REQUEST)),
                Ok((name, Some(Account::Worker(worker)))) => {
                    who = Some(Ok((name, worker)));
                    Ok(response)
                }
                Ok((name, _)) => {
                    who = Some(Err(name));
                    Err(turn_away(StatusCode::UNAUTHORIZED))
                }
            }
        };
        let mut config = WebSocketConfig::default();
        config.read_buffer_size = 8 * 1024;
        config.max_message_size = Some(msgpack::MESSAGE_LIMIT);
        config.max_frame_size = Some(msgpack::MESSAGE_LIMIT);
        let accepting = tokio_tungstenite::accept_hdr_async_with_config(socket, check, Some(config));
        let accepted = timeout(LOGIN_TIMEOUT, accepting).await.map_err(|_| Rejected::Silent)?;
        let (name, worker) = match (accepted, who) {
            (_, Some(Err(name))) => return Err(Rejected::Denied { name }),
            (Err(error), _) => return Err(Rejected::WebSocket(error.to_string())),
            (Ok(socket), Some(Ok((name, worker)))) => {
                let wire = Wire::messages(socket, self.peer.clone());
                return self.attend_msgpack(&name, worker, wire).await;
            }
            (Ok(_), None) => (String::new(), "no credentials"),
        };
        Err(Rejected::WebSocket(format!("{worker}{name}")))
    }

    async fn attend_msgpack(self, name: &str, worker: StockWorker, wire: Wire) -> Result<(), Rejected> {
        let builders = worker.builders;
        self.attend(name, &worker.password, wire, |gateway| {
            let ghosts = Ghosts::load(&gateway.around().directory, name)?;
            let chores = format!("gateway-{}", uuid::Uuid::new_v4());
            let stock = MsgpackWorker::new(builders, ghosts.alive().to_vec(), chores)?;
            Ok((stock, Some(ghosts)))
        })
        .await
    }
}

/// Name and password of a request; `Err` when what stands there is malformed.
fn credentials(request: &Request) -> Result<(String, String), ()> {
    let Some(header) = request.headers().get("Authorization") else {
        return Ok((String::new(), String::new()));
    };
    let text = header.to_str().map_err(drop)?;
    let encoded = text.strip_prefix("Basic ").ok_or(())?;
    let decoded = BASE64.decode(encoded.trim()).map_err(drop)?;
    let decoded = String::from_utf8(decoded).map_err(drop)?;
    let (name, password) = decoded.split_once(':').ok_or(())?;
    Ok((name.to_owned(), password.to_owned()))
}

fn turn_away(status: StatusCode) -> ErrorResponse {
    let mut response = ErrorResponse::new(None);
    *response.status_mut() = status;
    response
}

/// Reads what a peer without a right has to say, until it leaves.
async fn hold(mut wire: Wire, stop: CancellationToken) {
    let leaves = async { while let Some(Ok(_)) = wire.incoming.next().await {} };
    tokio::select! {
        _ = timeout(DENIED_TIMEOUT, leaves) => {}
        () = stop.cancelled() => {}
    }
}

/// Some time after `stop`: whoever has not ended by then is dropped.
async fn stopped_long_ago(stop: CancellationToken) {
    const PATIENCE: Duration = Duration::from_secs(5);
    stop.cancelled().await;
    tokio::time::sleep(PATIENCE).await;
}
