//! Builds that nobody is to go on with: they end so that their requests are pending again.

use muster_bus::Event;
use muster_core::{RequestId, Results};
use muster_store::{
    Result, Tx,
    runs::{self, RunKey, RunRow},
    steps,
};

use super::{RunPart, RunWrite, commit::write};
use crate::now;

/// Ends a run that nobody is to go on with, whoever owns it: its request is pending again.
pub(super) async fn give_up(tx: &Tx, run: &RunRow, reason: &str) -> Result<Vec<Event>> {
    let key = runs::adopt(tx, &run.key, run.key.owner).await?;
    abandon(tx, &key, run.request, reason).await
}

/// Ends a build, with all that is unfinished of it, so that its request is pending again.
pub(super) async fn abandon(tx: &Tx, key: &RunKey, request: RequestId, reason: &str) -> Result<Vec<Event>> {
    let at = now();
    let unfinished = steps::of_build(tx, key.build).await?.into_iter().filter(|row| row.results.is_none());
    let mut writes: Vec<RunWrite> = unfinished
        .map(|row| RunWrite::StepFinished {
            step: u32::try_from(row.number).unwrap_or_default(),
            results: Results::Retry,
            hidden: false,
            state: row.state_string,
            at,
        })
        .collect();
    writes.push(RunWrite::BuildFinished { results: Results::Retry, state: format!("retry {reason}"), at });
    write(tx, &RunPart { run: *key, request, writes: &writes }).await
}
