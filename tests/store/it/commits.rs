//! What runs write together is committed together, on every engine.

use std::sync::Arc;

use muster_bus::{Bus, Received};
use muster_core::{
    BuilderId, LogKind, MasterId, Properties, Property, Results, Roles, StepUrl, Timestamp, WorkerId,
};
use muster_data::{
    Beside, BuilderSetup, Data, Life, NewBuildset, NewRun, RunPart, RunWrite, Setup, Start, Started,
    WorkerDial,
};
use muster_store::{
    Error, Result,
    builders::BuilderInfo,
    builds,
    chunks::{self, Compression},
    query, regroup,
    runs::{self, JournalRow},
    steps,
};
use muster_store_tests::data::{self, NOW, tx};

use crate::engines::{Ground, on_every_engine};

on_every_engine!(
    a_whole_build_is_one_commit,
    a_step_goes_on_over_several_commits,
    a_fenced_run_loses_its_own_part_only,
    the_last_two_requests_of_a_set_end_at_once,
    a_retried_build_gives_its_request_back,
    what_is_sent_late_is_part_of_its_transaction,
    a_clock_that_is_stepped_back_reverses_nothing,
);

struct World {
    data: Data,
    master: MasterId,
    builder: BuilderId,
    worker: WorkerId,
    snapshot: i64,
}

impl World {
    async fn new(ground: &Ground) -> World {
        let data = Data::new(ground.db.clone(), Bus::default());
        let life = Life {
            incarnation: "incarnation".into(),
            roles: Roles::ALL,
            version: "0".into(),
            sessions: Vec::new(),
        };
        let Start::Leased(master) =
            data.master_starts("m", &life, None, &[], Beside::Others, false).await.unwrap()
        else {
            panic!("nobody else is there")
        };
        let info = BuilderInfo { name: "b".into(), ..BuilderInfo::default() };
        let setup = Setup {
            runs_builds: true,
            builders: vec![BuilderSetup { info, workers: vec!["w".into()], ..BuilderSetup::default() }],
            workers: vec!["w".into()],
            snapshot: ("digest".into(), "{}".into()),
            ..Setup::default()
        };
        let ids = data.configure(master, &setup).await.unwrap();
        let (builder, worker) = (ids.builders["b"], ids.workers["w"]);
        let boot = format!("{:032x}", fastrand::u128(..));
        let dial = WorkerDial { worker, boot_id: boot, dial_no: 1, gateway: None, info: Default::default() };
        data.workers_dial(master, &[dial]).await.unwrap();
        World { data, master, builder, worker, snapshot: ids.snapshot }
    }

    /// Builds of one buildset that have begun.
    async fn begin(&self, count: usize) -> Vec<Started> {
        let builders = vec![self.builder; count];
        let set = self.data.add_buildset(NewBuildset { builders, ..NewBuildset::default() }).await.unwrap();
        let runs = set.requests.iter().map(|(builder, request)| NewRun {
            request: *request,
            builder: *builder,
            worker: self.worker,
            snapshot: self.snapshot,
            plan: "{}".into(),
            properties: Properties::new(),
        });
        let runs: Vec<NewRun> = runs.collect();
        let started = self.data.start_runs(self.master, &runs).await.unwrap();
        assert_eq!(started.len(), count);
        started
    }

    async fn results(&self, run: &Started) -> Option<Results> {
        let build = run.key.build;
        let read: Result<_> =
            self.data.db().read("build", |tx| async move { builds::by_id(&tx, build).await }).await;
        read.unwrap().unwrap().results
    }

    /// Whether the request is complete, whether it is claimed, and whether its buildset is complete.
    async fn request(&self, run: &Started) -> (bool, bool, bool) {
        let request = run.request;
        let read: Result<_> = self
            .data
            .db()
            .read("request", |tx| async move {
                let request = query::requests::by_id(&tx, request).await?.unwrap();
                let set = query::buildsets::by_id(&tx, request.buildset).await?.unwrap();
                Ok((request.complete, request.claim.is_some(), set.complete_at.is_some()))
            })
            .await;
        read.unwrap()
    }
}

fn started(step: u32) -> RunWrite {
    RunWrite::StepStarted { step, name: format!("step{step}"), state: "pending".to_owned(), at: NOW }
}

