//! The way in: who proves a password is handed to who attends them; everybody else leaves within a bound.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use muster_net::{AnyStream, Crowd, Incoming, Opened, Place, Turn};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::attendant::Attendant;
use crate::gateway::Gateway;
use crate::ghosts::Ghosts;
use crate::msgpack::{HandshakeError, MsgpackWorker, handshake};
use crate::pb::{ChangePort, LoggedIn, Login, Outcome, PbWorker};
use crate::registry::Ghost;
use crate::roster::{Account, Port, StockWorker};
use crate::stock::{Breach, Stock};
use crate::wire::Wire;

/// How long a peer may take to log in.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a peer with a wrong password is held: stock workers close by themselves after their back-off, which grows
/// to this, and would come back sooner if they were closed.
const DENIED_TIMEOUT: Duration = Duration::from_secs(65);

/// How long a client that sends changes may be silent.
const CHANGES_TIMEOUT: Duration = Duration::from_secs(60);

/// Attends a worker until its connection ends.
pub(crate) type Attendance = BoxFuture<'static, ()>;

/// What is spoken at a port.
#[derive(Clone, Copy)]
pub(crate) enum Protocol {
    Pb,
    Msgpack,
}

/// One connection that has just come.
pub(crate) struct Door {
    pub(crate) gateway: Gateway,
    pub(crate) port: Arc<Port>,
    pub(crate) peer: String,
    pub(crate) stop: CancellationToken,
    /// The place of a stranger, until somebody has logged in.
    pub(crate) place: Place,
}

