//! What is set right behind everything else: chunks of ended logs are grouped, orphaned requests are freed.

use std::time::Duration;

use muster_store::{Error, chunks::Compression, regroup};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::Engine;

/// How often logs are looked for that another master, or an earlier life of this one, has left undone.
const LOOK_FOR_LOGS: Duration = Duration::from_secs(60);
/// How often orphans are looked for; Buildbot's housekeeping, which makes them, runs as often.
const LOOK_FOR_ORPHANS: Duration = Duration::from_secs(60);

/// Groups the chunks of logs, one log after the other, until `leaving`. What is left undone is taken up later, here or
/// elsewhere.
pub(crate) async fn group_logs(engine: Engine, leaving: CancellationToken) {
    let mut wanted = engine.0.writer.regroup_wanted();
    loop {
        wanted.mark_unchanged();
        let looking = async {
            if let Err(error) = group_those_due(&engine).await {
                tracing::warn!(%error, "can't group the chunks of logs; trying again");
            }
            tokio::select! {
                _ = wanted.changed() => {}
                () = tokio::time::sleep(LOOK_FOR_LOGS) => {}
            }
        };
        tokio::select! {
            () = looking => {}
            () = leaving.cancelled() => return,
        }
    }
}

async fn group_those_due(engine: &Engine) -> muster_store::Result<()> {
    let db = engine.data().db();
    while let Some(log) = regroup::take(db, muster_data::now()).await? {
        let method = Compression::for_writing(&engine.active().snapshot.log_compression_method);
        match regroup::regroup(db, log, method.unwrap_or(Compression::Gz)).await {
            Ok(chunks) => tracing::debug!(%log, chunks, "grouped the chunks of a log"),
            // Damaged, or somebody else does the same: it is readable as it is.
            Err(Error::Data(reason)) => tracing::warn!(%log, reason, "the chunks of a log stay as they are"),
            Err(error) => return Err(error),
        }
        regroup::done(db, log).await?;
    }
    Ok(())
}

/// Frees requests that Buildbot's housekeeping has left claimed by a master that is gone, until `leaving`.
pub(crate) async fn free_orphans(engine: Engine, leaving: CancellationToken) {
    let mut ticks = interval(LOOK_FOR_ORPHANS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = leaving.cancelled() => return,
        }
        match engine.data().free_orphans().await {
            Ok(0) => {}
            Ok(freed) => tracing::info!(freed, "freed requests that a master which is gone had claimed"),
            Err(error) => tracing::warn!(%error, "can't look for orphaned requests; trying again"),
        }
    }
}
