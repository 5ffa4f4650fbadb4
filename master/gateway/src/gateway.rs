//! What all connections of a gateway share.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_channel::mpsc;
use futures_util::{SinkExt, future::BoxFuture};
use muster_net::{Guesses, Refusals, Strangers};
use muster_session::{Transport, TransportError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::pb::SentChange;
use crate::registry::{self, Ghost, NotHere, Registrar, Registry, Wanted};
use crate::roster::Roster;
use crate::spool::Budget;

/// Connections that have not logged in yet. With more of them the oldest one leaves, so that peers that say nothing never
/// keep workers out.
const MAX_STRANGERS: usize = 2048;

/// Connections that were turned away and are held open for a moment, as stock workers expect it; more are closed at
/// once.
const MAX_DENIED: usize = 256;

/// Workers that attach at the same time. More of them wait, logged in, which stock workers do for as long as it takes: so
/// each one's way to an engine is short, however many come at once, and none is given up on the way.
const MAX_ATTACHING: usize = 256;

/// How long the connection that a worker has already may take to answer, when the worker seems to come a second time.
const PING_PATIENCE: Duration = Duration::from_secs(5);

/// How long a connection may take to end after it was told to.
const CLOSING_PATIENCE: Duration = Duration::from_secs(5);

/// Opens a transport to an engine, for one session; if possible to the one that the transport's
/// [peer](Transport::peer) named at the last dial.
pub type Dial =
    Arc<dyn Fn(Option<String>) -> BoxFuture<'static, Result<Transport, TransportError>> + Send + Sync>;

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
    /// What it shares with other gateways.
    pub registry: Arc<dyn Registry>,
    /// For the gateway's own files; made when it is missing.
    pub directory: PathBuf,
    /// Unique to this life of its process: engines know the sessions of stock workers by it.
    pub name: String,
}

/// A gateway. Clones are the same one.
#[derive(Clone)]
pub struct Gateway(Arc<Inner>);

struct Inner {
    around: Surroundings,
    budget: Budget,
    strangers: Strangers,
    guesses: Guesses,
    refusals: Refusals,
    registrar: Registrar,
    denied: Arc<Semaphore>,
    attaching: Arc<Semaphore>,
    refused: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By the worker's name.
    connections: HashMap<String, Connection>,
    serial: u64,
    /// Who came last under a name.
    newest: HashMap<String, u64>,
    /// Connections that are being asked for another gateway.
    asked: HashSet<String>,
    /// This gateway ends: workers are to go to another one.
    goes: bool,
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
    /// Numbers for dials under this name.
    dials: Range<u64>,
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
    #[error("this gateway ends; another one takes the worker")]
    Goes,
    #[error(transparent)]
    NotHere(#[from] NotHere),
}

impl Gateway {
    /// A gateway without connections. Its second half has to be run, until `stop`.
    ///
    /// # Errors
    /// When its directory can't be made.
    pub fn new(
        around: Surroundings,
        stop: CancellationToken,
    ) -> std::io::Result<(Gateway, impl Future<Output = ()> + Send + 'static)> {
        // Output of builds is kept there.
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&around.directory)?;
        let registry = around.registry.clone();
        let (registrar, carrying) = Registrar::new(registry.clone());
        let gateway = Gateway(Arc::new(Inner {
            around,
            budget: Budget::default(),
            strangers: Strangers::new(MAX_STRANGERS),
            guesses: Guesses::default(),
            refusals: Refusals::new("the port for stock workers"),
            registrar,
            denied: Arc::new(Semaphore::new(MAX_DENIED)),
            attaching: Arc::new(Semaphore::new(MAX_ATTACHING)),
            refused: AtomicU64::new(0),
            state: Mutex::default(),
        }));
        let watching = gateway.clone();
        let running = async move {
            tokio::select! {
                () = carrying => {}
                () = registry::watch(registry, stop, |wanted| watching.is_wanted(wanted)) => {}
            }
        };
        Ok((gateway, running))
    }

    /// Another gateway is interested in a worker that is here.
    fn is_wanted(&self, wanted: Wanted) {
        match wanted {
            Wanted::Lost(name) => {
                if let Some(connection) = self.state().connections.get(&name) {
                    tracing::info!(worker = name, "another gateway has taken the worker");
                    connection.close.cancel();
                }
            }
            Wanted::Challenged(name) => {
                let mut state = self.state();
                let Some(there) = state.connections.get(&name) else {
                    // Its row says that it is here, and it is not.
                    return self.0.registrar.leave(&name);
                };
                let (pings, close) = (there.pings.clone(), there.close.clone());
                if state.asked.insert(name.clone()) {
                    tokio::spawn(self.clone().answer_for(name, pings, close));
                }
            }
        }
    }

