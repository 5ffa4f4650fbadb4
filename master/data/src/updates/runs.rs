//! Builds while they run: claimed, written about by their owner alone, finished in one place.

use std::sync::Arc;

use muster_bus::Event;
use muster_core::{
    BuilderId, Claim, LogKind, MasterId, Properties, Property, RequestId, Results, StepUrl, Timestamp,
    WorkerId,
};
use muster_store::{
    Error, Result, Tx, builds, buildsets,
    chunks::Chunk,
    runs,
    runs::{JournalRow, RunKey, RunRow},
    workers,
};

use super::buildsets::request_event;
use crate::{Data, now};

/// A build to be started, as the distributor decided.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct NewRun {
    pub request: RequestId,
    pub builder: BuilderId,
    pub worker: WorkerId,
    pub snapshot: i64,
    /// JSON of the plan.
    pub plan: Arc<str>,
    /// All properties but `buildnumber`, which is known only now.
    pub properties: Properties,
}

/// A build that was started.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Started {
    pub key: RunKey,
    pub request: RequestId,
    pub number: i64,
}

/// Something that a run's owner writes. Steps are addressed by their number, logs by name: the owner is the only
/// writer, so it knows them before the database does.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum RunWrite {
    BuildState(String),
    /// The build is shown from now on.
    BuildAnnounced,
    LocksDuration(i64),
    Plan(String),
    Property {
        name: String,
        property: Property,
    },
    StepStarted {
        step: u32,
        name: String,
        state: String,
        at: Timestamp,
    },
    StepLocksAcquired {
        step: u32,
        at: Timestamp,
    },
    StepState {
        step: u32,
        state: String,
    },
    StepUrl {
        step: u32,
        url: StepUrl,
    },
    /// Finishes its open logs, releases its locks and drops its journal, too.
    StepFinished {
        step: u32,
        results: Results,
        hidden: bool,
        state: String,
        at: Timestamp,
    },
    LogAdded {
        step: u32,
        slug: String,
        name: String,
        kind: LogKind,
    },
    LogAppended {
        step: u32,
        slug: String,
        chunks: Vec<Chunk>,
    },
    LogFinished {
        step: u32,
        slug: String,
    },
    Journal(JournalRow),
    /// The run is over: request and buildset are completed (or, on retry, the request is pending again), all locks
    /// are released. The last write of a run.
    BuildFinished {
        results: Results,
        state: String,
        at: Timestamp,
    },
}

impl Data {
    /// Claims requests and starts their builds, each one whole or not at all; a request that somebody else has is
    /// left out.
    pub async fn start_runs(&self, master: MasterId, wanted: &[NewRun]) -> Result<Vec<Started>> {
        self.may_act()?;
        let committed = self.db().tx("start_runs", |tx| async move {
            let (mut started, mut events) = (Vec::new(), Vec::new());
            for run in wanted {
                if let Some((run, told)) = start(&tx, master, run).await? {
                    started.push(run);
                    events.extend(told);
                }
            }
            Ok::<_, Error>((started, events))
        });
        Ok(self.tell(committed.await?))
    }

    /// Takes over the runs that `owner` left behind: their epochs are raised, so that nobody else can write.
    pub async fn adopt_runs(&self, owner: MasterId, me: MasterId) -> Result<Vec<RunRow>> {
        self.may_act()?;
        let adopted = self.db().tx("adopt_runs", |tx| async move {
            let runs = runs::of_owner(&tx, owner).await?;
            adopt(&tx, runs, me).await
        });
        adopted.await.map(|committed| committed.into_inner())
    }
}

/// Makes `me` the owner of runs, of their builds and of their claims.
pub(super) async fn adopt(tx: &Tx, mut runs: Vec<RunRow>, me: MasterId) -> Result<Vec<RunRow>> {
    for run in &mut runs {
        run.key = runs::adopt(tx, &run.key, me).await?;
        builds::set_master(tx, run.key.build, me).await?;
        buildsets::move_claim(tx, run.request, me).await?;
    }
    Ok(runs)
}

async fn start(tx: &Tx, master: MasterId, run: &NewRun) -> Result<Option<(Started, Vec<Event>)>> {
    let now = now();
    // Another master may have the worker's session by now, or somebody has paused it.
    if !workers::may_start(tx, run.worker, master).await? {
        return Ok(None);
    }
    if !buildsets::claim(tx, run.request, Claim { master, at: now }).await? {
        return Ok(None);
    }
    let (build, number) = builds::insert(tx, run.builder, run.request, run.worker, master, now).await?;
    let mut properties = run.properties.clone();
    properties.set("buildnumber", number, "Build");
    builds::insert_properties(tx, build, &properties).await?;
    let key = runs::insert(tx, build, master, run.worker, run.snapshot, &run.plan, now).await?;
    buildsets::audit(tx, run.request).await?;
    let events = vec![request_event(tx, run.request, "claimed").await?];
    Ok(Some((Started { key, request: run.request, number }, events)))
}
