//! Events over WebSocket (`docs/compat/www-api.md` B.1).
//!
//! Each client has a queue between the bus and its socket. A client that lets it fill up is dropped: it could only
//! see what is long over, and the bus must not wait for it.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use axum::{
    extract::{
        State,
        ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade, rejection::WebSocketUpgradeRejection},
    },
    http::StatusCode,
    response::{IntoResponse, Response},
};
use futures_util::{SinkExt, StreamExt, stream::SplitSink};
use muster_bus::{Event, Received};
use muster_core::{
    policy::{Action, Target},
    python_json,
};
use serde_json::{Map, Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::{AppState, auth::Visitor, paths::Paths, state::MAX_LISTENERS};

/// Frames that wait for one client; with the next one it is dropped. A build makes about 150 frames.
const CLIENT_QUEUE: usize = 2_048;
/// Longest frame of a client; commands are much shorter. A longer one closes the connection.
const MAX_FRAME: usize = 64 << 10;
/// Bytes of frames that wait for all clients together; whoever lets them grow beyond it is dropped, with whom it meets.
const MAX_QUEUED: usize = 48 << 20;
/// Bytes of frames that wait for one client; with more it is dropped.
const MAX_QUEUED_EACH: usize = 4 << 20;

/// Room for the frames of all clients.
static QUEUED: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(MAX_QUEUED)));

/// The event that tells a browser that it may have missed some: it should load its page's data again.
pub(crate) const MISSED: &str = "muster/missed";

pub(crate) async fn upgrade(
    State(state): State<AppState>,
    visitor: Visitor,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let Ok(upgrade) = upgrade else {
        return (StatusCode::UPGRADE_REQUIRED, "this address speaks WebSocket").into_response();
    };
    if let Err(denied) = visitor.may(Action::Get, &Target::default()) {
        return (StatusCode::FORBIDDEN, denied.to_string()).into_response();
    }
    let Ok(permit) = state.listeners.clone().try_acquire_owned() else { return too_many_listeners() };
    upgrade.max_message_size(MAX_FRAME).on_upgrade(move |socket| async move {
        tokio::select! {
            () = serve(state.clone(), socket) => {}
            // Whoever may not listen any more has to ask again.
            () = visitor.until_denied(state.snapshot.clone(), &state.policies) => {}
        }
        drop(permit);
    })
}

