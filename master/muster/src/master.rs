//! The master in this process: how it starts, what runs in it, how it ends.
//!
//! [`start`] makes everything ready and then spawns the tasks; from there on [`RunningMaster`] is the only handle.

mod bus;
mod drain;
mod gateway;
mod lease;
mod listeners;
mod reconfigure;
pub mod said;
mod start;
mod tasks;
mod triggers;
mod warnings;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use muster_config::snapshot::Snapshot;
use muster_data::{Data, MasterOrder};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::pid_file::PidFile;
use drain::{Drain, DrainSignals};
use tasks::Tasks;

pub use listeners::listen;
pub use start::start;

/// A master that runs.
pub struct RunningMaster {
    drain: Drain,
    snapshot: watch::Receiver<Arc<Snapshot>>,
    sessions: Vec<SocketAddr>,
    /// Everything but the lease.
    services: Tasks,
    /// Ends last: what the services still write, they write as the owner.
    lease: Tasks,
    /// Ends after that: others should hear that this master stops.
    bus: Tasks,
    _lock: PidFile,
}

impl RunningMaster {
    /// The waist of the house.
    pub fn data(&self) -> &Data {
        &self.drain.data
    }

    /// The configuration in force.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.borrow().clone()
    }

    /// Where workers are accepted.
    pub fn session_addresses(&self) -> &[SocketAddr] {
        &self.sessions
    }

    /// Runs until it is told to go, by a signal or through the database; then it hands over or finishes what runs, and
    /// ends. A second SIGTERM interrupts that, a third one ends the process at once. A task that fails ends it as well,
    /// with that task's error.
    pub async fn until_told(self) -> Result<()> {
        let mut signals = DrainSignals::listen()?;
        let order = tokio::select! {
            (name, order) = signals.next() => {
                tracing::info!("got {name}; stopping");
                Some(order)
            }
            order = self.drain.ordered() => {
                tracing::info!("somebody ordered this master to go; stopping");
                Some(order)
            }
            () = self.failed() => None,
        };
        let failed = order.is_none();
        if let Some(order) = order {
            self.go(order, &mut signals).await;
        }
        tokio::select! {
            outcome = self.stop() => outcome,
            (name, _) = signals.next() => {
                tracing::warn!("got {name} again; ending at once. The next start goes on with what runs now");
                if failed { Err(anyhow::anyhow!("ended at once")) } else { Ok(()) }
            }
        }
    }

    /// Drains until nothing is left, something fails, or somebody is impatient.
    async fn go(&self, mut order: MasterOrder, signals: &mut DrainSignals) {
        loop {
            tokio::select! {
                () = self.drain.carry_out(order) => return,
                () = self.failed() => return,
                (name, next) = signals.next() => match (order, next) {
                    (MasterOrder::Finish, MasterOrder::HandOver) => {
                        tracing::info!("got {name}; handing over instead of finishing");
                        order = next;
                    }
                    (MasterOrder::HandOver, MasterOrder::HandOver) => {
                        tracing::warn!("got {name} again; handing over no longer");
                        return;
                    }
                    (_, MasterOrder::Finish) => tracing::info!("got {name}; this master goes already"),
                },
            }
        }
    }

    /// Waits until a task failed.
    pub async fn failed(&self) {
        tokio::select! {
            () = self.drain.singletons.failed() => {}
            () = self.services.failed() => {}
            () = self.lease.failed() => {}
            () = self.bus.failed() => {}
        }
    }

    /// Ends everything: first the services, then the lease, then the master's row and the bus say so. The error of a task that
    /// failed comes back.
    pub async fn stop(self) -> Result<()> {
        self.drain.singletons.stop().await;
        self.services.stop().await;
        let lease_is_lost = self.lease.has_failed();
        self.lease.stop().await;
        if !lease_is_lost {
            let gone = self.drain.data.master_stops(self.drain.master, &self.drain.incarnation).await;
            gone.context("the end of this master can't be written to the database")?;
        }
        self.bus.stop().await;
        let failures = [&self.lease, &self.services, &self.drain.singletons, &self.bus].into_iter();
        let failure = failures.filter_map(Tasks::failure).next();
        match failure {
            None => {
                tracing::info!("{}", said::STOPPED);
                Ok(())
            }
            Some(failure) => Err(failure),
        }
    }
}

/// SIGTERM and SIGINT.
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// From now on these signals no longer end the process by themselves.
    pub fn listen() -> Result<StopSignals> {
        let listen = |kind| signal(kind).context("can't listen for signals");
        Ok(StopSignals {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    /// The next one's name.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
