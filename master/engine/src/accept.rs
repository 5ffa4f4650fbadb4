//! Workers dial in: who may, and which dial wins.

use std::{sync::Arc, time::Duration};

use muster_core::{BuildId, Epoch, render::Renderable};
use muster_data::Dialled;
use muster_net::Listener;
use muster_session::{Opening, Password, Passwords, Refusal, RefusalCode, Terms, Transport};
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{Engine, Going, sessions::Slot};

/// Openings that wait for their turn; more connections wait in the listener.
const OPENINGS: usize = 256;
/// How often master and worker say that they live. Three that are missing end a connection: a worker looks for another
/// engine about when the others take over from a master that stands still.
const HEARTBEAT: Duration = Duration::from_millis(2500);
/// What of a worker's information is kept in the database, as in Buildbot.
const STORED_INFO: [&str; 4] = ["admin", "host", "access_uri", "version"];

impl Engine {
    /// Accepts workers on a bound listener until `shutdown`.
    pub async fn serve_sessions(self, listener: Listener, shutdown: CancellationToken) {
        let mut adopted = self.0.adopted.subscribe();
        tokio::select! {
            waited = adopted.wait_for(|adopted| *adopted) => drop(waited),
            () = shutdown.cancelled() => return,
        }
        let (sender, mut openings) = mpsc::channel(OPENINGS);
        let conversations = TaskTracker::new();
        let serving = muster_session::serve(listener, self.passwords(), sender);
        let accepting = async {
            while let Some(opening) = openings.recv().await {
                let (engine, shutdown) = (self.clone(), shutdown.clone());
                let tracker = conversations.clone();
                conversations.spawn(engine.accept(opening, tracker, shutdown, false));
            }
        };
        tokio::select! {
            () = serving => {}
            () = accepting => {}
            () = shutdown.cancelled() => {}
        }
        for slot in self.slots().all() {
            slot.close("the master stops");
        }
        conversations.close();
        conversations.wait().await;
    }

    /// Serves one worker's connection within this process, until it ends or `shutdown`: its commands end with the
    /// process, so it can't be handed over. The session outlives it on `tracker`.
    pub async fn accept_transport(
        self,
        transport: Transport,
        tracker: TaskTracker,
        shutdown: CancellationToken,
    ) {
        let mut adopted = self.0.adopted.subscribe();
        let serving = async {
            // The engine itself holds the sender.
            let _ = adopted.wait_for(|adopted| *adopted).await;
            match muster_session::open(transport, &self.passwords()).await {
                Ok(opening) => self.clone().accept(opening, tracker, shutdown.clone(), true).await,
                Err(error) => tracing::warn!(%error, "the gateway could not open a session"),
            }
        };
        tokio::select! {
            () = serving => {}
            () = shutdown.cancelled() => {}
        }
    }

    fn passwords(&self) -> Passwords {
        let active = self.active_receiver();
        Arc::new(move |name| {
            let active = active.borrow();
            let worker = active.snapshot.worker(name)?;
            match worker.password.as_ref()? {
                Renderable::Literal(Value::String(password)) => Some(Password::new(password)),
                _ => {
                    tracing::error!(
                        worker = name,
                        "the worker's password is not plain text; it can't log in"
                    );
                    None
                }
            }
        })
    }

    /// Why a worker should dial another engine.
    fn refuses(&self, slot: &Slot, bound: bool) -> Option<&'static str> {
        if !self.data().trust().is_held() {
            return Some("this master can't renew its lease");
        }
        // One whose builds are here has found no other engine, or can have none: its builds are finished here.
        let hands_off = self.going() == Going::HandingOff && !slot.is_busy();
        (hands_off && !bound).then_some("this master goes")
    }

    /// `bound`: the worker's commands end with this process.
    async fn accept(self, opening: Opening, tracker: TaskTracker, shutdown: CancellationToken, bound: bool) {
        let name = opening.worker().to_owned();
        let Some(slot) = self.slots().get(&name) else {
            return refuse(opening, RefusalCode::Credentials, "this worker is not configured").await;
        };
        if let Some(reason) = self.refuses(&slot, bound) {
            return refuse(opening, RefusalCode::Unavailable, reason).await;
        }
        let dial_no = i64::try_from(opening.dial_no()).unwrap_or(i64::MAX);
        let info: Map<String, Value> = opening
            .info()
            .iter()
            .filter(|(key, _)| STORED_INFO.contains(&key.as_str()))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let boot = opening.boot_id().clone();
        let before = slot.builds();
        let dialled = self.data().worker_dials(self.master(), slot.id(), &boot.0, dial_no, &info).await;
        let (moved, runs) = match dialled {
            Ok(Dialled::Won { moved, runs }) if slot.supersede(&boot, opening.dial_no()) => (moved, runs),
            Ok(Dialled::Won { .. } | Dialled::Lost) => {
                return refuse(opening, RefusalCode::StaleDial, "a later connection of this worker is here")
                    .await;
            }
            Err(error) => {
                tracing::error!(worker = name, %error, "can't take the worker's session");
                return refuse(opening, RefusalCode::Unavailable, "the master's database is away").await;
            }
        };
        // What was finished elsewhere must not be ordered from here once more.
        let is_over = |build: &BuildId| !runs.iter().any(|run| run.build == *build);
        before.into_iter().filter(is_over).for_each(|build| slot.let_go(build));
        self.settle_worker(&runs).await;
        self.take_up(moved, &self.0.leaving).await;
        tracing::info!(worker = name, peer = opening.peer(), %boot, "worker connected");
        let (link, events) = slot.link_for(&boot, opening.info(), bound);
        if let Some(events) = events {
            let slot = slot.clone();
            tracker.spawn(async move {
                tokio::select! {
                    () = slot.pump(boot, events) => {}
                    () = shutdown.cancelled() => {}
                }
            });
        }
        let terms = Terms {
            peers: self.others().await,
            heartbeat_ms: HEARTBEAT.as_millis() as u64,
            ..Terms::new(self.0.generation, Epoch(1))
        };
        let trust = self.data().trust().clone();
        let ended = link.converse_while(opening, terms, &move || trust.is_held()).await;
        tracing::debug!(worker = name, reason = %ended, "a connection ended");
        // A worker that came back as another process is not gone.
        if !link.is_connected()
            && slot.lives(link.boot_id())
            && let Err(error) = self.data().worker_is_gone(self.master(), slot.id()).await
        {
            tracing::error!(worker = name, %error, "can't note that the worker is gone");
        }
    }
}

async fn refuse(opening: Opening, code: RefusalCode, reason: &str) {
    tracing::info!(worker = opening.worker(), peer = opening.peer(), reason, "worker refused");
    opening.refuse(Refusal { code, reason: reason.to_owned(), retry_after_ms: None }).await;
}
