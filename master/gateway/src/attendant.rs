//! Attends one stock worker: its socket on one side, its session with an engine on the other.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use muster_session::wire::GATEWAY;
use muster_session::{
    Backoff, BootId, Disconnect, Identity, PackedInfo, Password, RefusalCode, TransportError, WorkerEvent,
    WorkerEvents, WorkerLink,
};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::gateway::{Claim, Gateway, Ping};
use crate::ghosts::{Ghosts, TakenOver};
use crate::player::Player;
use crate::roster::{Roster, StockWorker};
use crate::spool::WorkerSpool;
use crate::stock::{Breach, News, Stock};
use crate::wire::Wire;

/// How long a worker may take to tell about itself and to prepare its directories.
const ATTACH_TIMEOUT: Duration = Duration::from_secs(60);

/// The shortest time between two questions for a sign of life, whatever the configuration says. Dead sockets are found by
/// TCP as well.
const MIN_KEEPALIVE: Duration = Duration::from_secs(10);

/// How long the session's farewell may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// How long a worker that was told to end may stay; stock ones take 0.2 s.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a socket that is not read, because the spools are full, is looked at.
const FULL_PAUSE: Duration = Duration::from_millis(500);

/// The longest wait between two dials. An engine gives a worker's builds up when the worker was away for 20 s: when what was
/// between them is mended, the next dial must come well before that.
const LONGEST_WAIT: Duration = Duration::from_secs(3);

/// A session that lasts for so long was a good one: after its end the waits begin anew. One that an engine takes and ends at
/// once is not dialled again at once, over and over.
const LASTING: Duration = Duration::from_secs(5);

