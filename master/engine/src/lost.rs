//! Stock workers that don't come back: when their gateway has ended, or has lost the connection while no engine was there to
//! hear of it, the commands are gone, and nobody has to wait for the worker's grace to be over. A gateway that stands still
//! is another matter, and looks like a dead one to who sees its lease only: its workers' grace decides.

use std::{collections::HashMap, time::Duration};

use muster_core::WorkerId;
use muster_session::BootId;
use tokio_util::sync::CancellationToken;

use crate::{Engine, sessions::Missed};

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
        let workers: Vec<WorkerId> = missed.iter().map(|missed| missed.slot.id()).collect();
        match engine.data().lost_stock_lives(&workers).await {
            Ok(lost) => {
                let lost: HashMap<WorkerId, String> = lost.into_iter().collect();
                for Missed { slot, dial_no } in missed {
                    if let Some(boot) = lost.get(&slot.id()) {
                        slot.lose(BootId(boot.clone()), dial_no);
                    }
                }
            }
            Err(error) => tracing::debug!(%error, "can't look whether stock workers are gone; trying again"),
        }
    }
}
