//! Rows to work with.

use muster_core::{
    BuildId, BuilderId, Claim, Log, LogId, LogKind, MasterId, Properties, RequestId, Step, StepId, Timestamp,
    WorkerId,
};
use muster_store::{
    Db, Error, Result, Tx,
    builders::{self, BuilderInfo},
    builds::{self, NewBuild},
    buildsets::{self, BuildsetRow},
    chunks::Chunk,
    masters,
    runs::{self, NewRun, RunKey},
    steps::{self, Placed},
    workers,
};

/// The moment at which everything in these tests happens.
pub const NOW: Timestamp = Timestamp(1_700_000_000);

/// A claim of `master`, made now.
pub fn claim(master: MasterId) -> Claim {
    Claim { master, at: NOW }
}

/// Runs a body in a transaction, and expects that it commits.
pub async fn tx<T, Fut>(db: &Db, body: impl FnMut(Tx) -> Fut) -> T
where
    Fut: Future<Output = Result<T>>,
{
    db.tx::<T, Error, _, _>("test", body).await.unwrap().into_inner()
}

/// Some masters.
pub async fn masters(db: &Db, count: usize) -> Vec<MasterId> {
    let mut all = Vec::new();
    for number in 0..count {
        all.push(
            tx(db, |tx| async move { masters::find_or_create(&tx, &format!("host{number}:/srv")).await })
                .await,
        );
    }
    all
}

/// Some builders of `master`, with a worker that may build for all of them.
pub async fn builders(db: &Db, master: MasterId, count: usize) -> (Vec<BuilderId>, WorkerId) {
    tx(db, |tx| async move {
        let mut all = Vec::new();
        for number in 0..count {
            let info = BuilderInfo { name: format!("builder {number}"), ..BuilderInfo::default() };
            all.push(builders::configure(&tx, master, &info).await?);
        }
        let worker = workers::find_or_create(&tx, "worker").await?;
        workers::configure(&tx, master, worker, &all).await?;
        Ok((all, worker))
    })
    .await
}

/// One running build of `master`: its id and number.
pub async fn build(
    tx: &Tx,
    builder: BuilderId,
    request: RequestId,
    worker: WorkerId,
    master: MasterId,
) -> Result<(BuildId, i64)> {
    let build = NewBuild { builder, request, worker };
    let numbers = builds::next_numbers(tx, [builder].into()).await?;
    builds::insert(tx, &[build], numbers, master, NOW).await.map(|made| made[0])
}

/// The run of a build.
pub async fn run(
    tx: &Tx,
    build: BuildId,
    master: MasterId,
    worker: WorkerId,
    snapshot: i64,
) -> Result<RunKey> {
    let run = NewRun { build, worker, snapshot, plan: "[]" };
    runs::insert(tx, master, &[run], NOW).await.map(|made| made[0])
}

/// `count` pending requests, on each of the builders in turn, in one buildset.
pub async fn requests(db: &Db, builders: &[BuilderId], count: usize) -> Vec<RequestId> {
    tx(db, |tx| async move {
        let row = BuildsetRow { reason: "test".to_owned(), ..BuildsetRow::default() };
        let buildset = buildsets::insert(&tx, &row, &Properties::new(), &[], NOW).await?;
        let mut all = Vec::new();
        for builder in builders.iter().cycle().take(count) {
            all.push(buildsets::insert_requests(&tx, buildset, &[*builder], 0, false, NOW).await?[0]);
        }
        Ok(all)
    })
    .await
}

/// A step of a build that has just begun, and is stored.
pub async fn step(tx: &Tx, build: BuildId, name: &str) -> Result<Step> {
    let mut step = Step {
        id: StepId(0),
        build,
        number: 0,
        name: name.to_owned(),
        started_at: Some(NOW),
        locks_acquired_at: None,
        complete_at: None,
        state_string: "starting".to_owned(),
        results: None,
        urls: Vec::new(),
        hidden: false,
    };
    step.id = steps::insert_all(tx, &[&step]).await?[0];
    Ok(step)
}

/// An empty log of a step, stored.
pub async fn log(tx: &Tx, step: StepId, name: &str, kind: LogKind) -> Result<Log> {
    let mut log = Log {
        id: LogId(0),
        step,
        name: name.to_owned(),
        slug: name.to_owned(),
        complete: false,
        num_lines: 0,
        kind,
    };
    log.id = steps::insert_logs(tx, &[&log]).await?[0];
    Ok(log)
}

/// Appends chunks to a log.
pub async fn append(tx: &Tx, log: LogId, chunks: &[Chunk]) -> Result<()> {
    let mut log = steps::log_by_id(tx, log).await?.expect("the log is there");
    let mut placed = Vec::new();
    for chunk in chunks {
        placed.push(Placed(log.id, log.num_lines, chunk));
        log.num_lines += chunk.lines;
    }
    steps::insert_chunks(tx, &placed).await?;
    steps::update_logs(tx, &[&log]).await
}
