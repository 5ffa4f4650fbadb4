//! SIGHUP: evaluate, validate, apply. A configuration that can't be used leaves the old one in force.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use muster_config::{Host, Loaded, snapshot::Snapshot};
use muster_core::MasterId;
use muster_data::Data;
use muster_engine::{Active, activate};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{listeners::session_ports, said, warnings};
use crate::config;
use crate::master_dir::MasterDir;

/// From now on SIGHUP no longer ends the process.
pub fn listen_for_hang_up() -> Result<Signal> {
    signal(SignalKind::hangup()).context("can't listen for signals")
}

/// Waits for SIGHUP and carries it out.
pub struct Reconfigure {
    dir: MasterDir,
    data: Data,
    master: MasterId,
    host: Host,
    active: watch::Sender<Arc<Active>>,
    snapshot: watch::Sender<Arc<Snapshot>>,
    hang_up: Signal,
}

impl Reconfigure {
    /// What `hang_up` asks for, from now on.
    pub fn new(
        dir: MasterDir,
        data: Data,
        master: MasterId,
        host: Host,
        active: watch::Sender<Arc<Active>>,
        snapshot: watch::Sender<Arc<Snapshot>>,
        hang_up: Signal,
    ) -> Reconfigure {
        Reconfigure { dir, data, master, host, active, snapshot, hang_up }
    }

    /// One reconfiguration after the other. A signal that comes while one still reads the file begins it anew: the file may
    /// have been mended because it hangs.
    pub async fn serve(mut self, stop: CancellationToken) -> Result<()> {
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = self.hang_up.recv() => {}
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.reconfigure() => {}
            }
        }
    }

    async fn reconfigure(&mut self) {
        tracing::info!("beginning configuration update");
        let started = Instant::now();
        let mut reading = Box::pin(read(self.host.clone(), self.dir.clone()));
        let outcome = loop {
            tokio::select! {
                outcome = &mut reading => break outcome,
                _ = self.hang_up.recv() => {
                    tracing::info!("beginning configuration update anew");
                    reading = Box::pin(read(self.host.clone(), self.dir.clone()));
                }
            }
        };
        drop(reading);
        let outcome = match outcome {
            Ok(loaded) => self.apply(loaded).await,
            Err(error) => Err(error),
        };
        let seconds = started.elapsed().as_secs_f64();
        match outcome {
            Ok(()) => tracing::info!("{} (took {seconds:.3} seconds)", said::RECONFIGURED),
            Err(error) => {
                tracing::error!("{error:#}");
                tracing::error!("{} (took {seconds:.3} seconds)", said::RECONFIG_ABORTED);
            }
        }
    }

    async fn apply(&self, loaded: Loaded) -> Result<()> {
        let old = self.snapshot.borrow().clone();
        let roles = self.active.borrow().roles;
        let warnings = warnings::about(&loaded.snapshot, roles);
        for warning in warnings.into_iter().chain(needs_restart(&old, &loaded.snapshot)) {
            tracing::warn!("{warning}");
        }
        let host = Some(self.host.clone());
        let active =
            activate(&self.data, self.master, loaded.snapshot.clone(), &loaded.digest, host, roles).await?;
        self.active.send_replace(Arc::new(active));
        self.snapshot.send_replace(loaded.snapshot);
        Ok(())
    }
}

/// Reads the configuration; in a process of its own first: what the host loads is in force for the functions at once.
async fn read(host: Host, dir: MasterDir) -> Result<Loaded> {
    config::evaluate(&dir).await?;
    Ok(config::load(&host, &dir).await?)
}

/// What the new configuration can't change while the master runs.
fn needs_restart(old: &Snapshot, new: &Snapshot) -> Vec<String> {
    let differs = |key: &str| old.www.raw.get(key) != new.www.raw.get(key);
    let differences = [
        ("c['db']", old.db != new.db),
        ("c['mq']", old.mq != new.mq),
        ("c['www']['port']", old.www.port != new.www.port),
        ("c['www']['logfileName']", differs("logfileName")),
        ("c['www']['logRotateLength']", differs("logRotateLength")),
        ("c['www']['maxRotatedFiles']", differs("maxRotatedFiles")),
        ("c['protocols']", old.protocols != new.protocols || session_ports(old) != session_ports(new)),
    ];
    let changed = differences.into_iter().filter(|(_, differs)| *differs);
    changed
        .map(|(setting, _)| format!("{setting} has changed; this takes effect at the next restart"))
        .collect()
}
