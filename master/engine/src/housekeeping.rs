//! What is set right behind everything else: chunks of ended logs are grouped, orphaned requests are freed, workers are
//! told of commands that nobody needs any more.

use std::time::Duration;

use muster_store::{Error, regroup, runs};
use tokio::{
    task::spawn_blocking,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{Engine, steps};

/// How often logs are looked for that another master, or an earlier life of this one, has left undone.
const LOOK_FOR_LOGS: Duration = Duration::from_secs(60);
/// How often orphans are looked for; Buildbot's housekeeping, which makes them, runs as often.
const LOOK_FOR_ORPHANS: Duration = Duration::from_secs(60);

/// How often the rests of uploads are looked for: they cost space only.
const LOOK_FOR_UPLOADS: Duration = Duration::from_secs(60);

/// How long a database that refuses is left alone, and a run that is still there is waited for: whoever owns it goes on
/// with it or ends it soon.
const LOOK_FOR_STRANGERS: Duration = Duration::from_secs(10);

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
        match regroup::regroup(db, log, engine.active().compression).await {
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
        match engine.data().end_what_the_dead_left().await {
            Ok(0) => {}
            Ok(ended) => tracing::warn!(ended, "ended builds of masters that are gone; they are built again"),
            Err(error) => {
                tracing::warn!(%error, "can't look for builds of masters that are gone; trying again")
            }
        }
    }
}

/// Removes what is left of uploads whose builds are over, until `leaving`: of builds that went on elsewhere, or were given up
/// with a master that was killed.
pub(crate) async fn clear_uploads(engine: Engine, leaving: CancellationToken) {
    let mut ticks = interval(LOOK_FOR_UPLOADS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = leaving.cancelled() => return,
        }
        match clear_those_over(&engine).await {
            Ok(0) => {}
            Ok(cleared) => tracing::info!(cleared, "removed what was left of uploads"),
            Err(error) => tracing::warn!(%error, "can't ask about builds with uploads; trying again"),
        }
    }
}

async fn clear_those_over(engine: &Engine) -> muster_store::Result<usize> {
    let basedir = engine.0.basedir.clone();
    // Most masters never have any: nothing is handed to another thread for that.
    if !steps::has_noted_uploads(&basedir) {
        return Ok(0);
    }
    let broke = |error| Error::Data(format!("looking at files broke: {error}"));
    let there = basedir.clone();
    let noted = spawn_blocking(move || steps::noted_uploads(&there)).await.map_err(broke)?;
    if noted.is_empty() {
        return Ok(0);
    }
    let asked = &noted;
    let over = engine.data().db().look("over_among", |tx| async move { runs::over_among(&tx, asked).await });
    let over = over.await?;
    spawn_blocking(move || steps::clear_uploads(&basedir, &over)).await.map_err(broke)
}

/// Tells workers to forget commands whose runs are over, until `leaving`. A worker that has just come may hold commands of
/// which nobody here knows: only the database knows whether somebody will still ask for them.
pub(crate) async fn forget_strangers(engine: Engine, leaving: CancellationToken) {
    let mut come = engine.slots().strangers();
    loop {
        come.mark_unchanged();
        let looking = async {
            match forget_those_over(&engine).await {
                Ok(0) => drop(come.changed().await),
                Ok(_) => drop(timeout(LOOK_FOR_STRANGERS, come.changed()).await),
                Err(error) => {
                    tracing::debug!(%error, "can't ask about commands of workers; trying again");
                    sleep(LOOK_FOR_STRANGERS).await;
                }
            }
        };
        tokio::select! {
            () = looking => {}
            () = leaving.cancelled() => return,
        }
    }
}

/// Answers how many strangers are left.
async fn forget_those_over(engine: &Engine) -> muster_store::Result<usize> {
    let mut left = 0;
    for slot in engine.slots().all() {
        let strangers = slot.strangers();
        if strangers.is_empty() {
            continue;
        }
        let asked = &strangers;
        let over =
            engine.data().db().look("over_among", |tx| async move { runs::over_among(&tx, asked).await });
        let over = over.await?;
        slot.forget_strangers(&over);
        left += strangers.len() - over.len();
    }
    Ok(left)
}
