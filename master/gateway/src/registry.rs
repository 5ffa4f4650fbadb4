//! What the gateways of a cluster agree on: whose connection a worker's is, and what it may still run.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Workers whose standing is asked for in one transaction. It is what fits into one statement comfortably; with more
/// of them the next transaction takes the rest.
const BATCH: usize = 256;

/// Words of connections that wait for the next transaction. When it is full, connections wait.
const QUEUE: usize = 4096;

/// How often it is looked whether other gateways want a worker. A worker that comes to another gateway while its old
/// connection looks alive waits that long before the old one is asked.
const LOOK: Duration = Duration::from_secs(1);

/// How often a connection that waits for another gateway looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// How long another gateway may take to ask its connection and to answer; then it has lost the worker.
const PATIENCE: Duration = Duration::from_secs(12);

/// What the database answers, or why it doesn't.
pub type Reply<T> = BoxFuture<'static, Result<T, String>>;

/// A command of a worker that keeps commands when its connection breaks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ghost {
    /// The id that the worker knows it by.
    pub command: String,
    /// Seconds that it may live on after it was told to end.
    pub lingers: f64,
}

/// A worker whose connection proved its password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The worker's name.
    pub worker: String,
    /// The connection asks for the first time.
    pub is_first: bool,
    /// Whoever has the worker had time enough to object.
    pub insists: bool,
}

/// How an arrival stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// The worker is this gateway's.
    Taken {
        /// What an earlier connection may have left running.
        ghosts: Vec<Ghost>,
        /// Numbers for the dials under its name: higher than those of whoever dialled before.
        dials: Range<u64>,
    },
    /// Another gateway has it, and was told.
    Waits,
    /// The other gateway's connection answers and works: it stays.
    Busy,
    /// A later connection came to a third gateway.
    Late,
    /// There is no such worker.
    Unknown,
}

/// A worker of this gateway that another one is interested in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A connection of this name has come to another gateway.
    Challenged(String),
    /// Another gateway has taken the worker.
    Lost(String),
}

/// The rows that all gateways of a cluster share, as one of them sees them.
pub trait Registry: Send + Sync {
    /// How arrivals stand; one answer for each, in their order.
    fn arrive(&self, arrivals: Vec<Arrival>) -> Reply<Vec<Standing>>;

    /// These workers have no connection here any more.
    fn leave(&self, workers: Vec<String>) -> Reply<()>;

    /// Which workers of this gateway others want.
    fn look(&self) -> Reply<Vec<Wanted>>;

    /// This gateway keeps a worker that was challenged.
    fn keep(&self, worker: String) -> Reply<()>;

    /// Notes what a worker may run. `false`: the worker is not this gateway's any more.
    fn note(&self, worker: String, ghosts: Vec<Ghost>) -> Reply<bool>;
}

/// A word of a connection. They are carried out in the order in which they were said.
enum Word {
    Arrives(Arrival, oneshot::Sender<Result<Standing, String>>),
    Leaves(String),
}

/// Carries the words of all connections to the registry, many in one transaction.
#[derive(Clone)]
pub(crate) struct Registrar {
    words: mpsc::Sender<Word>,
}

/// A worker that is this gateway's.
pub(crate) struct Taken {
    /// What an earlier connection may have left running.
    pub(crate) ghosts: Vec<Ghost>,
    /// Numbers for the dials under its name.
    pub(crate) dials: Range<u64>,
}

/// Why a worker is not let in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotHere {
    #[error(
        "another gateway's connection of this worker answers and has commands running: two workers use one name"
    )]
    Busy,
    #[error("a later connection of this worker has come to another gateway")]
    Late,
    #[error("there is no such worker in the database")]
    Unknown,
    #[error("the database can't tell whose connection this worker's is: {0}")]
    Database(String),
}

