//! `changeHorizon`: of the changes, only the newest are kept.

use std::{sync::Arc, time::Duration};

use muster_config::snapshot::Snapshot;
use muster_core::MasterId;
use muster_data::Data;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often changes are deleted, as in Buildbot.
const PAUSE: Duration = Duration::from_secs(3600);
/// The wait after a start, in which other things are more urgent.
const FIRST: Duration = Duration::from_secs(2);

/// Deletes what is behind the horizon of the newest configuration, until `stop`. Of several masters one does it.
pub async fn keep_horizon(
    data: Data,
    master: MasterId,
    mut snapshot: watch::Receiver<Arc<Snapshot>>,
    stop: CancellationToken,
) {
    let mut pause = FIRST;
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            changed = snapshot.changed() => if changed.is_err() { return },
            () = stop.cancelled() => return,
        }
        pause = PAUSE;
        // Python's zero is no horizon, either.
        let horizon = snapshot.borrow_and_update().change_horizon.filter(|horizon| *horizon > 0);
        let Some(horizon) = horizon else { continue };
        let pruned = tokio::select! {
            pruned = data.prune_changes(master, horizon) => pruned,
            () = stop.cancelled() => return,
        };
        match pruned {
            Ok(0) => {}
            Ok(deleted) => tracing::info!(deleted, horizon, "deleted changes behind c['changeHorizon']"),
            Err(error) => tracing::warn!(%error, "can't delete old changes; trying again later"),
        }
    }
}

#[cfg(test)]
mod tests {
    use muster_core::Roles;
    use muster_data::Life;
    use muster_store::query::{self, Select};

    use crate::testing::World;

    #[tokio::test]
    async fn the_newest_changes_are_kept_and_one_master_deletes_the_others() {
        let world = World::new().await;
        for number in 0..250 {
            world.commit("main", &format!("r{number}")).await;
        }
        let life = Life {
            incarnation: "one".to_owned(),
            roles: Roles::default(),
            version: String::new(),
            sessions: Vec::new(),
        };
        world
            .data
            .master_starts("master", &life, None, &[], muster_data::Beside::Others, false)
            .await
            .unwrap();
        assert_eq!(world.data.prune_changes(muster_core::MasterId(99), 5).await.unwrap(), 0);
        assert_eq!(world.data.prune_changes(world.master, 300).await.unwrap(), 0);
        assert_eq!(world.data.prune_changes(world.master, 5).await.unwrap(), 245);
        let left = world
            .data
            .db()
            .read("changes_of_test", |tx| async move { query::changes::list(&tx, &Select::all()).await });
        let mut left: Vec<i64> = left.await.unwrap().into_iter().map(|change| change.id.0).collect();
        left.sort_unstable();
        assert_eq!(left, [246, 247, 248, 249, 250]);
        assert_eq!(world.data.prune_changes(world.master, 5).await.unwrap(), 0);
    }
}