fn finished(step: u32) -> RunWrite {
    let (results, state) = (Results::Success, "done".to_owned());
    RunWrite::StepFinished { step, results, hidden: false, state, at: NOW }
}

fn over(results: Results) -> RunWrite {
    RunWrite::BuildFinished { results, state: "over".to_owned(), at: NOW }
}

fn log(step: u32) -> RunWrite {
    RunWrite::LogAdded { step, slug: "stdio".to_owned(), name: "stdio".to_owned(), kind: LogKind::Stdio }
}

fn lines(step: u32, text: &str) -> RunWrite {
    RunWrite::LogAppended { step, slug: "stdio".to_owned(), chunks: chunks::make(text, Compression::Gz) }
}

fn journal(step: u32, outcome: &str) -> RunWrite {
    RunWrite::Journal(JournalRow {
        step,
        ordinal: 0,
        part: runs::FIRST_PART,
        kind: "command".to_owned(),
        args_hash: "h".to_owned(),
        outcome: outcome.to_owned(),
    })
}

async fn a_whole_build_is_one_commit(ground: &Ground) {
    let world = World::new(ground).await;
    let run = &world.begin(1).await[0];
    let build = run.key.build;
    let mut told = world.data.bus().subscribe();
    let property = Property(serde_json::json!([1, "é"]), "Step".to_owned());
    let url = StepUrl { name: "n".to_owned(), url: "https://example.org".to_owned() };
    let writes = [
        started(0),
        RunWrite::BuildAnnounced,
        finished(0),
        RunWrite::BuildState("building".to_owned()),
        started(1),
        log(1),
        journal(1, "1"),
        RunWrite::StepUrl { step: 1, url: url.clone() },
        RunWrite::StepUrl { step: 1, url: url.clone() },
        lines(1, "oone\notwo\n"),
        RunWrite::LocksDuration(3),
        RunWrite::Property { name: "p".to_owned(), property: property.clone() },
        finished(1),
        over(Results::Success),
    ];
    world.data.commit_run(&run.key, run.request, &writes).await.unwrap();
    let seen = tx(&ground.db, |tx| async move {
        let build_row = builds::by_id(&tx, build).await?.unwrap();
        let steps = steps::of_build(&tx, build).await?;
        let logs = steps::logs_of_numbered(&tx, &[build], &[1]).await?;
        let chunks = query::log_content::chunks(&tx, logs[0].id, 0, 10).await?;
        let properties = builds::properties(&tx, build).await?;
        let journal = runs::journal_of(&tx, build, 1).await?;
        Ok((build_row, steps, logs, chunks[0].lines(0, 9)?, properties, journal))
    })
    .await;
    let (row, steps, logs, text, properties, journal) = seen;
    assert_eq!(
        (row.results, row.state_string.as_str(), row.locks_duration_s),
        (Some(Results::Success), "over", 3)
    );
    assert_eq!(steps.iter().map(|step| step.results).collect::<Vec<_>>(), [Some(Results::Success); 2]);
    assert_eq!((steps[1].name.as_str(), &steps[1].urls), ("step1", &vec![url]));
    assert_eq!((logs.len(), logs[0].num_lines, logs[0].complete), (1, 2, true));
    assert_eq!(text, "oone\notwo\n");
    assert_eq!(properties.get_with_source("p"), Some(&property));
    assert_eq!(journal, []);
    assert_eq!(world.request(run).await, (true, true, true));

    // Everything was told, in order, under the ids that the rows have.
    let mut names = Vec::new();
    while names.last().is_none_or(|name: &String| !name.starts_with("buildsets/")) {
        if let Some(Received::Event(event)) = told.next().await {
            names.push(event.topics.last().unwrap().to_string());
        }
    }
    let (worker, step, log) = (world.worker, steps[1].id, logs[0].id);
    let of_log = |what: &str| format!("steps/{step}/logs/stdio/{what}");
    let expected = [
        format!("steps/{}/new", steps[0].id),
        format!("steps/{}/started", steps[0].id),
        format!("workers/{worker}/builds/{build}/new"),
        format!("steps/{}/updated", steps[0].id),
        format!("steps/{}/finished", steps[0].id),
        format!("workers/{worker}/builds/{build}/update"),
        format!("steps/{step}/new"),
        format!("steps/{step}/started"),
        of_log("new"),
        format!("steps/{step}/updated"),
        format!("steps/{step}/updated"),
        of_log("append"),
        format!("workers/{worker}/builds/{build}/update"),
        format!("builds/{build}/properties/update"),
        of_log("finished"),
        format!("steps/{step}/updated"),
        format!("steps/{step}/finished"),
        format!("workers/{worker}/builds/{build}/update"),
        format!("workers/{worker}/builds/{build}/finished"),
    ];
    assert_eq!(names[..expected.len()], expected, "log {log}");
    assert!(names[expected.len()].ends_with("/complete"), "{names:?}");
}

