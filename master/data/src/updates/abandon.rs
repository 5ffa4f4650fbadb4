//! Builds that nobody is to go on with: they end so that their requests are pending again.

use muster_bus::Event;
use muster_core::{Epoch, MasterId, RequestId, Results, Timestamp, lease::BUILDBOT_DEAD};
use muster_store::{
    Error, Result, Tx, buildsets, control, locks, masters,
    runs::{self, RunKey, RunRow},
    steps,
};

use super::{RunPart, RunWrite, buildsets::request_event, commit::write};
use crate::{Data, now};

/// Seconds for which a build of a master that is shown as down is left alone: Buildbot begins to build a moment before it
/// shows itself as up.
const JUST_BEGUN: i64 = 60;

impl Data {
    /// Ends what masters that are gone have left, whoever they were, and frees what they had claimed. Answers how many builds.
    pub async fn end_what_the_dead_left(&self) -> Result<usize> {
        self.may_act()?;
        let looked = self.db().look("what_the_dead_left", |tx| async move {
            let left = masters::left_by_the_dead(&tx, alive(), just_begun()).await?;
            Ok::<_, Error>(left.len() + runs::ended_by_others(&tx).await?.len())
        });
        if looked.await? == 0 {
            return Ok(0);
        }
        let committed = self.db().tx("end_what_the_dead_left", |tx| async move {
            let left = masters::left_by_the_dead(&tx, alive(), just_begun()).await?;
            let (mut events, ended) = (Vec::new(), left.len());
            drop_ended_runs(&tx).await?;
            for (master, build, request) in left {
                let key = RunKey { build, owner: master, epoch: Epoch(0) };
                events.extend(abandon(&tx, &key, request, "its master is gone").await?);
            }
            Ok::<_, Error>((ended, events))
        });
        Ok(self.tell(committed.await?))
    }
}

fn just_begun() -> Timestamp {
    Timestamp(now().0 - JUST_BEGUN)
}

/// Since when a Buildbot must have been heard of to count as alive.
pub(super) fn alive() -> Timestamp {
    Timestamp(now().0 - BUILDBOT_DEAD.as_secs() as i64)
}

/// Ends everything that a former life under a master's name has left which is no run of Muster's: builds with their steps
/// and logs, steps and logs of builds that are over, claims of requests that nobody builds.
pub(super) async fn end_former_life(tx: &Tx, master: MasterId) -> Result<(usize, Vec<Event>)> {
    let mut events = Vec::new();
    drop_ended_runs(tx).await?;
    let left = runs::builds_of_buildbot(tx, master).await?;
    for (build, request) in &left {
        let key = RunKey { build: *build, owner: master, epoch: Epoch(0) };
        events.extend(abandon(tx, &key, *request, "its master is gone").await?);
    }
    for request in buildsets::unclaim_orphans(tx).await? {
        events.push(request_event(tx, request, "unclaimed").await?);
    }
    Ok((left.len(), events))
}

/// Forgets runs whose builds a Buildbot has ended meanwhile: its word stands, and its requests are its own.
async fn drop_ended_runs(tx: &Tx) -> Result<()> {
    let over = runs::ended_by_others(tx).await?;
    if !over.is_empty() {
        tracing::warn!(
            builds = over.len(),
            "somebody else has ended builds that ran here; their runs are forgotten"
        );
        runs::delete_all(tx, &over).await?;
        locks::release_builds(tx, &over).await?;
        control::builds_are_over(tx, &over).await?;
    }
    Ok(())
}

/// Ends a run that nobody is to go on with, whoever owns it: its request is pending again.
pub(super) async fn give_up(tx: &Tx, run: &RunRow, reason: &str) -> Result<Vec<Event>> {
    let key = runs::adopt(tx, &run.key, run.key.owner).await?;
    abandon(tx, &key, run.request, reason).await
}

/// Ends a build, with all that is unfinished of it, so that its request is pending again; or for good, where somebody has
/// ordered it to stop.
pub(super) async fn abandon(tx: &Tx, key: &RunKey, request: RequestId, reason: &str) -> Result<Vec<Event>> {
    let at = now();
    let ordered = control::newest(tx, "build", key.build.0).await?;
    let (results, state) = match ordered.filter(|order| order.action == "stop") {
        Some(_) => (Results::Cancelled, "build stopped".to_owned()),
        None => (Results::Retry, format!("retry {reason}")),
    };
    let unfinished = steps::of_build(tx, key.build).await?.into_iter().filter(|row| row.results.is_none());
    let mut writes: Vec<RunWrite> = unfinished
        .map(|row| RunWrite::StepFinished {
            step: u32::try_from(row.number).unwrap_or_default(),
            results,
            hidden: false,
            state: row.state_string,
            at,
        })
        .collect();
    writes.push(RunWrite::BuildFinished { results, state, at });
    write(tx, &RunPart { run: *key, request, writes: &writes }).await
}
