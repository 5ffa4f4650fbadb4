//! The right to act: taken at the start, renewed all the time.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use muster_core::MasterId;
use muster_core::lease::{HEARTBEAT, RENEWAL, STANDSTILL};
use muster_data::{Beside, Data, Lease, Life, Moment, Renewal, Start};
use muster_engine::{Active, Engine};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{drain::Phase, said};

/// How often a start that waits for another process says so: `muster start` gives up on a log that stands still.
const TELL_AGAIN: Duration = Duration::from_secs(5);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(500);

/// A runtime with a thread of its own, which nothing else uses: however busy all others are, the lease is renewed. Its
/// connection to a server is made and driven there, too. (SQLite has one writer; there the lease waits for its turn, behind
/// transactions that each take milliseconds.) It lives as long as the process.
pub fn runtime() -> Result<Handle> {
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).thread_name("lease").enable_all().build();
    let runtime: &'static Runtime = Box::leak(Box::new(runtime.context("the lease has no thread")?));
    Ok(runtime.handle().clone())
}

/// Takes the lease of the master `name` for this life. One that is live under another life is waited for, unless `dead`
/// is that life: the lock on the directory where it ran has shown that its process is gone.
/// A Buildbot of this name must have ended; `buildbot_is_gone` when its process was seen to have.
/// On SQLite it must be the only one.
pub async fn take(
    data: &Data,
    name: &str,
    life: &Life,
    dead: Option<&str>,
    buildbot_is_gone: bool,
) -> Result<MasterId> {
    let mut seen: Vec<(Lease, Instant)> = Vec::new();
    let mut told: Option<Instant> = None;
    loop {
        let still = seen.iter().filter(|(_, since)| since.elapsed() >= STANDSTILL);
        let still: Vec<Lease> = still.map(|(lease, _)| lease.clone()).collect();
        let asked = Moment::now();
        let started = data.master_starts(name, life, dead, &still, Beside::Nobody, buildbot_is_gone).await?;
        let (lease, waits) = match started {
            Start::Leased(id) => {
                data.trust().renew(asked);
                return Ok(id);
            }
            Start::Buildbot { name: other, heard } => bail!("{}", said::buildbot_lives(name, &other, heard)),
            Start::Occupied(lease) => (
                lease,
                format!(
                    "another process acts as the master {name}, or did until a moment ago; waiting until its lease \
                         stands still. Each master needs a name of its own (--name)"
                ),
            ),
            Start::Crowded(lease) if has_moved(&seen, &lease) => {
                bail!("{}", said::crowded(&master_named(data, &lease).await?))
            }
            Start::Crowded(lease) => {
                let other = master_named(data, &lease).await?;
                (
                    lease,
                    format!(
                        "the master {other} worked on this database until a moment ago; looking whether it still does"
                    ),
                )
            }
        };
        if !seen.iter().any(|(known, _)| *known == lease) {
            seen.retain(|(known, _)| known.master != lease.master);
            seen.push((lease, Instant::now()));
        }
        if told.is_none_or(|at| at.elapsed() >= TELL_AGAIN) {
            told = Some(Instant::now());
            tracing::warn!("{waits}");
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether a lease was raised since it was seen first: its master lives.
fn has_moved(seen: &[(Lease, Instant)], now: &Lease) -> bool {
    let same = |known: &Lease| known.master == now.master && known.incarnation == now.incarnation;
    seen.iter().any(|(known, _)| same(known) && known.counter != now.counter)
}

async fn master_named(data: &Data, lease: &Lease) -> Result<String> {
    let masters = data.cluster_status().await?.masters;
    let found = masters.into_iter().find(|master| master.id == lease.master);
    Ok(found.map_or_else(|| lease.master.to_string(), |master| master.name))
}

/// Renews the lease of a running master.
pub struct Keeper {
    /// On a connection of its own, where the database has several: all others may be busy for long.
    pub data: Data,
    pub master: MasterId,
    pub incarnation: String,
    /// Of the cluster, when this master started.
    pub generation: i64,
    pub active: watch::Receiver<Arc<Active>>,
    pub engine: Option<Engine>,
    pub phase: watch::Receiver<Phase>,
    /// Where the engine is at home.
    pub main: Handle,
}

impl Keeper {
    /// Renews until `stop`. A database that is away for a while is waited for. A lease that others have ended, because
    /// this process could not act for long, is taken up again: what it owned is others' then.
    pub async fn keep(self, stop: CancellationToken) -> Result<()> {
        let mut ticks = interval(RENEWAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut last_heartbeat, mut is_failing) = (Instant::now(), false);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = ticks.tick() => {}
            }
            let heartbeat = last_heartbeat.elapsed() >= HEARTBEAT;
            let asked = Moment::now();
            let renewed = self.data.renew_lease(self.master, &self.incarnation, heartbeat).await;
            let outcome = match renewed {
                Ok(Renewal::Renewed { generation }) if generation != self.generation => {
                    self.data.trust().end();
                    bail!(
                        "the database was restored from a backup: the cluster's generation is {generation} now, and was \
                         {} when this master started. Start it again",
                        self.generation
                    );
                }
                Ok(Renewal::Renewed { .. }) => {
                    self.data.trust().renew(asked);
                    metrics::histogram!("muster_lease_renewal_seconds").record(asked.elapsed());
                    if heartbeat {
                        last_heartbeat = Instant::now();
                    }
                    Ok(())
                }
                Ok(Renewal::Lost) => match self.join_again().await {
                    Ok(false) => bail!(
                        "another process acts under this master's name; each master needs a name of its own (--name)"
                    ),
                    other => other.map(drop),
                },
                Err(error) => Err(error),
            };
            match outcome {
                Ok(()) if std::mem::take(&mut is_failing) => tracing::info!("the database answers again"),
                Ok(()) => {}
                // Told once: the database may be away for long.
                Err(error) if !is_failing => {
                    is_failing = true;
                    tracing::warn!("the lease can't be renewed, trying again: {error}");
                }
                Err(_) => {}
            }
        }
    }

    /// `false`: another process acts under this name.
    async fn join_again(&self) -> Result<bool, muster_store::Error> {
        self.data.trust().end();
        metrics::counter!("muster_leases_lost_total").increment(1);
        tracing::warn!(
            "this master could not act for so long that others have ended its lease; it joins again"
        );
        let setup = self.active.borrow().setup.clone();
        let phase = self.phase.borrow().name();
        let asked = Moment::now();
        if !self.data.rejoin(self.master, &self.incarnation, phase, &setup).await? {
            return Ok(false);
        }
        if let Some(engine) = self.engine.clone() {
            // What moved is found again by the engine's own looks, and no stale write is possible.
            match self.main.spawn(async move { engine.rejoined().await }).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "can't look which builds have gone to others"),
                Err(error) => tracing::error!(%error, "the look which builds have gone to others ended"),
            }
        }
        self.data.trust().renew(asked);
        Ok(true)
    }
}