impl Registrar {
    /// The registrar, and what carries its words until all registrars are gone.
    pub(crate) fn new(registry: Arc<dyn Registry>) -> (Registrar, impl Future<Output = ()> + Send + 'static) {
        let (words, receiver) = mpsc::channel(QUEUE);
        (Registrar { words }, carry(registry, receiver))
    }

    /// Takes a worker for this gateway, as soon as any other one has let go of it.
    pub(crate) async fn take(&self, worker: &str) -> Result<Taken, NotHere> {
        let since = tokio::time::Instant::now();
        let mut is_first = true;
        loop {
            let insists = since.elapsed() > PATIENCE;
            let arrival = Arrival { worker: worker.to_owned(), is_first, insists };
            is_first = false;
            match self.ask(arrival).await.map_err(NotHere::Database)? {
                Standing::Taken { ghosts, dials } => return Ok(Taken { ghosts, dials }),
                Standing::Waits => tokio::time::sleep(LOOK_AGAIN).await,
                Standing::Busy => return Err(NotHere::Busy),
                Standing::Late => return Err(NotHere::Late),
                Standing::Unknown => return Err(NotHere::Unknown),
            }
        }
    }

    async fn ask(&self, arrival: Arrival) -> Result<Standing, String> {
        let ended = || "the gateway ends".to_owned();
        let (answer, answered) = oneshot::channel();
        self.words.send(Word::Arrives(arrival, answer)).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }

    /// A worker's connection is gone.
    pub(crate) fn leave(&self, worker: &str) {
        // With a full queue the row stays: it names a gateway that will answer for the worker when it is asked.
        let _ = self.words.try_send(Word::Leaves(worker.to_owned()));
    }
}

async fn carry(registry: Arc<dyn Registry>, mut words: mpsc::Receiver<Word>) {
    let mut batch = Vec::with_capacity(BATCH);
    while words.recv_many(&mut batch, BATCH).await > 0 {
        let mut rest = batch.drain(..).peekable();
        while rest.peek().is_some() {
            // Neighbours of one kind go together; a worker that leaves and comes stays in order.
            let mut leaving = Vec::new();
            while let Some(Word::Leaves(worker)) = rest.next_if(|word| matches!(word, Word::Leaves(_))) {
                leaving.push(worker);
            }
            if !leaving.is_empty()
                && let Err(error) = registry.leave(leaving).await
            {
                tracing::warn!(error, "the database was not told of workers that left");
            }
            let mut arriving = Vec::new();
            let mut names = HashSet::new();
            while let Some(Word::Arrives(arrival, answer)) = rest
                .next_if(|word| matches!(word, Word::Arrives(arrival, _) if !names.contains(&arrival.worker)))
            {
                names.insert(arrival.worker.clone());
                arriving.push((arrival, answer));
            }
            arrive(registry.as_ref(), arriving).await;
        }
    }
}

async fn arrive(
    registry: &dyn Registry,
    arriving: Vec<(Arrival, oneshot::Sender<Result<Standing, String>>)>,
) {
    if arriving.is_empty() {
        return;
    }
    let (arrivals, answers): (Vec<_>, Vec<_>) = arriving.into_iter().unzip();
    // Who asked may be gone meanwhile.
    match registry.arrive(arrivals).await {
        Ok(standings) => {
            answers.into_iter().zip(standings).for_each(|(answer, standing)| drop(answer.send(Ok(standing))))
        }
        Err(error) => answers.into_iter().for_each(|answer| drop(answer.send(Err(error.clone())))),
    }
}

/// Looks for other gateways' wishes until `stop`; `answer` sees to each.
pub(crate) async fn watch(
    registry: Arc<dyn Registry>,
    stop: CancellationToken,
    mut answer: impl FnMut(Wanted),
) {
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return,
        }
        match registry.look().await {
            Ok(wanted) => wanted.into_iter().for_each(&mut answer),
            Err(error) => tracing::debug!(error, "can't look for the wishes of other gateways"),
        }
    }
}
