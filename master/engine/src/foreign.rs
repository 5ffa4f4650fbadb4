//! Orders of Buildbot's masters on the same router, and ours for them.

use std::time::Duration;

use muster_bus::Received;
use muster_data::ForeignOrder;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::Engine;

/// How often orders for masters of Buildbot are told again until they show effect.
const TELL_AGAIN: Duration = Duration::from_secs(5);
/// How long an order is kept in memory while the database can't take it. Then it is lost, and the log says so; those that
/// come meanwhile wait on the bus.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two attempts to write an order down.
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// Keeps what comes and tells what goes, until `leaving`.
pub(crate) async fn run(engine: Engine, leaving: CancellationToken) {
    tokio::select! {
        () = keep(&engine) => {}
        () = tell(&engine) => {}
        () = leaving.cancelled() => {}
    }
}

async fn keep(engine: &Engine) {
    let mut events = engine.data().bus().subscribe();
    let mut told_of_strangers = false;
    while let Some(received) = events.next().await {
        // Orders that were missed are gone: nobody has them but who gave them.
        let Received::Event(event) = received else { continue };
        if let Some(order) = ForeignOrder::of(&event) {
            write_down(engine, &order, &mut told_of_strangers).await;
        }
    }
    std::future::pending().await
}

async fn write_down(engine: &Engine, order: &ForeignOrder, told_of_strangers: &mut bool) {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let error = match engine.data().keep_foreign(order).await {
            Ok(true) => return,
            Ok(false) => {
                // Once: whoever sends them may send many.
                if !std::mem::replace(told_of_strangers, true) {
                    tracing::warn!(
                        ?order,
                        "an order came over the router, but no master of Buildbot lives on this database; it and further \
                         ones are ignored"
                    );
                }
                return;
            }
            Err(error) => error,
        };
        if !error.is_transient() || Instant::now() >= give_up {
            tracing::error!(%error, ?order, "an order of a Buildbot master can't be written down; it is lost");
            return;
        }
        tracing::debug!(%error, "can't write an order down; trying again");
        sleep(TRY_AGAIN).await;
    }
}

async fn tell(engine: &Engine) {
    let mut ticks = interval(TELL_AGAIN);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = engine.data().tell_foreign().await {
            tracing::debug!(%error, "can't look for orders that Buildbot's masters have to hear");
        }
    }
}
