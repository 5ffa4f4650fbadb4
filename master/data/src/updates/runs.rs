//! Builds while they run: claimed, written about by their owner alone, finished in one place.

use std::{collections::BTreeSet, sync::Arc};

use futures_util::future::join;
use muster_bus::Event;
use muster_core::{
    BuildId, BuilderId, Claim, LogKind, MasterId, Properties, Property, RequestId, Results, StepUrl,
    Timestamp, WorkerId,
};
use muster_store::{
    Result, Tx,
    builds::{self, NewBuild},
    buildsets,
    chunks::Chunk,
    query,
    runs::{self, JournalRow, RunKey, RunRow},
    workers,
};

use serde_json::Value;

use super::buildsets::request_event_of;
use crate::{Data, now, resources};

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
        let committed = self.db().tx("start_runs", |tx| async move { start(&tx, master, wanted).await });
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

/// That properties of a build were set, with these.
pub(super) fn properties_event(build: BuildId, set: Value) -> Event {
    Event::new([format!("builds/{build}/properties/update")], set)
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

async fn start(tx: &Tx, master: MasterId, wanted: &[NewRun]) -> Result<(Vec<Started>, Vec<Event>)> {
    let now = now();
    // Another master may have a worker's session by now, or somebody has paused it.
    let workers: Vec<WorkerId> = wanted.iter().map(|run| run.worker).collect();
    let workers = workers::may_start(tx, &workers, master).await?;
    // A request has one build, however often it is wanted.
    let mut requests = BTreeSet::new();
    let wanted = wanted.iter().filter(|run| workers.contains(&run.worker) && requests.insert(run.request));
    let wanted: Vec<&NewRun> = wanted.collect();
    let requests: Vec<RequestId> = wanted.iter().map(|run| run.request).collect();
    let claimed = buildsets::claim_free(tx, &requests, Claim { master, at: now }).await?;
    let wanted: Vec<&NewRun> = wanted.into_iter().filter(|run| claimed.contains(&run.request)).collect();
    if wanted.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let new =
        wanted.iter().map(|run| NewBuild { builder: run.builder, request: run.request, worker: run.worker });
    let numbers = builds::next_numbers(tx, wanted.iter().map(|run| run.builder).collect());
    let (requests, numbers) = join(query::requests::by_ids(tx, &claimed), numbers).await;
    let (requests, numbers) = (requests?, numbers?);
    let builds = builds::insert(tx, &new.collect::<Vec<_>>(), numbers, master, now).await?;
    let (mut properties, mut rows) = (Vec::new(), Vec::new());
    for (run, (build, number)) in wanted.iter().zip(&builds) {
        let mut of_build = run.properties.clone();
        of_build.set("buildnumber", *number, "Build");
        properties.push((*build, of_build));
        rows.push(runs::NewRun {
            build: *build,
            worker: run.worker,
            snapshot: run.snapshot,
            plan: &run.plan,
        });
    }
    builds::insert_properties(tx, &properties).await?;
    let keys = runs::insert(tx, master, &rows, now).await?;
    for request in &claimed {
        buildsets::audit(tx, *request).await?;
    }
    let claims = requests.values().map(|request| request_event_of(request, "claimed"));
    let set = properties.iter().map(|(build, set)| properties_event(*build, resources::properties(set)));
    let events = claims.chain(set).collect();
    let started = keys.into_iter().zip(&wanted).zip(builds);
    let started = started.map(|((key, run), (_, number))| Started { key, request: run.request, number });
    Ok((started.collect(), events))
}
