//! Ports: accepts connections and leads each to its [`Door`].

use std::sync::Arc;
use std::time::Duration;

use muster_net::Listener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::door::{Door, Protocol, stopped_long_ago};
use crate::gateway::Gateway;
use crate::roster::Port;

/// Rest after an error of `accept`: mostly the process has no file descriptor left, and needs time to get one back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves stock workers and command line tools over PB until `stop`. `port` tells which accounts come in here.
pub async fn serve_pb(listener: impl Into<Listener>, gateway: Gateway, port: Port, stop: CancellationToken) {
    serve(listener.into(), gateway, port, Protocol::Pb, stop).await;
}

/// Serves stock workers over msgpack until `stop`.
pub async fn serve_msgpack(listener: impl Into<Listener>, gateway: Gateway, stop: CancellationToken) {
    serve(listener.into(), gateway, None, Protocol::Msgpack, stop).await;
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
            let incoming = listener.accept().await?;
            Ok::<_, std::io::Error>((gateway.strangers().enter().await, incoming))
        };
        tokio::select! {
            () = stop.cancelled() => break,
            accepted = accepted => match accepted {
                Ok((place, incoming)) => {
                    let peer = incoming.peer().to_owned();
                    let door = Door { gateway: gateway.clone(), port: port.clone(), peer, stop: stop.clone(), place };
                    let (attendances, stop) = (connections.clone(), stop.clone());
                    connections.spawn(async move {
                        if let Some(attendance) = door.admit(incoming, protocol).await {
                            attendances.spawn(async move {
                                tokio::select! {
                                    () = attendance => {}
                                    () = stopped_long_ago(&stop) => {}
                                }
                            });
                        }
                    });
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
