//! Stock workers that don't come back: when their gateway has ended, or has lost the connection while no engine was there to
//! hear of it, the commands are gone, and nobody has to wait for the worker's grace to be over.

use std::time::Duration;

use muster_session::BootId;
use tokio_util::sync::CancellationToken;

use crate::Engine;

/// How often it is looked, while workers that have builds are away: a build that is lost is tried again after this time.
const LOOK: Duration = Duration::from_secs(1);

/// Looks for lives of workers that are over for good, until `leaving`.
pub(crate) async fn run(engine: Engine, leaving: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = leaving.cancelled() => return,
        }
        let missed = engine.slots().missed();
        if missed.is_empty() {
            continue;
        }
        match engine.data().lost_stock_lives(&missed).await {
            Ok(lost) => {
                for (worker, boot) in lost {
                    if let Some(slot) = engine.slots().by_id(worker) {
                        slot.lose(BootId(boot));
                    }
                }
            }
            Err(error) => tracing::debug!(%error, "can't look whether stock workers are gone; trying again"),
        }
    }
}
