//! Which locks a build or a step wants, and the wait for them.

use std::time::Duration;

use muster_config::snapshot::{LockAccess, LockConfig, LockKind, LockMode, LockSet, Snapshot};
use muster_data::LockWish;
use muster_store::Error;

use crate::effects::{Halt, RunCore, ordered};

/// How often a wait looks again although nobody told it of a release: other masters release, too.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The wishes behind a set of accesses, for a build on `worker`.
pub(crate) fn wishes(snapshot: &Snapshot, accesses: &[LockAccess], worker: &str) -> Vec<LockWish> {
    let wish = |access: &LockAccess| {
        let lock = snapshot.locks.iter().find(|lock| lock.name == access.lock);
        let worker_lock = lock.is_some_and(|lock| lock.kind == LockKind::Worker);
        LockWish {
            lock: if worker_lock { format!("{}@{worker}", access.lock) } else { access.lock.clone() },
            exclusive: access.mode == LockMode::Exclusive,
            units: i64::from(access.count),
            max_count: lock.map_or(1, |lock| max_count(lock, worker)),
        }
    };
    accesses.iter().map(wish).collect()
}

fn max_count(lock: &LockConfig, worker: &str) -> i64 {
    lock.max_count_for_worker.get(worker).copied().unwrap_or(lock.max_count).into()
}

/// The accesses of a set that are known without rendering.
pub(crate) fn known(set: &LockSet) -> &[LockAccess] {
    match set {
        LockSet::Accesses(accesses) => accesses,
        LockSet::Renderable(_) => &[],
    }
}

/// How a wait for locks ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// All are held.
    Held,
    /// The build was stopped meanwhile; none is held.
    Stopped,
}

/// Takes all of `wishes` together, waiting in their queues as long as it takes.
pub(crate) async fn take(core: &mut RunCore, step: i64, wishes: &[LockWish]) -> Result<Wait, Halt> {
    if wishes.is_empty() {
        return Ok(Wait::Held);
    }
    core.recorder.flush().await?;
    let mut released = core.releases.subscribe();
    loop {
        match core.data.take_locks(&core.key, step, wishes).await {
            Ok(true) => return Ok(Wait::Held),
            Ok(false) => {}
            Err(Error::Fenced(_)) => return Err(Halt::Fenced),
            Err(error @ Error::Unstorable { .. }) if step >= 0 => {
                return Err(Halt::Refused(error.to_string()));
            }
            Err(error) => tracing::error!(build = %core.key.build, %error, "can't take locks; trying again"),
        }
        let mut stop = core.stop.clone();
        tokio::select! {
            _ = released.changed() => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {}
            () = ordered(&mut stop) => {
                if let Err(error) = core.data.drop_locks(&core.key, step).await {
                    tracing::warn!(build = %core.key.build, %error, "locks are given back with the build's end");
                }
                return Ok(Wait::Stopped);
            }
            () = core.leaving.cancelled() => return Err(Halt::Leaving),
        }
    }
}
