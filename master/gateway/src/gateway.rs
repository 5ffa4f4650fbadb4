//! What all connections of a gateway share.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::BoxFuture;
use muster_session::{Transport, TransportError};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::pb::SentChange;
use crate::roster::Roster;
use crate::spool::Budget;

/// Connections that have not logged in yet. More wait in the kernel's queue; each of them has a few seconds.
const MAX_STRANGERS: usize = 2048;

/// Connections that were turned away and are held open for a moment, as stock workers expect it; more are closed at
/// once.
const MAX_DENIED: usize = 256;

/// How long the connection that a worker has already may take to answer, when the worker seems to come a second time.
const PING_PATIENCE: Duration = Duration::from_secs(5);

/// How long a connection may take to end after it was told to.
const CLOSING_PATIENCE: Duration = Duration::from_secs(5);

/// Opens a transport to an engine, for one session.
pub type Dial = Arc<dyn Fn() -> BoxFuture<'static, Result<Transport, TransportError>> + Send + Sync>;

/// Keeps a change for the change source of this name; success means that it is committed.
pub type AddChange = Arc<dyn Fn(String, SentChange) -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// What is around a gateway.
pub struct Surroundings {
    /// Who may come in.
    pub roster: watch::Receiver<Arc<Roster>>,
    /// Where sessions are opened.
    pub engine: Dial,
    /// Where changes go.
    pub changes: AddChange,
    /// For the gateway's own files; made when it is missing.
    pub directory: PathBuf,
}

/// A gateway. Clones are the same one.
#[derive(Clone)]
pub struct Gateway(Arc<Inner>);

struct Inner {
    around: Surroundings,
    budget: Budget,
    strangers: Arc<Semaphore>,
    denied: Arc<Semaphore>,
    refused: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By the worker's name.
    connections: HashMap<String, Connection>,
    /// The last dial of each worker.
    dials: HashMap<String, u64>,
    serial: u64,
    /// Who came last under a name.
    newest: HashMap<String, u64>,
}

/// A worker's connection, as others reach it.
struct Connection {
    serial: u64,
    pings: mpsc::Sender<Ping>,
    close: CancellationToken,
    over: CancellationToken,
}

/// Asks for a sign of life; the answer tells whether commands run.
pub(crate) type Ping = oneshot::Sender<bool>;

/// The right to be the worker of this name, until it is dropped.
pub(crate) struct Claim {
    gateway: Gateway,
    name: String,
    serial: u64,
    pub(crate) pings: mpsc::Receiver<Ping>,
    /// Another connection has taken over.
    pub(crate) close: CancellationToken,
    over: CancellationToken,
}

/// Why a worker that has proven its password is not let in all the same.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Turned {
    #[error("another connection of this worker answers and has commands running: two workers use one name")]
    Busy,
    #[error("a later connection of this worker has come")]
    Late,
}

impl Gateway {
    /// A gateway without connections.
    ///
    /// # Errors
    /// When its directory can't be made.
    pub fn new(around: Surroundings) -> std::io::Result<Gateway> {
        std::fs::create_dir_all(&around.directory)?;
        Ok(Gateway(Arc::new(Inner {
            around,
            budget: Budget::default(),
            strangers: Arc::new(Semaphore::new(MAX_STRANGERS)),
            denied: Arc::new(Semaphore::new(MAX_DENIED)),
            refused: AtomicU64::new(0),
            state: Mutex::default(),
        })))
    }

    /// Workers that are connected.
    pub fn connected(&self) -> usize {
        self.state().connections.len()
    }

    /// Connections that were turned away or broke a rule, since the start.
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    pub(crate) fn count_refusal(&self) {
        self.0.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn around(&self) -> &Surroundings {
        &self.0.around
    }

    pub(crate) fn roster(&self) -> Arc<Roster> {
        self.0.around.roster.borrow().clone()
    }

    pub(crate) fn budget(&self) -> Budget {
        self.0.budget.clone()
    }

    pub(crate) fn strangers(&self) -> Arc<Semaphore> {
        self.0.strangers.clone()
    }

    pub(crate) fn denied(&self) -> Arc<Semaphore> {
        self.0.denied.clone()
    }

    /// The number of a worker's next dial: higher than any before, also than those of a `muster worker` of this name,
    /// which begins with the seconds of its clock as well.
    pub(crate) fn next_dial(&self, worker: &str) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut state = self.state();
        let last = state.dials.entry(worker.to_owned()).or_default();
        *last = now.max(*last + 1);
        *last
    }

    /// Makes the caller the connection of this worker. One that is there already is pinged: it stays when it answers
    /// and works, or else the newcomer takes its place. Among several newcomers the latest one wins.
    pub(crate) async fn claim(&self, name: &str) -> Result<Claim, Turned> {
        let serial = {
            let mut state = self.state();
            state.serial += 1;
            let serial = state.serial;
            state.newest.insert(name.to_owned(), serial);
            serial
        };
        loop {
            let (pings, close, over) = {
                let mut state = self.state();
                if state.newest.get(name) != Some(&serial) {
                    return Err(Turned::Late);
                }
                let Some(old) = state.connections.get(name) else {
                    return Ok(self.insert(&mut state, name, serial));
                };
                (old.pings.clone(), old.close.clone(), old.over.clone())
            };
            let (answer, answered) = oneshot::channel();
            let ping = async {
                pings.send(answer).await.ok()?;
                answered.await.ok()
            };
            let answer = tokio::time::timeout(PING_PATIENCE, ping).await.ok().flatten();
            tracing::info!(worker = name, ?answer, "a second connection of this worker has come");
            if answer == Some(true) {
                return Err(Turned::Busy);
            }
            close.cancel();
            if tokio::time::timeout(CLOSING_PATIENCE, over.cancelled()).await.is_err() {
                return Err(Turned::Late);
            }
        }
    }

    fn insert(&self, state: &mut State, name: &str, serial: u64) -> Claim {
        let (pings, receiver) = mpsc::channel(1);
        let (close, over) = (CancellationToken::new(), CancellationToken::new());
        let connection = Connection { serial, pings, close: close.clone(), over: over.clone() };
        state.connections.insert(name.to_owned(), connection);
        Claim { gateway: self.clone(), name: name.to_owned(), serial, pings: receiver, close, over }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut state = self.gateway.state();
        if state.connections.get(&self.name).is_some_and(|connection| connection.serial == self.serial) {
            state.connections.remove(&self.name);
        }
        if state.newest.get(&self.name) == Some(&self.serial) {
            state.newest.remove(&self.name);
        }
        drop(state);
        self.over.cancel();
    }
}
