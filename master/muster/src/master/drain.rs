//! The end of a master, one way: running, handing off, finishing, flushing, stopped.
//!
//! Handing off takes seconds: nothing new is taken, schedulers are given back, workers are sent to other engines, and
//! their builds follow them. What nobody else can go on with is finished here until the deadline; then its requests are
//! pending again. Without another engine, builds of Muster's own workers stay as they are for the next start.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context, Result};
use muster_core::{MasterId, Role, TopicFilter};
use muster_data::{Data, MasterOrder};
use muster_engine::{Engine, Going, SentAway};
use muster_gateway::Gateway;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::StopSignals;
use super::tasks::Tasks;

/// How long handing off may take; what is left then counts as something to be finished here.
const HAND_OFF: Duration = Duration::from_secs(5);
/// How often workers that came back are sent away again: another engine may be there by now.
const SEND_AGAIN: Duration = Duration::from_secs(3);
/// How often it is looked what is left.
const POLL: Duration = Duration::from_millis(50);
/// How long the database may take to say which workers build: a transaction is tried again for longer than a drain lasts.
const ANSWER: Duration = Duration::from_secs(2);
/// How often a gateway alone looks in the database which of its workers build.
const LOOK_AT_BUILDS: Duration = Duration::from_millis(250);
/// How long builds that are given up may take to write that down.
const GIVE_UP: Duration = Duration::from_secs(5);
/// How long the database may take to hear of a new phase. It is for people to see; nothing waits for it.
const TELL: Duration = Duration::from_secs(2);
/// How often orders are looked for although no event came.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Where a master is in its life. It only goes forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It takes everything.
    Running,
    /// It takes nothing new, and sends away what can go.
    HandingOff,
    /// It finishes what nobody else can go on with.
    Finishing,
    /// It writes down what is left.
    Flushing,
}

impl Phase {
    /// As `muster_masters.state` has it.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Running => "running",
            Phase::HandingOff => "handing-off",
            Phase::Finishing => "finishing",
            Phase::Flushing => "flushing",
        }
    }
}

/// SIGTERM and SIGINT hand over, SIGUSR1 finishes first.
pub struct DrainSignals {
    stop: StopSignals,
    finish: Signal,
}

impl DrainSignals {
    /// From now on these signals no longer end the process by themselves.
    pub fn listen() -> Result<DrainSignals> {
        let finish = signal(SignalKind::user_defined1()).context("can't listen for signals")?;
        Ok(DrainSignals { stop: StopSignals::listen()?, finish })
    }

    /// The next one's name, and what it asks for.
    pub async fn next(&mut self) -> (&'static str, MasterOrder) {
        tokio::select! {
            name = self.stop.next() => (name, MasterOrder::HandOver),
            _ = self.finish.recv() => ("SIGUSR1", MasterOrder::Finish),
        }
    }
}

/// What a drain works with.
pub struct Drain {
    pub data: Data,
    pub master: MasterId,
    pub incarnation: String,
    pub engine: Option<Engine>,
    pub gateway: Option<Gateway>,
    /// Schedulers and change sources.
    pub singletons: Tasks,
    pub phase: watch::Sender<Phase>,
    /// Cancelled as soon as this master goes: it is not ready for more.
    pub going: CancellationToken,
    /// How long builds that can't be handed over may go on.
    pub patience: Duration,
}

