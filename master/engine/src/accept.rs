//! Workers dial in: who may, and which dial wins.

use std::{sync::Arc, time::Duration};

use muster_core::{BuildId, Epoch, lease::RENEWAL, render::Renderable};
use muster_data::{Dialled, WorkerDial, plausible_dial};
use muster_net::Listener;
use muster_session::wire::GATEWAY;
use muster_session::{MasterLink, Opening, Password, Passwords, Refusal, RefusalCode, Terms, Transport};
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{Engine, Going, sessions::Slot};

/// Openings that wait for their turn; more connections wait in the listener.
const OPENINGS: usize = 256;
/// How often master and worker say that they live. Three that are missing end a connection: a worker looks for another
/// engine about when the others take over from a master that stands still.
const HEARTBEAT: Duration = Duration::from_millis(2500);
/// The same within one process, where no connection can break unnoticed. Ten thousand stock workers would be heard from four
/// thousand times a second otherwise.
const HEARTBEAT_WITHIN: Duration = Duration::from_secs(60);
/// How long a dial waits for this master to be able to act: as long as the next try to renew its lease may take to come.
const LATE: Duration = RENEWAL;
/// What of a worker's information is kept in the database, as in Buildbot; `null` is what a worker does not tell.
const STORED_INFO: [&str; 4] = ["admin", "host", "access_uri", "version"];

fn stored_info(opening: &Opening) -> Map<String, Value> {
    let told = |key: &str| opening.info().get(key).cloned().unwrap_or_default();
    STORED_INFO.map(|key| (key.to_owned(), told(key))).into_iter().collect()
}