async fn a_step_goes_on_over_several_commits(ground: &Ground) {
    let world = World::new(ground).await;
    let run = &world.begin(1).await[0];
    let build = run.key.build;
    let commit = async |writes: &[RunWrite]| {
        let part = RunPart { run: run.key, request: run.request, writes };
        world.data.commit_runs(&[part]).await.unwrap()
    };
    commit(&[started(0), log(0), journal(0, "1")]).await;
    let first = "oone\n".repeat(20);
    commit(&[journal(0, "2"), lines(0, &first)]).await;
    let journal_of =
        || async { tx(&ground.db, |tx| async move { runs::journal_of(&tx, build, 0).await }).await };
    assert_eq!(journal_of().await[0].outcome, "2");
    let state = RunWrite::StepState { step: 0, state: "running".to_owned() };
    assert!(!commit(&[lines(0, "otwo\n"), state]).await.regroup);
    // The log has ended, and consists of several chunks.
    assert!(commit(&[lines(0, "othree\n"), finished(0)]).await.regroup);
    assert_eq!(journal_of().await, []);
    let log = regroup::take(&ground.db, NOW).await.unwrap().unwrap();
    assert_eq!(regroup::take(&ground.db, NOW).await.unwrap(), None);
    assert_eq!(regroup::regroup(&ground.db, log, Compression::Gz).await.unwrap(), 1);
    // A master that died with it is waited for, not longer.
    let later = muster_core::Timestamp(NOW.0 + 601);
    assert_eq!(regroup::take(&ground.db, later).await.unwrap(), Some(log));
    regroup::done(&ground.db, log).await.unwrap();
    assert_eq!(regroup::take(&ground.db, later).await.unwrap(), None);
    let chunks: Result<Vec<_>> =
        ground.db.read("chunks", |tx| async move { query::log_content::chunks(&tx, log, 0, 9).await }).await;
    assert_eq!(chunks.unwrap()[0].lines(19, 99).unwrap(), "oone\notwo\nothree\n");
    // A write about what is not there changes nothing.
    let error = world.data.commit_run(&run.key, run.request, &[finished(0), lines(5, "o\n")]).await;
    assert!(matches!(error, Err(Error::Data(reason)) if reason.contains("has no log")));
}

async fn a_fenced_run_loses_its_own_part_only(ground: &Ground) {
    let world = World::new(ground).await;
    let runs = world.begin(3).await;
    let moved = &runs[1];
    let old = moved.key;
    tx(&ground.db, |tx| async move { runs::adopt(&tx, &old, MasterId(77)).await }).await;
    let writes = [started(0), over(Results::Success)];
    let parts: Vec<RunPart<'_>> =
        runs.iter().map(|run| RunPart { run: run.key, request: run.request, writes: &writes }).collect();
    assert_eq!(world.data.commit_runs(&parts).await.unwrap().ours, [true, false, true]);
    assert_eq!(world.results(&runs[0]).await, Some(Results::Success));
    assert_eq!(world.results(moved).await, None);
    let build = moved.key.build;
    assert_eq!(tx(&ground.db, |tx| async move { steps::of_build(&tx, build).await }).await, []);
    assert_eq!(world.results(&runs[2]).await, Some(Results::Success));
    let alone = world.data.commit_run(&moved.key, moved.request, &writes).await;
    assert!(matches!(alone, Err(Error::Fenced(fenced)) if fenced == build));
}