/// The answer to one listener too many.
pub(crate) fn too_many_listeners() -> Response {
    let text = format!("{MAX_LISTENERS} pages listen to events already; close some, or try again later\n");
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

/// Serves one client until it goes, lags, talks nonsense, or the server ends.
async fn serve(state: AppState, socket: WebSocket) {
    let mut events = state.data.bus().subscribe();
    let (sink, mut incoming) = socket.split();
    let (queue, frames) = mpsc::channel(CLIENT_QUEUE);
    let mut client = Client::new(queue);
    let mut pings = ping_timer(&state);
    let writing = write(sink, frames);
    let reading = async {
        loop {
            let kept = tokio::select! {
                frame = incoming.next() => match frame {
                    Some(Ok(Message::Text(text))) => client.command(&text),
                    Some(Ok(Message::Close(_)) | Err(_)) | None => Err(Gone::Left),
                    Some(Ok(_)) => Ok(()),
                },
                event = events.next() => match event {
                    Some(Received::Event(event)) => client.forward(&event),
                    Some(Received::Missed(count)) => client.tell_missed(count),
                    None => Err(Gone::Left),
                },
                () = pings.next() => client.send(Message::Ping(Default::default())),
                () = state.ending.cancelled() => Err(Gone::Left),
            };
            if let Err(gone) = kept {
                return gone;
            }
        }
    };
    let gone = tokio::select! {
        gone = reading => gone,
        () = writing => Gone::Left,
    };
    match gone {
        Gone::Left => {}
        Gone::Slow => {
            tracing::warn!(queue = CLIENT_QUEUE, "a browser didn't keep up with the events and was dropped")
        }
        Gone::Nonsense => tracing::info!("a WebSocket client sent something else than JSON and was dropped"),
    }
}

/// Why a client isn't served any more.
#[derive(Debug, PartialEq, Eq)]
enum Gone {
    /// It went, or the server ends.
    Left,
    /// Its queue is full.
    Slow,
    /// It doesn't speak JSON.
    Nonsense,
}

async fn write(mut sink: SplitSink<WebSocket, Message>, mut frames: mpsc::Receiver<Queued>) {
    while let Some(frame) = frames.recv().await {
        if sink.send(frame.message).await.is_err() {
            return;
        }
    }
}

/// Keep-alive as `ws_ping_interval` asks for; by default none.
struct Pings(Option<tokio::time::Interval>);

impl Pings {
    async fn next(&mut self) {
        match &mut self.0 {
            Some(interval) => {
                interval.tick().await;
            }
            None => std::future::pending().await,
        }
    }
}

fn ping_timer(state: &AppState) -> Pings {
    let seconds = state.config().www.raw.get("ws_ping_interval").and_then(Value::as_f64).unwrap_or(0.0);
    let period = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    // The first tick of an interval is at once; the first ping is due after one period.
    Pings((!period.is_zero()).then(|| tokio::time::interval_at(tokio::time::Instant::now() + period, period)))
}

/// One connection: what it listens to, and the way to it.
struct Client {
    paths: Paths,
    queue: mpsc::Sender<Queued>,
    room: Arc<Semaphore>,
}

/// A frame that waits, and the room that it takes.
struct Queued {
    message: Message,
    _room: [OwnedSemaphorePermit; 2],
}

impl Client {
    fn new(queue: mpsc::Sender<Queued>) -> Client {
        Client { paths: Paths::default(), queue, room: Arc::new(Semaphore::new(MAX_QUEUED_EACH)) }
    }

    fn send(&self, message: Message) -> Result<(), Gone> {
        let bytes = match &message {
            Message::Text(text) => u32::try_from(text.len()).map_err(|_| Gone::Slow)?,
            _ => 0,
        };
        let room = |pool: &Arc<Semaphore>| pool.clone().try_acquire_many_owned(bytes).map_err(|_| Gone::Slow);
        let room = [room(&self.room)?, room(&QUEUED)?];
        self.queue.try_send(Queued { message, _room: room }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Gone::Slow,
            mpsc::error::TrySendError::Closed(_) => Gone::Left,
        })
    }

    fn send_json(&self, frame: &Value) -> Result<(), Gone> {
        self.send(Message::Text(Utf8Bytes::from(frame.to_string())))
    }

    /// Once for each name of the event and each path that selects it.
    fn forward(&self, event: &Event) -> Result<(), Gone> {
        for topic in &event.topics {
            let listening = self.paths.matching(topic);
            if listening == 0 {
                continue;
            }
            let text = json!({"k": topic.to_string(), "m": event.payload}).to_string();
            let text = Utf8Bytes::from(python_json::restored(&text).into_owned());
            (0..listening).try_for_each(|_| self.send(Message::Text(text.clone())))?;
        }
        Ok(())
    }

    fn tell_missed(&self, count: u64) -> Result<(), Gone> {
        tracing::warn!(count, "a browser lost events; it is told to look again");
        self.send_json(&json!({"k": MISSED, "m": {"events": count}}))
    }

    fn command(&mut self, text: &str) -> Result<(), Gone> {
        let frame: Value = serde_json::from_str(text).map_err(|_| Gone::Nonsense)?;
        let Value::Object(frame) = frame else { return Err(Gone::Nonsense) };
        let answer = self.answer(frame);
        self.send_json(&answer)
    }

    fn answer(&mut self, mut frame: Map<String, Value>) -> Value {
        let id = frame.remove("_id");
        if frame.remove("type").is_none() && id.is_none() {
            return failure("no '_id' or 'type' in websocket frame", 400, Value::Null);
        }
        let Some(command) = frame.remove("cmd") else {
            return failure("no 'cmd' in websocket frame", 400, Value::Null);
        };
        let id = id.unwrap_or(Value::Null);
        match command.as_str() {
            Some("ping") => match frame.keys().next() {
                Some(name) => failure(&format!("Invalid method argument '{name}'"), 400, id),
                None => json!({"msg": "pong", "code": 200, "_id": id}),
            },
            Some("startConsuming") => self.with_path(frame, id, Client::start),
            Some("stopConsuming") => self.with_path(frame, id, Client::stop),
            _ => {
                let command = command.as_str().map_or_else(|| command.to_string(), str::to_owned);
                failure(&format!("no such command type '{command}'"), 404, id)
            }
        }
    }

    fn with_path(
        &mut self,
        mut frame: Map<String, Value>,
        id: Value,
        run: fn(&mut Client, &str) -> Result<(), String>,
    ) -> Value {
        let path = frame.remove("path");
        let (Some(path), None) = (path, frame.keys().next()) else {
            let name = frame.keys().next().map_or("path", String::as_str);
            return failure(&format!("Invalid method argument '{name}'"), 400, id);
        };
        let Some(path) = path.as_str() else {
            return failure(&format!("invalid path format '{path}'"), 400, id);
        };
        match run(self, path) {
            Ok(()) => json!({"msg": "OK", "code": 200, "_id": id}),
            Err(error) => failure(&error, 400, id),
        }
    }

    fn start(&mut self, path: &str) -> Result<(), String> {
        self.paths.add(path)
    }

    fn stop(&mut self, path: &str) -> Result<(), String> {
        if self.paths.remove(path) { Ok(()) } else { Err(format!("path was not consumed '{path}'")) }
    }
}