    /// Tells another gateway whether a worker's connection here stays.
    async fn answer_for(self, name: String, mut pings: mpsc::Sender<Ping>, close: CancellationToken) {
        let answer = ask(&mut pings).await;
        tracing::info!(
            worker = name,
            ?answer,
            "a second connection of this worker has come to another gateway"
        );
        if answer != Some(true) {
            close.cancel();
        } else if let Err(error) = self.0.around.registry.keep(name.clone()).await {
            tracing::warn!(worker = name, error, "another gateway was not told that the worker stays");
        }
        self.state().asked.remove(&name);
    }

    /// This gateway ends: from now on it takes nobody, and workers that don't build go, to another gateway. Answers how
    /// many of those that build are still here.
    pub fn send_away(&self, building: &HashSet<String>) -> usize {
        let mut state = self.state();
        state.goes = true;
        let idle = state.connections.iter().filter(|(name, _)| !building.contains(*name));
        idle.for_each(|(_, connection)| connection.close.cancel());
        state.connections.keys().filter(|name| building.contains(*name)).count()
    }

    /// No other gateway is there: workers may stay and come. Answers how many of those that build are here.
    pub fn stay(&self, building: &HashSet<String>) -> usize {
        let mut state = self.state();
        state.goes = false;
        state.connections.keys().filter(|name| building.contains(*name)).count()
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
        metrics::counter!("muster_stock_connections_refused_total").increment(1);
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

    pub(crate) fn strangers(&self) -> &Strangers {
        &self.0.strangers
    }

    pub(crate) fn guesses(&self) -> &Guesses {
        &self.0.guesses
    }

    pub(crate) fn refusals(&self) -> &Refusals {
        &self.0.refusals
    }

    pub(crate) fn denied(&self) -> Arc<Semaphore> {
        self.0.denied.clone()
    }

    /// The right to attach, until it is dropped.
    pub(crate) async fn turn(&self) -> OwnedSemaphorePermit {
        let turn = self.0.attaching.clone().acquire_owned().await;
        turn.expect("nobody closes this semaphore")
    }

    /// Makes the caller the connection of this worker, in the whole cluster; answers what it may still run.
    pub(crate) async fn claim(&self, name: &str) -> Result<(Claim, Vec<Ghost>), Turned> {
        let mut claim = self.claim_here(name).await?;
        let taken = tokio::select! {
            taken = self.0.registrar.take(name) => taken?,
            () = claim.close.cancelled() => return Err(Turned::Late),
        };
        claim.dials = taken.dials;
        Ok((claim, taken.ghosts))
    }

    /// Makes the caller the connection of this worker here. One that is there already is pinged: it stays when it answers
    /// and works, or else the newcomer takes its place. Among several newcomers the latest one wins.
    async fn claim_here(&self, name: &str) -> Result<Claim, Turned> {
        let serial = {
            let mut state = self.state();
            state.serial += 1;
            let serial = state.serial;
            state.newest.insert(name.to_owned(), serial);
            serial
        };
        loop {
            let (mut pings, close, over) = {
                let mut state = self.state();
                if state.goes {
                    return Err(Turned::Goes);
                }
                if state.newest.get(name) != Some(&serial) {
                    return Err(Turned::Late);
                }
                let Some(old) = state.connections.get(name) else {
                    return Ok(self.insert(&mut state, name, serial));
                };
                (old.pings.clone(), old.close.clone(), old.over.clone())
            };
            let answer = ask(&mut pings).await;
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
        metrics::gauge!("muster_stock_workers_connected").increment(1.0);
        Claim {
            gateway: self.clone(),
            name: name.to_owned(),
            serial,
            dials: Range::default(),
            pings: receiver,
            close,
            over,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim {
    /// The number of the next dial under this name; `None` when all that were given out are used up.
    pub(crate) fn next_dial(&mut self) -> Option<u64> {
        self.dials.next()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut state = self.gateway.state();
        if state.connections.get(&self.name).is_some_and(|connection| connection.serial == self.serial) {
            state.connections.remove(&self.name);
            metrics::gauge!("muster_stock_workers_connected").decrement(1.0);
        }
        if state.newest.get(&self.name) == Some(&self.serial) {
            state.newest.remove(&self.name);
        }
        // Before a newcomer can arrive: the registrar keeps the order.
        self.gateway.0.registrar.leave(&self.name);
        drop(state);
        self.over.cancel();
    }
}

/// Asks a connection for a sign of life: `true` when commands run on it, `None` when it is silent.
async fn ask(pings: &mut mpsc::Sender<Ping>) -> Option<bool> {
    let (answer, answered) = oneshot::channel();
    let ping = async {
        pings.send(answer).await.ok()?;
        answered.await.ok()
    };
    tokio::time::timeout(PING_PATIENCE, ping).await.ok().flatten()
}
