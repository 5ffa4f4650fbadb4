//! Connections of the web server: how many there may be, and how long a request's head may take.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::Request, response::Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::Service;

use crate::Listener;

/// Connections at once on one listener; more wait in its backlog. A browser holds up to six.
const MAX_CONNECTIONS: usize = 16_384;
/// How long a client may take to send a request's head, or idle before the next one; then the connection is closed.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The wait after an accept that failed, usually for want of file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);

/// Serves every connection of a listener until `ending`, then lets open requests finish.
pub(crate) async fn serve(listener: Listener, app: Router, ending: CancellationToken) {
    match listener {
        Listener::Tcp(listener) => accept(listener, app, ending).await,
        Listener::Unix(listener) => accept(listener, app, ending).await,
    }
}

/// A listener of either kind.
trait Accept {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    async fn next(&self) -> io::Result<Self::Stream>;
}

impl Accept for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<TcpStream> {
        let (stream, _) = self.accept().await?;
        // Small answers must not wait for an acknowledgement; without the option they are merely slower.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY can't be set");
        }
        Ok(stream)
    }
}

impl Accept for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<UnixStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

async fn accept(listener: impl Accept, app: Router, ending: CancellationToken) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let connections = TaskTracker::new();
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
            listener.next().await.map(|stream| (stream, place))
        };
        let (stream, place) = tokio::select! {
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
        let (app, ending) = (app.clone(), ending.clone());
        connections.spawn(async move {
            converse(stream, app, ending).await;
            drop(place);
        });
    }
    connections.close();
    connections.wait().await;
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    app: Router,
    ending: CancellationToken,
) {
    let answer = service_fn(move |request: hyper::Request<Incoming>| {
        let mut app = app.clone();
        async move {
            let request: Request = request.map(Body::new);
            let response: Result<Response, Infallible> = app.call(request).await;
            response
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), answer)
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
