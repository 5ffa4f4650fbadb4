//! Events as a stream of an HTTP answer (`docs/compat/www-api.md` B.2).

use std::convert::Infallible;

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    response::{
        IntoResponse, Response, Sse,
        sse::{self, KeepAlive},
    },
    routing::get,
};
use futures_util::{Stream, StreamExt, stream};
use muster_bus::{Event, Received, Subscription};
use muster_core::{
    policy::{Action, Target},
    python_json,
};
use serde_json::json;

use crate::{
    AppState,
    auth::Visitor,
    paths::Paths,
    streams::OpenStream,
    ws::{MISSED, too_many_listeners},
};

pub(crate) fn router() -> Router<AppState> {
    Router::new()
        .route("/sse", get(|state: State<AppState>, visitor: Visitor| async { listen(state, visitor, None) }))
        .route(
            "/sse/listen",
            get(|state: State<AppState>, visitor: Visitor| async { listen(state, visitor, None) }),
        )
        .route("/sse/listen/{*path}", get(listen_to))
        .route("/sse/add/{uuid}/{*path}", get(add))
        .route("/sse/remove/{uuid}/{*path}", get(remove))
        .route("/sse/add", get(|| async { need_uuid() }))
        .route("/sse/remove", get(|| async { need_uuid() }))
        .route("/sse/{*path}", get(listen_to))
}

async fn listen_to(state: State<AppState>, visitor: Visitor, Path(path): Path<String>) -> Response {
    listen(state, visitor, Some(path))
}

fn listen(State(state): State<AppState>, visitor: Visitor, path: Option<String>) -> Response {
    if let Err(denied) = visitor.may(Action::Get, &Target::default()) {
        return (StatusCode::FORBIDDEN, denied.to_string()).into_response();
    }
    let Ok(permit) = state.listeners.clone().try_acquire_owned() else { return too_many_listeners() };
    let subscription = state.data.bus().subscribe();
    let mut paths = Paths::default();
    if let Some(Err(refusal)) = path.map(|path| paths.add(&path)) {
        return (StatusCode::BAD_REQUEST, refusal).into_response();
    }
    let open = state.streams.open(paths, permit);
    let handshake = sse::Event::default().event("handshake").data(open.id().to_string());
    let events = stream::once(async { handshake }).chain(told(subscription, open));
    let ending = state.ending.clone();
    let denied = async move { visitor.until_denied(state.snapshot.clone(), &state.policies).await };
    let events = events.take_until(ending.cancelled_owned()).take_until(denied).map(Ok::<_, Infallible>);
    // Comments keep proxies from closing a quiet stream, and find out clients that are gone.
    Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}

/// What the stream is told. A client that doesn't read lags behind on the bus, and is told that it missed something.
fn told(subscription: Subscription, open: OpenStream) -> impl Stream<Item = sse::Event> {
    let messages = stream::unfold((subscription, open), |(mut subscription, open)| async move {
        let messages = match subscription.next().await? {
            Received::Event(event) => messages(&event, &open),
            Received::Missed(count) => {
                let data =
                    json!({"key": MISSED.split('/').collect::<Vec<_>>(), "message": {"events": count}});
                vec![sse::Event::default().event("event").data(data.to_string())]
            }
        };
        Some((stream::iter(messages), (subscription, open)))
    });
    messages.flatten()
}

/// What a client is told about an event: one message for each name and path that fit.
fn messages(event: &Event, open: &OpenStream) -> Vec<sse::Event> {
    let mut messages = Vec::new();
    for topic in &event.topics {
        for _ in 0..open.matching(topic) {
            let data = json!({"key": topic.0, "message": event.payload});
            messages
                .push(sse::Event::default().event("event").data(python_json::restored(&data.to_string())));
        }
    }
    messages
}

async fn add(State(state): State<AppState>, Path((uuid, path)): Path<(String, String)>) -> Response {
    match state.streams.with(&uuid, |paths| paths.add(&path)) {
        None => unknown_uuid(),
        Some(Err(refusal)) => (StatusCode::BAD_REQUEST, refusal).into_response(),
        Some(Ok(())) => "ok".into_response(),
    }
}

async fn remove(State(state): State<AppState>, Path((uuid, path)): Path<(String, String)>) -> Response {
    match state.streams.with(&uuid, |paths| paths.remove(&path)) {
        None => unknown_uuid(),
        Some(false) => (StatusCode::NOT_FOUND, "unknown path").into_response(),
        Some(true) => "ok".into_response(),
    }
}

fn unknown_uuid() -> Response {
    (StatusCode::BAD_REQUEST, "unknown uuid").into_response()
}

fn need_uuid() -> Response {
    (StatusCode::BAD_REQUEST, "need uuid").into_response()
}