fn failure(error: &str, code: u16, id: Value) -> Value {
    json!({"error": error, "code": code, "_id": id})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(queue: usize) -> (Client, mpsc::Receiver<Queued>) {
        let (queue, frames) = mpsc::channel(queue);
        (Client::new(queue), frames)
    }

    fn ask(client: &mut Client, frame: Value) -> Value {
        client.answer(frame.as_object().unwrap().clone())
    }

    #[test]
    fn commands_answer_as_buildbots() {
        let (mut client, _frames) = client(1);
        let start = json!({"cmd": "startConsuming", "path": "builds/*/new", "_id": 1});
        let ok = json!({"msg": "OK", "code": 200, "_id": 1});
        assert_eq!(ask(&mut client, start.clone()), ok);
        assert_eq!(ask(&mut client, start), ok);
        assert_eq!(client.paths.len(), 1, "a path is consumed once");
        let cases = [
            (json!({"cmd": "ping", "_id": "a"}), json!({"msg": "pong", "code": 200, "_id": "a"})),
            (json!({"cmd": "ping", "type": "x"}), json!({"msg": "pong", "code": 200, "_id": null})),
            (json!({"cmd": "ping"}), failure("no '_id' or 'type' in websocket frame", 400, Value::Null)),
            (json!({"_id": 2}), failure("no 'cmd' in websocket frame", 400, Value::Null)),
            (json!({"cmd": "fly", "_id": 3}), failure("no such command type 'fly'", 404, json!(3))),
            (json!({"cmd": "ping", "x": 1, "_id": 4}), failure("Invalid method argument 'x'", 400, json!(4))),
            (
                json!({"cmd": "startConsuming", "_id": 5}),
                failure("Invalid method argument 'path'", 400, json!(5)),
            ),
            (
                json!({"cmd": "startConsuming", "path": 7, "_id": 6}),
                failure("invalid path format '7'", 400, json!(6)),
            ),
            (
                json!({"cmd": "stopConsuming", "path": "x", "_id": 7}),
                failure("path was not consumed 'x'", 400, json!(7)),
            ),
            (
                json!({"cmd": "stopConsuming", "path": "builds/*/new", "_id": 8}),
                json!({"msg": "OK", "code": 200, "_id": 8}),
            ),
        ];
        for (frame, answer) in cases {
            assert_eq!(ask(&mut client, frame.clone()), answer, "{frame}");
        }
        assert_eq!(client.command("{bad"), Err(Gone::Nonsense));
    }

    #[test]
    fn an_event_is_told_once_for_each_name_and_path() {
        let (mut client, mut frames) = client(10);
        for path in ["builds/*/*", "*/12/new", "builders/*/builds/*/*", "steps/*/*"] {
            ask(&mut client, json!({"cmd": "startConsuming", "path": path, "_id": 1}));
        }
        let topics = [
            "builds/12/new".to_owned(),
            "builders/2/builds/1/new".to_owned(),
            "workers/1/builds/12/new".to_owned(),
        ];
        client.forward(&Event::new(topics, json!({"buildid": 12}))).unwrap();
        let mut told = Vec::new();
        while let Ok(Queued { message: Message::Text(text), .. }) = frames.try_recv() {
            told.push(serde_json::from_str::<Value>(&text).unwrap()["k"].as_str().unwrap().to_owned());
        }
        assert_eq!(told, ["builds/12/new", "builds/12/new", "builders/2/builds/1/new"]);
    }

    #[test]
    fn a_client_that_does_not_read_is_dropped() {
        let (mut client, _frames) = client(2);
        ask(&mut client, json!({"cmd": "startConsuming", "path": "a/*", "_id": 1}));
        let event = Event::new(["a/1".to_owned()], Value::Null);
        assert_eq!(client.forward(&event), Ok(()));
        assert_eq!(client.forward(&event), Ok(()));
        assert_eq!(client.forward(&event), Err(Gone::Slow));
    }
}
