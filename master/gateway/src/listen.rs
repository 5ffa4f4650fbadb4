//! Ports: accepts connections and leads each to its [`Door`].

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::door::{AnySocket, Door, Protocol};
use crate::gateway::Gateway;
use crate::roster::Port;

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

impl Listener {
    /// Where it listens, for people.
    pub fn address(&self) -> String {
        match self {
            Listener::Tcp(listener) => {
                listener.local_addr().map_or_else(|error| error.to_string(), |at| at.to_string())
            }
            Listener::Unix(listener) => {
                let path = listener
                    .local_addr()
                    .ok()
                    .and_then(|at| at.as_pathname().map(|path| path.display().to_string()));
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

/// Serves stock workers and command line tools over PB until `stop`. `port` tells which accounts come in here.
pub async fn serve_pb(listener: Listener, gateway: Gateway, port: Port, stop: CancellationToken) {
    serve(listener, gateway, port, Protocol::Pb, stop).await;
}

/// Serves stock workers over msgpack until `stop`.
pub async fn serve_msgpack(listener: Listener, gateway: Gateway, stop: CancellationToken) {
    serve(listener, gateway, None, Protocol::Msgpack, stop).await;
}

async fn serve(
    listener: Listener,
    gateway: Gateway,
    port: Port,
    protocol: Protocol,
    stop: CancellationToken,
) {
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
