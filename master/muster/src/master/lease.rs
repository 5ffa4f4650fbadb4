//! The right to act, renewed all the time.

use std::time::Duration;

use anyhow::{Result, bail};
use muster_core::MasterId;
use muster_data::Data;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How often the lease's counter is raised.
const RENEWAL: Duration = Duration::from_millis(1500);
/// How often `masters.last_active` is, which Buildbot's masters look at.
const HEARTBEAT: Duration = Duration::from_secs(60);

/// Renews until `stop`. A database that is away for a while is waited for; somebody else who acts under this master's
/// name is the end.
pub async fn keep(data: Data, master: MasterId, incarnation: String, stop: CancellationToken) -> Result<()> {
    let mut ticks = interval(RENEWAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut last_heartbeat, mut is_failing) = (Instant::now(), false);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = ticks.tick() => {}
        }
        let heartbeat = last_heartbeat.elapsed() >= HEARTBEAT;
        match data.renew_lease(master, &incarnation, heartbeat).await {
            Ok(true) => {
                if heartbeat {
                    last_heartbeat = Instant::now();
                }
                if std::mem::take(&mut is_failing) {
                    tracing::info!("the database answers again");
                }
            }
            Ok(false) => bail!(
                "this master's lease is gone: it stood still for so long that others have taken over its builds, or another \
                 process acts under its name. Start it again; each master needs a directory or a host name of its own"
            ),
            // Told once: the database may be away for long.
            Err(error) if !is_failing => {
                is_failing = true;
                tracing::warn!("the lease can't be renewed, trying again: {error}");
            }
            Err(_) => {}
        }
    }
}
