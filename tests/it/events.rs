//! What a page is told live.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use muster_tests::until_ok;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{self, Message};

/// Longer than anything takes that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// An event, and when it came.
pub struct Told {
    pub at: Instant,
    pub key: Vec<String>,
    pub message: Value,
}

/// A page that listens at `/ws`, of a master of Muster or of Buildbot.
pub struct Events(mpsc::Receiver<Told>);

impl Events {
    /// Listens to some paths, where `*` is any one part.
    #[track_caller]
    pub fn listen(web: SocketAddr, paths: &[&str]) -> Events {
        let (mut socket, _) =
            until_ok(|| tungstenite::connect(format!("ws://{web}/ws")).map_err(|error| error.to_string()));
        for (id, path) in paths.iter().enumerate() {
            let start = json!({"cmd": "startConsuming", "path": path, "_id": id});
            socket.send(Message::text(start.to_string())).unwrap();
            // Answers come in order, and before the first event of their path.
            while !answers(&socket.read().unwrap(), id) {}
        }
        let (told, events) = mpsc::channel();
        std::thread::spawn(move || {
            while let Ok(message) = socket.read() {
                let Some(event) = event(&message) else { continue };
                if told.send(event).is_err() {
                    return;
                }
            }
        });
        Events(events)
    }

    /// The first event whose key is `key`, where `*` is any one part; those before it are passed over.
    #[track_caller]
    pub fn wait_for(&self, key: &str) -> Told {
        self.wait_for_one(key, |_| true)
    }

    /// The same, with a look at its message.
    #[track_caller]
    pub fn wait_for_one(&self, key: &str, wanted: impl Fn(&Value) -> bool) -> Told {
        let parts: Vec<&str> = key.split('/').collect();
        let fits = |told: &Told| {
            told.key.len() == parts.len()
                && told.key.iter().zip(&parts).all(|(part, want)| *want == "*" || part == want)
        };
        loop {
            let told = self.0.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no event {key}"));
            if fits(&told) && wanted(&told.message) {
                return told;
            }
        }
    }
}

fn answers(message: &Message, id: usize) -> bool {
    let Message::Text(text) = message else { return false };
    let answer: Value = serde_json::from_str(text).unwrap();
    assert!(answer["error"].is_null(), "{answer}");
    answer["_id"] == json!(id)
}

fn event(message: &Message) -> Option<Told> {
    let Message::Text(text) = message else { return None };
    let mut event: Value = serde_json::from_str(text).ok()?;
    let key = event["k"].as_str()?.split('/').map(str::to_owned).collect();
    Some(Told { at: Instant::now(), key, message: event["m"].take() })
}
