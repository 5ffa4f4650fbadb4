//! Orders of people and programs, carried out by the engine that has the thing.

use std::time::Duration;

use muster_bus::Event;
use muster_core::{Topic, TopicFilter, WorkerId};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{Engine, effects::StopOrder, sessions::Slot};

/// How often orders are looked for although no event came.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// How long a look waits for more, when a worker came, went or became free: thousands may come at once.
const GATHER: Duration = Duration::from_millis(20);

/// Carries out orders until `leaving`.
pub(crate) async fn run(engine: Engine, leaving: CancellationToken) {
    let filters = [TopicFilter::parse("control/builds/*/stop"), TopicFilter::parse("control/worker/*/*")];
    let connected = TopicFilter::parse("workers/*/connected");
    let mut events = engine.data().bus().subscribe();
    let mut workers = engine.slots().changes();
    // A worker may come whose orders were given while it was away.
    let mut come = engine.slots().arrivals();
    loop {
        come.mark_unchanged();
        if let Err(error) = carry_out(&engine).await {
            tracing::error!(%error, "can't look for orders; trying again");
        }
        if let Err(error) = engine.let_go_of_what_moved().await {
            tracing::error!(%error, "can't look which builds are this master's; trying again");
        }
        let wanted = |event: &Event| {
            filters.iter().any(|filter| event.matching(filter).is_some())
                || event.matching(&connected).is_some_and(|topic| is_busy_here(&engine, topic))
        };
        tokio::select! {
            () = wait_for(&mut events, wanted) => {}
            () = gathered(&mut come) => {}
            () = send_away(&engine, &mut workers) => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {}
            () = leaving.cancelled() => return,
        }
    }
}

/// Lets workers go that were asked to, as soon as their last build is over. Returns a while after the database has refused.
async fn send_away(engine: &Engine, workers: &mut watch::Receiver<u64>) {
    loop {
        workers.mark_unchanged();
        for slot in engine.slots().all().into_iter().filter(Slot::may_go) {
            slot.shut_down();
            if let Err(error) = engine.data().worker_order_done(slot.id()).await {
                tracing::error!(%error, "can't note that a worker was sent away; trying again");
                return tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
        gathered(workers).await;
    }
}

/// Waits for a change, and a moment for those that come with it.
async fn gathered(counted: &mut watch::Receiver<u64>) {
    // The slots hold the sender.
    drop(counted.changed().await);
    tokio::time::sleep(GATHER).await;
}

/// Whether an event is about a worker on which builds run here, as far as this master knows: it may have gone elsewhere.
fn is_busy_here(engine: &Engine, topic: &Topic) -> bool {
    let id = topic.0.get(1).and_then(|id| id.parse().ok()).map(WorkerId);
    id.and_then(|id| engine.slots().by_id(id)).is_some_and(|slot| slot.is_busy())
}

impl Engine {
    /// Puts down the runs that have another owner by now: their worker dialled it, or this master was expired.
    pub async fn let_go_of_what_moved(&self) -> muster_store::Result<()> {
        // Before the look at the rows: a run that begins meanwhile is not missed there.
        let here = self.0.runs.keys();
        if here.is_empty() {
            return Ok(());
        }
        let owned = self.data().owned_runs(self.master()).await?;
        for key in here.iter().filter(|key| !owned.contains(key)) {
            self.0.runs.put_down(key);
        }
        Ok(())
    }

    /// This master was expired and has joined again: what it had is others' now, and its workers have to dial again.
    ///
    /// # Errors
    /// Whatever the database says.
    pub async fn rejoined(&self) -> muster_store::Result<()> {
        self.let_go_of_what_moved().await?;
        for slot in self.slots().all() {
            slot.close("this master had lost its lease");
        }
        Ok(())
    }
}

/// Waits for an event that `wanted` selects, or for the news that some were missed.
pub(crate) async fn wait_for(events: &mut muster_bus::Subscription, wanted: impl Fn(&Event) -> bool) {
    if !events.wait_for(wanted).await {
        // The bus is gone; the timer still works.
        std::future::pending().await
    }
}

async fn carry_out(engine: &Engine) -> muster_store::Result<()> {
    for (build, number, reason) in engine.data().open_stops().await? {
        engine.0.runs.stop(build, StopOrder { number, reason });
    }
    let mut is_elsewhere = false;
    for (worker, at_once) in engine.data().open_worker_orders().await? {
        // Whoever has the worker carries its order out, and nobody else strikes it.
        let Some(slot) = engine.slots().by_id(worker).filter(Slot::is_connected) else {
            is_elsewhere = true;
            continue;
        };
        slot.leave();
        if at_once {
            slot.shut_down();
            engine.data().worker_order_done(worker).await?;
        }
    }
    if is_elsewhere {
        engine.data().drop_stale_worker_orders().await?;
    }
    Ok(())
}