/// Why a worker's connection ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    #[error("the worker closed it")]
    Closed,
    #[error("{0}")]
    Socket(#[from] io::Error),
    #[error("{0}")]
    Breach(#[from] Breach),
    #[error("the worker did not get ready within {ATTACH_TIMEOUT:?}")]
    Slow,
    #[error("the worker did not end although it was told to")]
    Stays,
    #[error("no master takes the worker: {0}")]
    Refused(String),
    #[error("a newer connection of this worker took over")]
    Replaced,
    #[error("the worker is not configured any more")]
    Unknown,
    #[error("another gateway has the worker")]
    TakenOver,
    #[error("it was dialled for too often")]
    Dialled,
    #[error("the master stops")]
    Stopped,
}

impl End {
    /// Whether it broke a rule, or nobody wants it.
    fn is_the_workers_fault(&self) -> bool {
        match self {
            End::Breach(_) | End::Slow | End::Stays | End::Refused(_) | End::Unknown => true,
            End::Socket(error) => error.kind() == io::ErrorKind::InvalidData,
            End::Closed | End::Replaced | End::TakenOver | End::Dialled | End::Stopped => false,
        }
    }
}

/// How a conversation ended, and with which engine it was.
type Conversation = Pin<Box<dyn Future<Output = Result<(Disconnect, String), TransportError>> + Send>>;

/// One worker's connection.
pub(crate) struct Attendant<S> {
    gateway: Gateway,
    name: String,
    password: String,
    keepalive: Duration,
    stock: S,
    wire: Wire,
    claim: Claim,
    /// Held while it attaches.
    turn: Option<OwnedSemaphorePermit>,
    roster: watch::Receiver<Arc<Roster>>,
    player: Player,
    spool: WorkerSpool,
    link: WorkerLink,
    events: WorkerEvents,
    conversation: Option<Conversation>,
    stage: Stage,
    /// When the engine is dialed.
    dial_at: Option<Instant>,
    /// The engine of the last dial.
    engine: Option<String>,
    backoff: Backoff,
    /// Since when an engine has it.
    taken_at: Option<Instant>,
    pings: Vec<Ping>,
    wants_shutdown: bool,
    /// It was told to end: until when it may stay.
    leaves_until: Option<Instant>,
}

/// How far the attach has come.
enum Stage {
    Attaching {
        until: Instant,
    },
    /// It is ready, and no engine has taken it yet. What it told about itself is for the next dial.
    Offered(PackedInfo),
    /// An engine has.
    Taken(PackedInfo),
}

impl<S: Stock> Attendant<S> {
    pub(crate) fn new(
        gateway: Gateway,
        name: &str,
        worker: &StockWorker,
        stock: S,
        wire: Wire,
        (claim, turn): (Claim, OwnedSemaphorePermit),
        ghosts: Option<Ghosts>,
    ) -> Attendant<S> {
        // Commands of stock workers die with their connection, or can't be followed any more: each is a life.
        let (link, events) = WorkerLink::new(Identity {
            worker: name.to_owned(),
            password: Password::new(worker.password.clone()),
            boot_id: BootId::fresh(),
            generation: 0,
        });
        let spool = WorkerSpool::new(gateway.around().directory.clone(), gateway.budget());
        Attendant {
            player: Player::new(link.clone(), spool.clone(), ghosts),
            roster: gateway.around().roster.clone(),
            gateway,
            name: name.to_owned(),
            password: worker.password.clone(),
            keepalive: worker.keepalive.max(MIN_KEEPALIVE),
            stock,
            wire,
            claim,
            turn: Some(turn),
            spool,
            link,
            events,
            conversation: None,
            stage: Stage::Attaching { until: Instant::now() + ATTACH_TIMEOUT },
            dial_at: None,
            engine: None,
            backoff: Backoff::up_to(LONGEST_WAIT),
            taken_at: None,
            pings: Vec::new(),
            wants_shutdown: false,
            leaves_until: None,
        }
    }

    /// Attends the worker until its connection ends; tells the log how.
    pub(crate) async fn attend(&mut self, stop: CancellationToken) {
        let end = match self.serve(stop).await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        let (worker, peer) = (&self.name, &self.wire.peer);
        if end.is_the_workers_fault() {
            self.gateway.count_refusal();
            tracing::warn!(worker, peer, "the connection of a stock worker is closed: {end}");
        } else {
            tracing::info!(worker, peer, "the connection of a stock worker ended: {end}");
        }
        self.link.finish(&end.to_string());
        if let Some(conversation) = self.conversation.take() {
            // The engine finds out without a farewell too.
            let _ = tokio::time::timeout(FAREWELL, conversation).await;
        }
    }

    async fn serve(&mut self, stop: CancellationToken) -> Result<std::convert::Infallible, End> {
        let mut keepalive = tokio::time::interval_at(Instant::now() + self.keepalive, self.keepalive);
        loop {
            self.carry_out()?;
            let is_full = self.gateway.budget().is_full();
            let attach_until = match self.stage {
                Stage::Attaching { until } => Some(until),
                Stage::Offered(_) | Stage::Taken(_) => None,
            };
            tokio::select! {
                () = stop.cancelled() => return Err(End::Stopped),
                () = self.claim.close.cancelled() => return Err(End::Replaced),
                () = at(attach_until) => return Err(End::Slow),
                () = at(self.leaves_until) => return Err(End::Stays),
                () = at(self.dial_at) => self.dial()?,
                () = tokio::time::sleep(FULL_PAUSE), if is_full => {}
                written = self.wire.outbox.drain(), if !self.wire.outbox.is_empty() => written?,
                read = self.wire.incoming.next(), if !is_full => match read {
                    None => return Err(End::Closed),
                    Some(bytes) => self.stock.receive(&bytes?)?,
                },
                Some(event) = self.events.next() => self.happened(event)?,
                noted = self.player.note(), if self.player.is_behind() => {
                    noted.map_err(|TakenOver| End::TakenOver)?;
                    self.player.has_noted(&mut self.stock)?;
                }
                end = converse(&mut self.conversation), if self.conversation.is_some() => {
                    self.conversation = None;
                    self.parted(end)?;
                }
                Some(ping) = self.claim.pings.next() => {
                    self.pings.push(ping);
                    self.stock.ping("master got a duplicate connection")?;
                }
                Ok(()) = self.roster.changed() => self.reconfigure()?,
                _ = keepalive.tick() => self.stock.ping("keepalive")?,
            }
        }
    }

    /// Carries out what the worker's words ask for, and puts what it is to be told on its way.
    fn carry_out(&mut self) -> Result<(), End> {
        while let Some(news) = self.stock.news() {
            match news {
                News::Ready { mut info, settle } => {
                    info.insert(GATEWAY.to_owned(), self.gateway.around().name.clone().into());
                    self.dial_at = Some(Instant::now() + settle);
                    self.stage = Stage::Offered(PackedInfo::new(&info));
                    if !settle.is_zero() {
                        self.turn = None;
                    }
                }
                News::Pong => {
                    let busy = self.player.is_busy();
                    for ping in self.pings.drain(..) {
                        // Who asked may have given up.
                        let _ = ping.send(busy);
                    }
                }
                News::WantsShutdown => {
                    tracing::info!(worker = self.name, "the worker's operator asks for a graceful stop");
                    self.wants_shutdown = !self.link.request_shutdown();
                }
                news => self.player.told(news, &mut self.stock)?,
            }
        }
        while let Some(piece) = self.stock.output() {
            self.wire.outbox.push(piece)?;
        }
        Ok(())
    }

    fn dial(&mut self) -> Result<(), End> {
        self.dial_at = None;
        let (Stage::Offered(told) | Stage::Taken(told)) = &self.stage else { return Ok(()) };
        let (link, spool, info) = (self.link.clone(), self.spool.clone(), told.unpack());
        let dial_no = self.claim.next_dial().ok_or(End::Dialled)?;
        let (dial, last) = (self.gateway.around().engine.clone(), self.engine.take());
        self.conversation = Some(Box::pin(async move {
            let transport = dial(last).await?;
            let engine = transport.peer().to_owned();
            Ok((link.converse(transport, dial_no, info, &spool).await, engine))
        }));
        Ok(())
    }

    fn happened(&mut self, event: WorkerEvent) -> Result<(), End> {
        if let WorkerEvent::Connected { .. } = event {
            self.taken_at = Some(Instant::now());
            if let Stage::Offered(told) = &mut self.stage {
                self.stage = Stage::Taken(std::mem::take(told));
                self.turn = None;
                self.player.is_taken();
                self.stock.accepted()?;
                tracing::info!(worker = self.name, peer = self.wire.peer, "a stock worker is attached");
            }
            if self.wants_shutdown {
                self.wants_shutdown = !self.link.request_shutdown();
            }
        }
        if matches!(event, WorkerEvent::Shutdown) {
            self.leaves_until.get_or_insert(Instant::now() + LEAVE_TIMEOUT);
        }
        Ok(self.player.ordered(event, &mut self.stock)?)
    }

    /// The session's connection has ended. Once an engine has taken the worker, its socket outlives engines.
    fn parted(&mut self, end: Result<(Disconnect, String), TransportError>) -> Result<(), End> {
        let reason = match end {
            Ok((Disconnect::Refused(refusal), _)) => {
                // An engine that does not know the worker is passed over: another one has its builds.
                if refusal.code == RefusalCode::StaleDial {
                    return Err(End::Refused(refusal.reason));
                }
                refusal.reason
            }
            Ok((other, engine)) => {
                // A break of the network: the engine that has the builds is asked first.
                self.engine = Some(engine);
                other.to_string()
            }
            Err(error) => error.to_string(),
        };
        if matches!(self.stage, Stage::Offered(_)) {
            return Err(End::Refused(reason));
        }
        tracing::info!(worker = self.name, reason, "a stock worker's session lost its engine");
        if self.taken_at.take().is_some_and(|at| at.elapsed() >= LASTING) {
            self.backoff.reset();
        }
        self.dial_at = Some(Instant::now() + self.backoff.failed());
        Ok(())
    }

    fn reconfigure(&mut self) -> Result<(), End> {
        let roster = self.roster.borrow_and_update().clone();
        match roster.workers.get(&self.name) {
            Some(worker) if worker.password == self.password => Ok(self.stock.configure(&worker.builders)?),
            _ => Err(End::Unknown),
        }
    }
}

async fn at(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => std::future::pending().await,
    }
}

async fn converse(conversation: &mut Option<Conversation>) -> Result<(Disconnect, String), TransportError> {
    match conversation {
        Some(conversation) => conversation.await,
        None => std::future::pending().await,
    }
}
