//! Orders of people and programs, carried out by the engine that has the thing.

use std::time::Duration;

use muster_bus::{Event, Received};
use muster_core::TopicFilter;
use tokio_util::sync::CancellationToken;

use crate::Engine;

/// How often orders are looked for although no event came.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Carries out orders until `leaving`.
pub(crate) async fn run(engine: Engine, leaving: CancellationToken) {
    let filters = [TopicFilter::parse("control/builds/*/stop"), TopicFilter::parse("control/worker/*/*")];
    let mut events = engine.data().bus().subscribe();
    let mut workers = engine.slots().changes();
    loop {
        if let Err(error) = carry_out(&engine).await {
            tracing::error!(%error, "can't look for orders; trying again");
        }
        let wanted = |event: &Event| filters.iter().any(|filter| event.matching(filter).is_some());
        tokio::select! {
            () = wait_for(&mut events, wanted) => {}
            _ = workers.changed() => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {}
            () = leaving.cancelled() => return,
        }
    }
}

/// Waits for an event that `wanted` selects, or for the news that some were missed.
pub(crate) async fn wait_for(events: &mut muster_bus::Subscription, wanted: impl Fn(&Event) -> bool) {
    loop {
        match events.next().await {
            Some(Received::Event(event)) if !wanted(&event) => {}
            Some(_) => return,
            None => return std::future::pending().await,
        }
    }
}

async fn carry_out(engine: &Engine) -> muster_store::Result<()> {
    for (build, reason) in engine.data().open_stops().await? {
        engine.0.runs.stop(build, &reason);
    }
    for (worker, at_once) in engine.data().open_worker_orders().await? {
        let Some(slot) = engine.slots().by_id(worker) else { continue };
        slot.leave();
        if at_once {
            slot.shut_down();
            engine.data().worker_order_done(worker).await?;
        }
    }
    for slot in engine.slots().all() {
        if slot.may_go() {
            slot.shut_down();
            engine.data().worker_order_done(slot.id()).await?;
        }
    }
    Ok(())
}
