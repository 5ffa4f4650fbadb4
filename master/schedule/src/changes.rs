//! Reading and passing over changes.

use muster_core::{Change, ChangeId, SchedulerId};
use muster_data::{Classification, Data};
use muster_store::{Result, query};

/// A change; `None` when it was removed since.
pub(crate) async fn load(data: &Data, id: ChangeId) -> Result<Option<Change>> {
    data.db().read("change_for_scheduler", |tx| async move { query::changes::by_id(&tx, id).await }).await
}

/// Passes over everything that a scheduler has not looked at. Answers whether there may be more.
pub(crate) async fn ignore_unseen(data: &Data, scheduler: SchedulerId, limit: i64) -> Result<bool> {
    let unseen = data.unseen_changes(scheduler, limit).await?;
    for id in &unseen {
        data.classify_change(scheduler, *id, Classification::Ignored).await?;
    }
    Ok(unseen.len() as i64 == limit)
}