impl Drain {
    /// Waits until somebody orders this master, through the database, to go.
    pub async fn ordered(&self) -> MasterOrder {
        let orders = TopicFilter::parse(&format!("control/masters/{}/*", self.master));
        let mut events = self.data.bus().subscribe();
        loop {
            match self.data.master_order(self.master).await {
                Ok(Some(order)) => return order,
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "can't look for orders"),
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                more = events.wait_for(|event| event.matching(&orders).is_some()) => if !more {
                    // The bus is gone; the timer still works.
                    tokio::time::sleep(LOOK_AGAIN).await;
                },
            }
        }
    }

    /// Carries out an order, until there is nothing left to do but to stop. Safe to cancel and to begin anew.
    pub async fn carry_out(&self, order: MasterOrder) {
        match order {
            MasterOrder::HandOver => self.hand_over().await,
            MasterOrder::Finish => self.finish().await,
        }
        self.enter(Phase::Flushing).await;
    }

    async fn hand_over(&self) {
        let began = Instant::now();
        self.enter(Phase::HandingOff).await;
        let Some(engine) = &self.engine else {
            self.singletons.stop().await;
            return self.let_stock_workers_finish(Some(began)).await;
        };
        engine.go(Going::HandingOff);
        self.singletons.stop().await;
        let (mut sent, mut others) = (None::<Instant>, false);
        loop {
            if sent.is_none_or(|at| at.elapsed() >= SEND_AGAIN) {
                others = engine.send_workers_away("this master goes").await;
                sent = Some(Instant::now());
            }
            if let Err(error) = engine.let_go_of_what_moved().await {
                tracing::debug!(%error, "can't look which builds have moved");
            }
            let load = engine.load();
            if load.bound == 0 && (load.movable == 0 || !others) {
                return self.tell_what_stays(load.movable);
            }
            if began.elapsed() >= HAND_OFF {
                self.enter(Phase::Finishing).await;
            }
            if began.elapsed() >= self.patience {
                return self.give_up(engine).await;
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Buildbot's clean shutdown: builds that run are finished, and nothing else is begun. Workers without a build go to
    /// other masters, where new builds begin: nothing waits for the longest build here.
    async fn finish(&self) {
        self.enter(Phase::Finishing).await;
        let Some(engine) = &self.engine else {
            self.singletons.stop().await;
            return self.let_stock_workers_finish(None).await;
        };
        engine.go(Going::Finishing);
        self.singletons.stop().await;
        let (mut sent, mut looked) = (SentAway::default(), None::<Instant>);
        while engine.load().total() > 0 {
            if looked.is_none_or(|at| at.elapsed() >= LOOK_AT_BUILDS) {
                looked = Some(Instant::now());
                engine.send_idle_workers_away(&mut sent, "this master finishes its builds").await;
                self.send_idle_stock_workers_away().await;
            }
            tokio::time::sleep(POLL).await;
        }
        // Who worked to the end may have come when no other engine was there, and know of none.
        if tokio::time::timeout(ANSWER, engine.send_workers_away("this master goes")).await.is_err() {
            tracing::debug!("the database doesn't tell where other engines are");
        }
    }

    async fn send_idle_stock_workers_away(&self) {
        let Some(gateway) = &self.gateway else { return };
        // When the database doesn't answer, nobody is known to be idle.
        match self.stock_workers_building().await {
            Some(building) if self.has_other_gateway().await => {
                gateway.send_away(&building);
            }
            Some(building) => {
                gateway.stay(&building);
            }
            None => {}
        }
    }

    /// The stock workers of this gateway on which builds run, if the database tells.
    async fn stock_workers_building(&self) -> Option<HashSet<String>> {
        let building = self.data.stock_workers_building(&self.incarnation);
        match tokio::time::timeout(ANSWER, building).await {
            Ok(Ok(building)) => Some(building),
            Ok(Err(error)) => {
                tracing::debug!(%error, "can't look which stock workers build");
                None
            }
            Err(_) => None,
        }
    }

    /// Whether stock workers can go to another master.
    async fn has_other_gateway(&self) -> bool {
        match tokio::time::timeout(ANSWER, self.data.live_with(Role::Gateway)).await {
            Ok(Ok(gateways)) => gateways.iter().any(|master| *master != self.master),
            Ok(Err(error)) => {
                tracing::debug!(%error, "can't look which other gateways run");
                false
            }
            Err(_) => false,
        }
    }

    /// Builds of other masters' engines run on the workers of a gateway alone, and end with its sockets. So workers
    /// without a build go to another gateway, and the others may finish: until the deadline of a hand-over that `began`.
    async fn let_stock_workers_finish(&self, began: Option<Instant>) {
        let Some(gateway) = &self.gateway else { return };
        loop {
            // When the database doesn't answer, nobody is known to be idle; the deadline holds all the same.
            let left = match self.stock_workers_building().await {
                // What is finished may wait for builds that need the others, and nobody else would take these.
                Some(building) if began.is_none() && !self.has_other_gateway().await => {
                    gateway.stay(&building)
                }
                Some(building) => gateway.send_away(&building),
                None => gateway.connected(),
            };
            if left == 0 {
                return;
            }
            let waited = began.map_or(Duration::ZERO, |began| began.elapsed());
            if waited >= HAND_OFF {
                self.enter(Phase::Finishing).await;
            }
            if waited >= self.patience {
                let seconds = self.patience.as_secs();
                return tracing::warn!(
                    "{left} stock workers are not done after {seconds} s; what they build will be built again"
                );
            }
            tokio::time::sleep(LOOK_AT_BUILDS).await;
        }
    }

    async fn give_up(&self, engine: &Engine) {
        let load = engine.load();
        tracing::warn!(
            "{} builds of stock workers are not finished after {} s; they will be built again",
            load.bound,
            self.patience.as_secs()
        );
        engine.give_up_bound();
        let deadline = Instant::now() + GIVE_UP;
        while engine.load().bound > 0 && Instant::now() < deadline {
            tokio::time::sleep(POLL).await;
        }
        self.tell_what_stays(engine.load().movable);
    }

    fn tell_what_stays(&self, builds: usize) {
        if builds > 0 {
            tracing::info!(
                "{builds} builds go on without a master, until this one is started or another one takes over"
            );
        }
    }

    async fn enter(&self, phase: Phase) {
        let further = self.phase.send_if_modified(|now| {
            let further = phase > *now;
            *now = phase.max(*now);
            further
        });
        if !further {
            return;
        }
        self.going.cancel();
        metrics::gauge!("muster_master_phase").set(f64::from(phase as u8));
        tracing::info!("this master is {} now", phase.name());
        let told = self.data.set_master_state(self.master, &self.incarnation, phase.name());
        match tokio::time::timeout(TELL, told).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "can't tell the database"),
            Err(_) => tracing::debug!("the database doesn't answer"),
        }
    }
}
