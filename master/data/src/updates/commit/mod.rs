//! What the owners of runs write, committed for many runs at once.
//!
//! The writes of a commit are folded in memory first: a step that began, changed and ended in between is one row with
//! one statement. What is read before and written afterwards is read and written for all runs together.

mod ends;
mod fold;

use futures_util::future::join;
use muster_bus::Event;
use muster_core::RequestId;
use muster_store::{
    Error, Result, Tx,
    runs::{self, RunKey},
};

use self::fold::Fold;
use super::RunWrite;
use crate::Data;

/// What the owner of one run writes.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct RunPart<'a> {
    pub run: RunKey,
    pub request: RequestId,
    pub writes: &'a [RunWrite],
}

/// What a commit came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunsCommitted {
    /// For each part, whether its run is still its owner's. Of the others nothing was written.
    pub ours: Vec<bool>,
    /// Some log has ended whose chunks should be grouped.
    pub regroup: bool,
}

impl Data {
    /// Applies what the owners of runs write, in one fenced transaction: of a run that has another owner or epoch now,
    /// nothing is written, and the others don't notice. No build may be in two parts.
    pub async fn commit_runs(&self, parts: &[RunPart<'_>]) -> Result<RunsCommitted> {
        self.may_act()?;
        let keys: Vec<RunKey> = parts.iter().map(|part| part.run).collect();
        let keys = keys.as_slice();
        let committed = self.db().tx("commit_runs", |tx| async move {
            let (ours, fold) = join(runs::fence_all(&tx, keys), Fold::load(&tx, parts)).await;
            let (ours, mut fold) = (ours?, fold?);
            let parts = parts.iter().zip(&ours).filter(|(_, ours)| **ours).map(|(part, _)| part);
            let parts: Vec<&RunPart<'_>> = parts.collect();
            for part in &parts {
                fold.add(part)?;
            }
            let regroup = fold.store(&tx).await?;
            let events = fold.events(&tx).await?;
            let writers: Vec<RunKey> = parts.iter().map(|part| part.run).collect();
            runs::audit(&tx, &writers).await?;
            Ok::<_, Error>((RunsCommitted { ours, regroup }, events))
        });
        Ok(self.tell(committed.await?))
    }

    /// Applies what the owner of one run writes. Nothing is written when the run has another owner or epoch.
    pub async fn commit_run(&self, run: &RunKey, request: RequestId, writes: &[RunWrite]) -> Result<()> {
        let committed = self.commit_runs(&[RunPart { run: *run, request, writes }]).await?;
        if committed.ours == [true] { Ok(()) } else { Err(Error::Fenced(run.build)) }
    }
}

/// Writes about one run, in a transaction that has made sure of its owner.
pub(super) async fn write(tx: &Tx, part: &RunPart<'_>) -> Result<Vec<Event>> {
    let mut fold = Fold::load(tx, std::slice::from_ref(part)).await?;
    fold.add(part)?;
    fold.store(tx).await?;
    fold.events(tx).await
}
