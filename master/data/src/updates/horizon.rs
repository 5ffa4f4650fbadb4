//! Old changes go.

use std::time::Duration;

use muster_core::{MasterId, Role};
use muster_store::{Error, Result, changes, masters};

use crate::Data;

/// Changes that are deleted in one transaction: nobody waits long for one.
const BATCH: i64 = 100;
/// The wait between two such transactions, in which others have their turn.
const PAUSE: Duration = Duration::from_millis(20);

impl Data {
    /// Deletes all changes but the newest, if it is on this master to do so: it is the first of those that run schedulers.
    /// Builds keep their sourcestamps. Answers how many were deleted.
    pub async fn prune_changes(&self, master: MasterId, kept: u64) -> Result<usize> {
        let found = self.db().read("changes_to_prune", |tx| async move {
            let first = masters::live_with(&tx, Role::Scheduler).await?.first().copied();
            Ok::<_, Error>((first, changes::behind_newest(&tx, kept).await?))
        });
        let (first, Some(last)) = found.await? else { return Ok(0) };
        if first != Some(master) {
            return Ok(0);
        }
        let mut deleted = 0;
        loop {
            self.may_act()?;
            let pruned = self
                .db()
                .tx("prune_changes", |tx| async move { changes::delete_oldest(&tx, last, BATCH).await });
            let pruned = pruned.await?.into_inner();
            deleted += pruned;
            if pruned < BATCH as usize {
                return Ok(deleted);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
