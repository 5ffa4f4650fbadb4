//! Locks of builds and steps, which hold in the whole cluster.

use muster_core::{
    BuildId,
    invariants::{debug_check, lock_is_not_over_held},
    lock::{Queued, is_available},
};
use muster_store::{
    Error, Result, Tx,
    locks::{self, LockClaim},
    runs::{self, RunKey},
};

use crate::Data;

/// A lock that a build (step -1) or one of its steps wants.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LockWish {
    /// Unique in the cluster: a worker's lock has the worker in its name.
    pub lock: String,
    /// Alone, or with others.
    pub exclusive: bool,
    /// Units.
    pub units: i64,
    /// Units there are, by the newest configuration.
    pub max_count: i64,
}

impl Data {
    /// Takes a whole set of locks or none; the first call takes a place in their queues. Fenced.
    ///
    /// A place in a queue is committed before anybody decides by it: whoever decides locks the rows that it sees, and
    /// whoever comes later sees what was decided. (Two that queue and decide at once would each see itself alone.)
    pub async fn take_locks(&self, run: &RunKey, step: i64, wishes: &[LockWish]) -> Result<bool> {
        let mut wishes = wishes.to_vec();
        wishes.sort();
        if let Some(taken) = self.take_if_queued(run, step, &wishes).await? {
            return Ok(taken);
        }
        self.queue_for_locks(run, step, &wishes).await?;
        self.take_if_queued(run, step, &wishes)
            .await?
            .ok_or_else(|| Error::Data(format!("the claims of build {} on its locks vanished", run.build)))
    }

    /// `None`: it has no place in one of the queues yet.
    async fn take_if_queued(&self, run: &RunKey, step: i64, wishes: &[LockWish]) -> Result<Option<bool>> {
        self.may_act()?;
        let taken = self.db().tx("take_locks", |tx| async move {
            runs::fence(&tx, run).await?;
            take(&tx, run.build, step, wishes).await
        });
        taken.await.map(|committed| committed.into_inner())
    }

    async fn queue_for_locks(&self, run: &RunKey, step: i64, wishes: &[LockWish]) -> Result<()> {
        self.may_act()?;
        let queued = self.db().tx("queue_for_locks", |tx| async move {
            runs::fence(&tx, run).await?;
            for wish in wishes {
                let claim = LockClaim {
                    exclusive: wish.exclusive,
                    units: wish.units,
                    build: run.build,
                    step,
                    held: false,
                };
                locks::enqueue(&tx, &wish.lock, &claim).await?;
            }
            Ok::<_, Error>(())
        });
        queued.await.map(|committed| committed.into_inner())
    }

    /// Whether a set of locks could be taken at once by a newcomer: what the distributor looks at.
    pub async fn locks_look_free(&self, wishes: &[LockWish]) -> Result<bool> {
        if wishes.is_empty() {
            return Ok(true);
        }
        self.db()
            .read("locks_look_free", |tx| async move {
                for wish in wishes {
                    let mut queue = queue(&tx, &wish.lock).await?;
                    queue.push(Queued { exclusive: wish.exclusive, units: wish.units, held: false });
                    if !is_available(&queue, queue.len() - 1, wish.max_count) {
                        return Ok(false);
                    }
                }
                Ok::<_, Error>(true)
            })
            .await
    }

    /// Leaves the queues, or gives back what is held: the wait was given up.
    pub async fn drop_locks(&self, run: &RunKey, step: i64) -> Result<()> {
        self.may_act()?;
        let dropped = self.db().tx("drop_locks", |tx| async move {
            runs::fence(&tx, run).await?;
            locks::release_step(&tx, run.build, step).await?;
            Ok::<_, Error>(())
        });
        dropped.await.map(|committed| committed.into_inner())
    }
}

async fn take(tx: &Tx, build: BuildId, step: i64, wishes: &[LockWish]) -> Result<Option<bool>> {
    for wish in wishes {
        let claims = locks::lock_queue(tx, &wish.lock).await?;
        let Some(mine) = claims.iter().position(|claim| claim.build == build && claim.step == step) else {
            return Ok(None);
        };
        let mut queue: Vec<Queued> = claims.iter().map(queued).collect();
        if queue[mine].held {
            continue;
        }
        if !is_available(&queue, mine, wish.max_count) {
            return Ok(Some(false));
        }
        queue[mine].held = true;
        debug_check(|| lock_is_not_over_held(&queue, wish.max_count));
    }
    locks::hold(tx, build, step).await?;
    Ok(Some(true))
}

async fn queue(tx: &Tx, lock: &str) -> Result<Vec<Queued>> {
    Ok(locks::queue(tx, lock).await?.iter().map(queued).collect())
}

fn queued(claim: &LockClaim) -> Queued {
    Queued { exclusive: claim.exclusive, units: claim.units, held: claim.held }
}
