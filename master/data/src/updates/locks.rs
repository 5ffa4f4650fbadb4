//! Locks of builds and steps, which hold in the whole cluster.

use muster_core::{
    BuildId,
    invariants::{debug_check, lock_is_not_over_held},
    lock::{Queued, is_available},
};
use muster_store::{
    Error, Result, Tx, builds,
    locks::{self, LockClaim},
    runs::{self, RunKey},
};

use crate::Data;

/// Builds that are named as holders of a lock.
const HOLDERS: usize = 3;

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

    /// What keeps a newcomer from taking a set of locks at once, for people: what the distributor looks at. `None`: they look
    /// free.
    pub async fn locks_in_the_way(&self, wishes: &[LockWish]) -> Result<Option<String>> {
        if wishes.is_empty() {
            return Ok(None);
        }
        self.db()
            .read("locks_in_the_way", |tx| async move {
                for wish in wishes {
                    let claims = locks::queue(&tx, &wish.lock).await?;
                    let mut queue: Vec<Queued> = claims.iter().map(queued).collect();
                    queue.push(Queued { exclusive: wish.exclusive, units: wish.units, held: false });
                    if !is_available(&queue, queue.len() - 1, wish.max_count) {
                        return who_has(&tx, &wish.lock, &claims).await.map(Some);
                    }
                }
                Ok::<_, Error>(None)
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

/// Who holds a lock, or waits for it in front of everybody: a few of them by their names.
async fn who_has(tx: &Tx, lock: &str, claims: &[LockClaim]) -> Result<String> {
    let name = match lock.rsplit_once('@') {
        Some((name, worker)) => format!("the lock {name} of the worker {worker}"),
        None => format!("the lock {lock}"),
    };
    let holders: Vec<&LockClaim> = claims.iter().filter(|claim| claim.held).collect();
    let (verb, those) = match holders.is_empty() {
        false => ("is held by", holders),
        true => ("is waited for by", claims.iter().collect()),
    };
    let mut builds: Vec<BuildId> = those.iter().map(|claim| claim.build).collect();
    builds.dedup();
    let mut named = Vec::new();
    for build in builds.iter().take(HOLDERS) {
        named.push(builds::name_of(tx, *build).await?.unwrap_or_else(|| format!("build {build}")));
    }
    let more = builds.len() - named.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Ok(match named.is_empty() {
        // It asks for more than there is.
        true => format!("{name} has fewer units than are wanted"),
        false => format!("{name} {verb} {}{more}", named.join(", ")),
    })
}

fn queued(claim: &LockClaim) -> Queued {
    Queued { exclusive: claim.exclusive, units: claim.units, held: claim.held }
}
