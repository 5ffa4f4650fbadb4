//! What masters say about requests that wait.

use muster_core::BuilderId;
use muster_core::{MasterId, Timestamp};
use muster_store::{
    Result, query,
    reasons::{self, Reason},
};

use crate::Data;

impl Data {
    /// Says why requests wait, instead of what this master has said before.
    pub async fn say_reasons(&self, master: MasterId, reasons: &[Reason]) -> Result<()> {
        let said =
            self.db().tx("say_reasons", |tx| async move { reasons::replace(&tx, master, reasons).await });
        said.await.map(|committed| committed.into_inner())
    }

    /// When a request of each of these builders was completed last; `None`: never.
    pub async fn newest_completions(
        &self,
        builders: &[BuilderId],
    ) -> Result<Vec<(BuilderId, Option<Timestamp>)>> {
        let read = self.db().look("newest_completions", |tx| async move {
            let mut found = Vec::with_capacity(builders.len());
            for builder in builders {
                found.push((*builder, query::requests::newest_completion(&tx, *builder).await?));
            }
            Ok::<_, muster_store::Error>(found)
        });
        read.await
    }
}
