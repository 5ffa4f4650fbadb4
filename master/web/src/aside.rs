//! Answers are made aside: on threads of their own, so that however much is asked here, probes are answered, workers are
//! heard and the lease is renewed.
//!
//! The main runtime moves bytes between sockets and memory. Everything else of a request, from the parsing of its body to the
//! packing of its answer, runs here, within the budget.

use std::{
    sync::{Arc, LazyLock},
    thread::available_parallelism,
};

use axum::{
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderMap, Method, StatusCode, header},
    middleware::Next,
    response::Response,
};
use futures_util::{Stream, StreamExt, stream};
use hyper::body::Body as _;
use tokio::{
    runtime::{Builder, Runtime},
    sync::mpsc,
};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    bodies,
    budget::{self, Full, Share},
};

/// Threads that make answers: as many as the machine has cores, within these bounds. Fewer than two, and one long answer would
/// hold up all others; more than four only take memory.
const THREADS: (usize, usize) = (2, 4);
/// Bytes of an answer that are made before any is sent. A shorter answer is sent whole; a longer one is sent while it is made.
const WHOLE: usize = 256 << 10;

/// It lives as long as the process: connections to the database that are opened here are used by others, too.
static ASIDE: LazyLock<Runtime> = LazyLock::new(|| {
    let cores = available_parallelism().map_or(THREADS.0, usize::from);
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(cores.clamp(THREADS.0, THREADS.1)).thread_name("web").enable_all();
    builder.build().expect("the process can have a few threads more")
});

/// Answers a request within the budget, on threads of its own. Probes and streams of events have bounds of their own.
pub(crate) async fn answer(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if matches!(path, "/livez" | "/readyz" | "/ws") || path == "/sse" || path.starts_with("/sse/") {
        return next.run(request).await;
    }
    let path = path.to_owned();
    let (request, share) = match bodies::read(request).await {
        Ok(read) => read,
        Err(refusal) => return refusal,
    };
    let Ok(turn) = budget::turn(request.method()).await else { return budget::busy(&path) };
    let made = AbortOnDropHandle::new(ASIDE.spawn(async move {
        let method = request.method().clone();
        let response = match bodies::refused(&request) {
            Some(text) => budget::refusal(request.uri().path(), StatusCode::BAD_REQUEST, &text),
            None => next.run(request.map(Body::from)).await,
        };
        drop(share);
        let response = bounded(&method, response).await;
        drop(turn);
        response
    }));
    match made.await {
        Ok(Ok(response)) => response,
        Ok(Err(Full)) => budget::busy(&path),
        Err(error) => {
            tracing::error!(%error, path, "a request could not be answered");
            budget::refusal(
                &path,
                StatusCode::INTERNAL_SERVER_ERROR,
                "an internal error; the master's log tells more",
            )
        }
    }
}

/// The same answer within the budget: whole, or sent while it is made.
async fn bounded(method: &Method, response: Response) -> Result<Response, Full> {
    let (mut parts, body) = response.into_parts();
    if method == Method::HEAD || body.is_end_stream() {
        return Ok(Response::from_parts(parts, body));
    }
    if let Some(length) = body.size_hint().exact() {
        let share = Arc::new(budget::answer(usize::try_from(length).map_err(|_| Full)?)?);
        let body =
            body.into_data_stream().map(move |part| part.map(|part| budget::held(part, share.clone())));
        set_length(&mut parts.headers, length);
        return Ok(Response::from_parts(parts, Body::from_stream(body)));
    }
    let mut rest = body.into_data_stream();
    let (mut begin, mut failed) = (Vec::new(), None);
    while begin.len() < WHOLE {
        match rest.next().await {
            Some(Ok(part)) => begin.extend_from_slice(&part),
            Some(Err(error)) => {
                failed = Some(error);
                break;
            }
            None => {
                let share = budget::answer(begin.len())?;
                set_length(&mut parts.headers, begin.len() as u64);
                return Ok(Response::from_parts(parts, budget::whole(begin, share)));
            }
        }
    }
    let share = budget::stream()?;
    let rest = stream::iter(failed.map(Err)).chain(rest.fuse());
    let parts_of_it = stream::iter([Ok(Bytes::from(begin))]).chain(rest);
    Ok(Response::from_parts(parts, Body::from_stream(pumped(parts_of_it, Arc::new(share)))))
}

fn set_length(headers: &mut HeaderMap, length: u64) {
    headers.insert(header::CONTENT_LENGTH, length.into());
}

/// The parts of a stream, made here one ahead of the socket. They end where one fails, which cuts the connection.
fn pumped(
    parts: impl Stream<Item = Result<Bytes, axum::Error>> + Send + 'static,
    share: Arc<Share>,
) -> impl Stream<Item = Result<Bytes, axum::Error>> {
    let (sender, receiver) = mpsc::channel(1);
    ASIDE.spawn(async move {
        tokio::pin!(parts);
        loop {
            let part = tokio::select! {
                part = parts.next() => part,
                // The client is gone.
                () = sender.closed() => return,
            };
            let Some(part) = part else { return };
            let part = part.map(|part| budget::held(part, share.clone()));
            let is_last = part.is_err();
            if sender.send(part).await.is_err() || is_last {
                return;
            }
        }
    });
    stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) }).fuse()
}
