//! Connections of the web server: how many there may be, and how long a request's head may take.

use std::{convert::Infallible, io::ErrorKind, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::Request, response::Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use muster_net::{AnyStream, Listener, Opened, Refusals};
use tokio::{sync::Semaphore, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::Service;

use crate::access_log::Peer;
use crate::patient::Patient;

/// Connections at once on one listener; more wait in its backlog. A browser holds up to six.
const MAX_CONNECTIONS: usize = 6_144;
/// Bytes of a request's head, and of what is read or written at once; a longer head is answered with 431. Buildbot takes
/// lines of 16 kB. With all connections, these are 192 MiB.
const MAX_BUFFER: usize = 32 << 10;
/// How long a client may take to send a request's head, or idle before the next one; then the connection is closed.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The wait after an accept that failed, usually for want of file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);

/// Serves every connection of a listener until `ending`, then lets open requests finish.
pub(crate) async fn serve(listener: Listener, app: Router, ending: CancellationToken) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let (connections, refusals) = (TaskTracker::new(), Refusals::new("the web port"));
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
            listener.accept().await.map(|incoming| (incoming, place))
        };
        let (incoming, place) = tokio::select! {
            accepted = next => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                    continue;
                }
            },
            () = ending.cancelled() => break,
        };
        let (app, ending, refusals) = (app.clone(), ending.clone(), refusals.clone());
        let (is_proxied, proxy) = (listener.is_proxied(), incoming.peer().to_owned());
        connections.spawn(async move {
            match timeout(HEAD_TIMEOUT, incoming.open()).await {
                Ok(Ok(Opened { stream, peer })) => converse(stream, app, Peer::of(&peer), ending).await,
                // One that leaves without a word looks whether the port is open.
                Ok(Err(error)) if is_proxied && error.kind() == ErrorKind::InvalidData => {
                    refusals.tell(&proxy, &error);
                }
                Ok(Err(error)) => tracing::debug!(%error, "a connection was not opened"),
                Err(_) => tracing::debug!("a connection was not opened within {HEAD_TIMEOUT:?}"),
            }
            drop(place);
        });
    }
    connections.close();
    connections.wait().await;
}

async fn converse(stream: AnyStream, app: Router, peer: Peer, ending: CancellationToken) {
    let answer = service_fn(move |request: hyper::Request<Incoming>| {
        let (mut app, peer) = (app.clone(), peer.clone());
        async move {
            let mut request: Request = request.map(Body::new);
            request.extensions_mut().insert(peer);
            let response: Result<Response, Infallible> = app.call(request).await;
            response
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_BUFFER)
        .serve_connection(TokioIo::new(Patient::new(stream)), answer)
        .with_upgrades();
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = ending.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