/// Why nobody came in.
#[derive(Debug, thiserror::Error)]
enum Rejected {
    #[error("it did not log in within {LOGIN_TIMEOUT:?}")]
    Silent,
    #[error("it had not logged in while others waited for its place")]
    Crowded,
    #[error("the master stops")]
    Stopped,
    #[error("it went away before it had logged in")]
    Left,
    #[error("{0}")]
    Breach(#[from] Breach),
    #[error("{0}")]
    Socket(#[from] io::Error),
    #[error("{0}")]
    WebSocket(#[from] HandshakeError),
    #[error("it was not looked at: {0}")]
    Crowd(#[from] Crowd),
    #[error("{name:?} is not known on this port, or its password is wrong")]
    Denied { name: String },
}

impl Door {
    /// Lets in who proves a password; answers what attends them until the connection ends. That is to run as a task of its
    /// own: what a log-in needs is not kept for as long as a worker is connected.
    pub(crate) async fn admit(mut self, incoming: Incoming, protocol: Protocol) -> Option<Attendance> {
        let (gateway, mut known_peer, stop) = (self.gateway.clone(), self.peer.clone(), self.stop.clone());
        let served = async {
            let until = Instant::now() + LOGIN_TIMEOUT;
            let Opened { stream: socket, peer } = self.stranger(until, incoming.open()).await?;
            known_peer.clone_from(&peer);
            self.peer = peer;
            match protocol {
                Protocol::Pb => self.pb(socket, until).await,
                Protocol::Msgpack => self.msgpack(socket, until).await,
            }
        };
        tokio::select! {
            served = served => match served {
                Ok(attendance) => attendance,
                Err(Rejected::Stopped) => None,
                Err(rejected) => {
                    gateway.count_refusal();
                    gateway.refusals().tell(&known_peer, &rejected);
                    None
                }
            },
            () = stopped_long_ago(&stop) => None,
        }
    }

    /// Does what a stranger wants, within a bound of time, and as long as nobody else needs its place.
    async fn stranger<T, E>(
        &self,
        until: Instant,
        wanted: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Rejected>
    where
        Rejected: From<E>,
    {
        tokio::select! {
            done = timeout_at(until, wanted) => Ok(done.map_err(|_| Rejected::Silent)??),
            () = self.place.taken() => Err(Rejected::Crowded),
            () = self.stop.cancelled() => Err(Rejected::Stopped),
        }
    }

    async fn pb(self, socket: AnyStream, until: Instant) -> Result<Option<Attendance>, Rejected> {
        let mut wire = Wire::stream(socket, self.peer.clone());
        let mut login = Login::new(*uuid::Uuid::new_v4().as_bytes());
        match self.stranger(until, self.log_in(&mut wire, &mut login)).await {
            Ok(who) => match who.account.clone() {
                Account::Worker(worker) => self.attend_pb(wire, login, &who, worker).await,
                Account::Changes(_) => self.take_changes(wire, login, who).await.map(|()| None),
            },
            Err(Rejected::Denied { name }) => {
                if let Ok(_place) = self.gateway.denied().try_acquire_owned() {
                    let stop = self.stop.clone();
                    self.gateway.refusals().tell(&self.peer, &Rejected::Denied { name });
                    drop(self);
                    hold(wire, stop).await;
                    return Ok(None);
                }
                Err(Rejected::Denied { name })
            }
            Err(rejected) => Err(rejected),
        }
    }

    async fn log_in(&self, wire: &mut Wire, login: &mut Login) -> Result<LoggedIn, Rejected> {
        let account = |name: &str| self.gateway.roster().account(&self.port, name);
        loop {
            while let Some(piece) = login.output() {
                wire.outbox.push(piece)?;
            }
            wire.outbox.drain().await?;
            let bytes = wire.incoming.next().await.ok_or(Rejected::Left)??;
            match login.receive(&bytes, &account)? {
                Outcome::Waiting => {}
                Outcome::In(who) => {
                    self.turn(&who.name).await?.passed();
                    return Ok(who);
                }
                Outcome::Denied { name } => {
                    self.turn(&name).await?.failed();
                    while let Some(piece) = login.output() {
                        wire.outbox.push(piece)?;
                    }
                    wire.outbox.drain().await?;
                    return Err(Rejected::Denied { name });
                }
            }
        }
    }

    /// The turn of a try to log in: before it nothing is told.
    async fn turn(&self, name: &str) -> Result<Turn, Crowd> {
        let known = self.gateway.roster().account(&self.port, name).is_some();
        self.gateway.guesses().turn(&self.peer, known.then_some(name)).await
    }

    async fn attend_pb(
        self,
        wire: Wire,
        login: Login,
        who: &LoggedIn,
        worker: StockWorker,
    ) -> Result<Option<Attendance>, Rejected> {
        let stock = PbWorker::new(login, who, worker.builders.clone())?;
        self.attend(&who.name, &worker, wire, |_, _| Ok((stock, None))).await
    }

    /// Settles who the worker of this name is. Nobody is told an error: that would end a worker.
    async fn attend<S: Stock + 'static>(
        self,
        name: &str,
        worker: &StockWorker,
        wire: Wire,
        stock: impl FnOnce(&Gateway, Vec<Ghost>) -> Result<(S, Option<Ghosts>), Rejected>,
    ) -> Result<Option<Attendance>, Rejected> {
        let Door { gateway, peer, stop, place, .. } = self;
        drop(place);
        let claim = tokio::select! {
            claim = gateway.claim(name) => claim,
            () = stop.cancelled() => return Ok(None),
        };
        match claim {
            Ok((claim, left)) => {
                let turn = tokio::select! {
                    turn = gateway.turn() => turn,
                    () = stop.cancelled() => return Ok(None),
                };
                let (stock, ghosts) = stock(&gateway, left)?;
                let attendant = Attendant::new(gateway, name, worker, stock, wire, (claim, turn), ghosts);
                // Boxed by itself: a future that takes it as an argument would have room for it twice.
                let mut attendant = Box::new(attendant);
                Ok(Some(Box::pin(async move { attendant.attend(stop).await })))
            }
            Err(turned) => {
                gateway.count_refusal();
                tracing::warn!(worker = name, peer, "the connection is closed: {turned}");
                Ok(None)
            }
        }
    }

    async fn take_changes(self, mut wire: Wire, login: Login, who: LoggedIn) -> Result<(), Rejected> {
        let Account::Changes(source) = &who.account else { return Ok(()) };
        let mut port = ChangePort::new(login, &who)?;
        loop {
            while let Some((request, change)) = port.next_change()? {
                let kept = match change.below(source.prefix.as_deref()) {
                    None => Ok(()),
                    Some(change) => (self.gateway.around().changes)(source.source.clone(), change).await,
                };
                if let Err(reason) = &kept {
                    tracing::error!(
                        source = source.source,
                        peer = self.peer,
                        reason,
                        "a change could not be kept"
                    );
                }
                port.answer(request, kept)?;
            }
            while let Some(piece) = port.output() {
                wire.outbox.push(piece)?;
            }
            wire.outbox.drain().await?;
            tokio::select! {
                read = timeout(CHANGES_TIMEOUT, wire.incoming.next()) => match read {
                    Ok(Some(bytes)) => port.push(&bytes?),
                    Ok(None) | Err(_) => return Ok(()),
                },
                () = self.stop.cancelled() => return Ok(()),
            }
        }
    }

    async fn msgpack(self, socket: AnyStream, until: Instant) -> Result<Option<Attendance>, Rejected> {
        let account = |name: &str| self.gateway.roster().account(&self.port, name);
        let guesses = (self.gateway.guesses(), self.peer.as_str());
        let (name, worker, socket) = self.stranger(until, handshake(socket, &account, guesses)).await?;
        let wire = Wire::messages(socket, self.peer.clone());
        self.attend_msgpack(&name, worker, wire).await
    }

    async fn attend_msgpack(
        self,
        name: &str,
        worker: StockWorker,
        wire: Wire,
    ) -> Result<Option<Attendance>, Rejected> {
        let builders = worker.builders.clone();
        self.attend(name, &worker, wire, |gateway, left| {
            let chores = format!("gateway-{}", uuid::Uuid::new_v4());
            let stock = MsgpackWorker::new(builders, left.clone(), chores)?;
            Ok((stock, Some(Ghosts::new(name, gateway.around().registry.clone(), left))))
        })
        .await
    }
}

/// Reads what a peer without a right has to say, until it leaves.
async fn hold(mut wire: Wire, stop: CancellationToken) {
    let leaves = async { while let Some(Ok(_)) = wire.incoming.next().await {} };
    tokio::select! {
        _ = timeout(DENIED_TIMEOUT, leaves) => {}
        () = stop.cancelled() => {}
    }
}

/// Some time after `stop`: whoever has not ended by then is dropped. Those who attend a worker end by themselves, and have a
/// word of farewell.
pub(crate) async fn stopped_long_ago(stop: &CancellationToken) {
    const PATIENCE: Duration = Duration::from_secs(5);
    stop.cancelled().await;
    tokio::time::sleep(PATIENCE).await;
}
