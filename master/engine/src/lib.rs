//! The engine: takes build requests, runs their builds, follows the commands on the workers.
//!
//! [`Engine::run`] is a handful of reconcilers: each looks at the rows, does what is due, and is woken by events and by
//! a timer. A build is executed by one task that owns its run; what it does to the world goes through
//! [`StepContext`] and is journalled, so that another master, or the next life of this one, can go on.

mod accept;
mod active;
mod collapse;
mod control;
mod dials;
mod distributor;
mod drain;
mod effects;
mod foreign;
mod housekeeping;
mod lost;
mod peers;
mod places;
mod plan;
mod reasons;
mod run;
mod runner;
mod session_news;
mod sessions;
#[cfg(test)]
mod simulation;
mod slots;
mod steps;
mod triggers;

use std::{path::PathBuf, sync::Arc};

use muster_core::MasterId;
use muster_data::Data;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use active::{Active, activate};
pub use collapse::answer_collapses;
pub use drain::{Going, Load, SentAway};
pub use effects::{
    CommandRequest, CommandResult, Effect, HaltReason, LineKind, LineObserver, LogRef, MAX_COLLECTED,
    Matching, Outcome, PerformOptions, SharedContext, StepContext, StepEnd, Transfer,
};
pub use peers::watch_peers;
pub use steps::problems;
pub use triggers::{NotMade, Triggers};

use effects::Writer;
use runner::Runs;
use sessions::Slot;
use slots::Slots;

/// An engine. Clones are the same one.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    data: Data,
    master: MasterId,
    basedir: PathBuf,
    active: watch::Receiver<Arc<Active>>,
    slots: Slots,
    runs: Runs,
    writer: Writer,
    /// Counts releases of locks.
    releases: watch::Sender<u64>,
    /// Whether the builds of an earlier life were taken up: before that no worker may be told to forget a command.
    adopted: watch::Sender<bool>,
    /// Dials of workers that are being settled.
    dials: dials::Dials,
    /// Why requests wait, as far as this engine knows.
    reasons: reasons::Reasons,
    /// Requests and workers that wait because their last builds ended with RETRY at once.
    holds: distributor::Holds,
    /// What this engine still takes.
    going: watch::Sender<Going>,
    /// Where other engines take workers.
    others: drain::Others,
    /// This engine stops: runs are put down, their rows and journals stay.
    leaving: CancellationToken,
    /// Of the cluster: workers refuse orders of an older one.
    generation: u64,
    /// Schedulers that builds may ask for other builds.
    triggers: Arc<dyn Triggers>,
}

impl Engine {
    /// An engine for the configuration that `active` shows. It does nothing until it is [run](Engine::run).
    pub fn new(
        data: Data,
        master: MasterId,
        basedir: PathBuf,
        active: watch::Receiver<Arc<Active>>,
        generation: u64,
        triggers: Arc<dyn Triggers>,
    ) -> Engine {
        let writer = Writer::new(data.clone());
        let slots = Slots::new(data.trust().clone());
        slots.configure(&active.borrow().ids.workers);
        Engine(Arc::new(Inner {
            data,
            master,
            basedir,
            active,
            slots,
            runs: Runs::default(),
            writer,
            releases: watch::Sender::new(0),
            adopted: watch::Sender::new(false),
            dials: dials::Dials::default(),
            reasons: reasons::Reasons::default(),
            holds: distributor::Holds::default(),
            going: watch::Sender::new(Going::No),
            others: drain::Others::default(),
            leaving: CancellationToken::new(),
            generation,
            triggers,
        }))
    }

    /// Takes up its own builds again, then distributes, runs builds and carries out orders until `shutdown`. Returns when
    /// every build is put down: rows and journals stay, the workers' commands run on, and the next start goes on.
    ///
    /// # Errors
    /// When the database can't be read at the start.
    pub async fn run(self, shutdown: CancellationToken) -> muster_store::Result<()> {
        let leaving = self.0.leaving.clone();
        let _stops = leaving.clone().drop_guard();
        self.adopt(&leaving, &shutdown).await?;
        self.0.adopted.send_replace(true);
        let work = async {
            tokio::join!(
                async {
                    shutdown.cancelled().await;
                    leaving.cancel();
                },
                distributor::run(self.clone(), leaving.clone()),
                reasons::write(self.clone(), leaving.clone()),
                control::run(self.clone(), leaving.clone()),
                foreign::run(self.clone(), leaving.clone()),
                lost::run(self.clone(), leaving.clone()),
                self.follow_trust(leaving.clone()),
                housekeeping::group_logs(self.clone(), leaving.clone()),
                housekeeping::free_orphans(self.clone(), leaving.clone()),
                housekeeping::forget_strangers(self.clone(), leaving.clone()),
                housekeeping::clear_uploads(self.clone(), leaving.clone()),
                self.follow_configuration(leaving.clone()),
            );
            self.0.runs.wait().await;
            self.0.writer.close();
        };
        tokio::join!(Box::pin(work), self.0.writer.run());
        Ok(())
    }

    /// Lets the workers have what waited while this master could not act.
    async fn follow_trust(&self, leaving: CancellationToken) {
        let mut regained = self.data().trust().regained();
        loop {
            tokio::select! {
                changed = regained.changed() => if changed.is_err() { return },
                () = leaving.cancelled() => return,
            }
            tracing::info!("this master may act again");
            self.slots().all().iter().for_each(Slot::wake);
            self.0.runs.poke();
        }
    }

    async fn follow_configuration(&self, leaving: CancellationToken) {
        let mut active = self.active_receiver();
        loop {
            tokio::select! {
                changed = active.changed() => if changed.is_err() { return },
                () = leaving.cancelled() => return,
            }
            let workers = active.borrow_and_update().ids.workers.clone();
            self.slots().configure(&workers);
            self.0.runs.poke();
        }
    }

    pub(crate) fn data(&self) -> &Data {
        &self.0.data
    }

    pub(crate) fn master(&self) -> MasterId {
        self.0.master
    }

    pub(crate) fn slots(&self) -> &Slots {
        &self.0.slots
    }

    pub(crate) fn active(&self) -> Arc<Active> {
        self.0.active.borrow().clone()
    }

    pub(crate) fn active_receiver(&self) -> watch::Receiver<Arc<Active>> {
        self.0.active.clone()
    }
}