/// A worker whose dial has won its session.
struct LetIn {
    slot: Slot,
    link: MasterLink,
    /// Boxed: futures that hand it on have room for it once more each.
    opening: Box<Opening>,
    bound: bool,
}

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
                conversations.spawn(async move {
                    if let Some(let_in) = engine.let_in(opening, &tracker, &shutdown, false).await {
                        tracker.spawn(async move { engine.serve(let_in).await });
                    }
                });
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
        self.accept_one(transport, tracker, shutdown, true).await;
    }

    /// The same for one that may also be a worker elsewhere, which outlives this process.
    pub(crate) async fn accept_one(
        self,
        transport: Transport,
        tracker: TaskTracker,
        shutdown: CancellationToken,
        bound: bool,
    ) {
        let mut adopted = self.0.adopted.subscribe();
        let opening = async {
            // The engine itself holds the sender.
            let _ = adopted.wait_for(|adopted| *adopted).await;
            match muster_session::open(transport, &self.passwords()).await {
                Ok(opening) => self.let_in(opening, &tracker, &shutdown, bound).await,
                Err(error) => {
                    tracing::warn!(%error, "a session could not be opened");
                    None
                }
            }
        };
        let let_in = tokio::select! {
            let_in = opening => let_in,
            () = shutdown.cancelled() => None,
        };
        // A task of its own: what an opening needs is not kept for as long as a worker is connected.
        if let Some(let_in) = let_in {
            tracker.spawn(async move {
                tokio::select! {
                    () = self.serve(let_in) => {}
                    () = shutdown.cancelled() => {}
                }
            });
        }
    }

    fn passwords(&self) -> Passwords {
        let active = self.active_receiver();
        Arc::new(move |name| {
            let active = active.borrow();
            let worker = active.worker(name)?;
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
    async fn refuses(&self, slot: &Slot, bound: bool) -> Option<&'static str> {
        if !self.data().trust().is_held() {
            return Some("this master can't renew its lease");
        }
        // One whose builds are here has found no other engine, or can have none: its builds are finished here.
        if bound || slot.is_busy() {
            return None;
        }
        match self.going() {
            Going::No => None,
            Going::HandingOff => Some("this master goes"),
            Going::Finishing => {
                let others = Box::pin(self.others()).await;
                (!others.is_empty()).then_some("this master finishes its builds; another one takes new ones")
            }
        }
    }

    /// Makes this the connection of the worker's session, or refuses it. The session outlives it on `tracker`. `bound`: the
    /// worker's commands end with this process.
    async fn let_in(
        &self,
        opening: Opening,
        tracker: &TaskTracker,
        shutdown: &CancellationToken,
        bound: bool,
    ) -> Option<LetIn> {
        let name = opening.worker().to_owned();
        let Some(slot) = self.slots().get(&name) else {
            return refuse(opening, RefusalCode::Credentials, "this worker is not configured").await;
        };
        // A renewal that takes a little longer is not worth a dial elsewhere; the trust lapses when two are late.
        let _ = tokio::time::timeout(LATE, self.data().trust().held()).await;
        if let Some(reason) = self.refuses(&slot, bound).await {
            return refuse(opening, RefusalCode::Unavailable, reason).await;
        }
        if i64::try_from(opening.dial_no()).map_or(true, |number| number > plausible_dial()) {
            let reason = "its number is one that no worker reaches; is its clock right? Otherwise remove the file dial-number \
                          in the worker's directory";
            return refuse(opening, RefusalCode::StaleDial, reason).await;
        }
        let info = stored_info(&opening);
        let boot = opening.boot_id().clone();
        let before = slot.builds();
        let dial = WorkerDial {
            worker: slot.id(),
            boot_id: boot.0.clone(),
            // No session has a higher number than this.
            dial_no: i64::try_from(opening.dial_no()).unwrap_or(i64::MAX),
            gateway: opening.info().get(GATEWAY).and_then(Value::as_str).map(str::to_owned),
            info,
        };
        let (moved, runs) = match self.0.dials.settle(self.data(), self.master(), dial).await {
            Ok(Dialled::Won { moved, runs }) if slot.supersede(&boot, opening.dial_no()) => (moved, runs),
            Ok(Dialled::Won { .. }) => {
                return refuse(opening, RefusalCode::StaleDial, "a later dial of this worker was faster")
                    .await;
            }
            Ok(Dialled::Lost { highest }) => {
                let reason = "a later dial of this worker was here already";
                let stale = Refusal::new(RefusalCode::StaleDial, reason);
                opening.refuse(Refusal { highest_dial: u64::try_from(highest).ok(), ..stale }).await;
                return None;
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
            let (slot, shutdown) = (slot.clone(), shutdown.clone());
            tracker.spawn(async move {
                tokio::select! {
                    () = slot.pump(boot, events) => {}
                    () = shutdown.cancelled() => {}
                }
            });
        }
        Some(LetIn { slot, link, opening: Box::new(opening), bound })
    }

    /// Leads a worker's connection to its end. What is done only before and after is boxed: this future lives as long as
    /// the connection.
    async fn serve(&self, LetIn { slot, link, opening, bound }: LetIn) {
        let heartbeat = if bound { HEARTBEAT_WITHIN } else { HEARTBEAT };
        let terms = Terms {
            peers: Box::pin(self.others()).await,
            heartbeat_ms: heartbeat.as_millis() as u64,
            ..Terms::new(self.0.generation, Epoch(1))
        };
        let trust = self.data().trust().clone();
        let ended = link.converse_while(*opening, terms, &move || trust.is_held()).await;
        tracing::debug!(worker = slot.name(), reason = %ended, "a connection ended");
        // A worker that came back as another process is not gone.
        if !link.is_connected()
            && slot.lives(link.boot_id())
            && let Err(error) = Box::pin(self.data().worker_is_gone(self.master(), slot.id())).await
        {
            tracing::error!(worker = slot.name(), %error, "can't note that the worker is gone");
        }
    }
}

async fn refuse(opening: Opening, code: RefusalCode, reason: &str) -> Option<LetIn> {
    opening.refuse(Refusal::new(code, reason)).await;
    None
}