async fn the_last_two_requests_of_a_set_end_at_once(ground: &Ground) {
    let world = Arc::new(World::new(ground).await);
    for _ in 0..8 {
        let runs = world.begin(2).await;
        let ends = runs.clone().into_iter().map(|run| {
            let world = world.clone();
            tokio::spawn(async move {
                world.data.commit_run(&run.key, run.request, &[over(Results::Success)]).await.unwrap();
            })
        });
        for end in ends.collect::<Vec<_>>() {
            end.await.unwrap();
        }
        assert_eq!(world.request(&runs[0]).await, (true, true, true));
    }
}

async fn a_retried_build_gives_its_request_back(ground: &Ground) {
    let world = World::new(ground).await;
    let run = &world.begin(1).await[0];
    world.data.commit_run(&run.key, run.request, &[started(0), over(Results::Retry)]).await.unwrap();
    assert_eq!(world.results(run).await, Some(Results::Retry));
    assert_eq!(world.request(run).await, (false, false, false));
}

/// PostgreSQL gets such statements together with the next one, or with the commit, and hears of their errors then.
async fn what_is_sent_late_is_part_of_its_transaction(ground: &Ground) {
    let world = World::new(ground).await;
    let key = world.begin(1).await[0].key;
    let (build, master, worker, snapshot) = (key.build, world.master, world.worker, world.snapshot);
    let row = |outcome: &str| JournalRow {
        step: 7,
        ordinal: 1,
        part: runs::FIRST_PART,
        kind: "time".into(),
        args_hash: "h".into(),
        outcome: outcome.into(),
    };
    let seen = tx(&ground.db, |tx| async move {
        for number in 0..100 {
            runs::journal_all(&tx, &[(build, &row(&number.to_string()))]).await?;
        }
        runs::journal_of(&tx, build, 7).await
    })
    .await;
    assert_eq!(seen, [row("99")], "a query sees what was sent before it");
    let looked: Result<_> =
        ground.db.look("look", |tx| async move { runs::journal_of(&tx, build, 7).await }).await;
    assert_eq!(looked.unwrap(), [row("99")], "and so does a look afterwards");
    let twice = ground.db.tx("twice", |tx| async move {
        runs::drop_journals(&tx, &[(build, 7)]).await?;
        data::run(&tx, build, master, worker, snapshot).await
    });
    assert!(matches!(twice.await, Err(Error::Unique(_))));
    let left = tx(&ground.db, |tx| async move { runs::journal_of(&tx, build, 7).await }).await;
    assert_eq!(left, [row("99")], "nothing of a transaction that failed is left");
}

async fn a_clock_that_is_stepped_back_reverses_nothing(ground: &Ground) {
    let world = World::new(ground).await;
    let [run] = world.begin(1).await.try_into().unwrap();
    let (begin, before) = (muster_data::now(), Timestamp(muster_data::now().0 - 3600));
    let writes = [
        RunWrite::StepStarted { step: 0, name: "s".into(), state: "pending".into(), at: begin },
        RunWrite::StepLocksAcquired { step: 0, at: before },
        RunWrite::StepFinished {
            step: 0,
            results: Results::Success,
            hidden: false,
            state: "done".into(),
            at: before,
        },
        RunWrite::BuildFinished { results: Results::Success, state: "build successful".into(), at: before },
    ];
    world.data.commit_run(&run.key, run.request, &writes).await.unwrap();
    let (build, request) = (run.key.build, run.request);
    let read = world.data.db().read("times", |tx| async move {
        let step = steps::of_build(&tx, build).await?.remove(0);
        let build = builds::by_id(&tx, build).await?.unwrap();
        let request = query::requests::by_id(&tx, request).await?.unwrap();
        let set = query::buildsets::by_id(&tx, request.buildset).await?.unwrap();
        Ok::<_, Error>([
            (step.started_at, step.locks_acquired_at),
            (step.started_at, step.complete_at),
            (Some(build.started_at), build.complete_at),
            (Some(request.submitted_at), request.complete_at),
            (Some(set.submitted_at), set.complete_at),
        ])
    });
    for (from, to) in read.await.unwrap() {
        assert!(to.is_some() && to >= from, "{from:?} {to:?}");
    }
}
