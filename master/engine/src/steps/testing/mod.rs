//! A step in a world of its own: a real database, a real session in memory, a worker that does what the test says.

pub(crate) mod snapshot;
mod worker;

use std::{path::PathBuf, sync::Arc};

use futures_util::future::BoxFuture;
use muster_bus::Bus;
use muster_config::snapshot::{Condition, LockSet, SourceRef, StepConfig};
use muster_core::{
    BuilderId, LogKind, MasterId, Properties, RequestId, Results, Roles, SourceStamp, StepFlags, WorkerId,
    render::Renderable,
};
use muster_data::{
    Beside, BuilderSetup, Data, Life as MasterLife, NewBuildset, NewRun, NewSourceStamp, RunWrite, Setup,
    SourceOf, Start, Trigger, Trust, WorkerDial,
};
use muster_session::BootId;
use muster_store::{
    Db, DbUrl,
    builders::BuilderInfo,
    buildsets,
    chunks::Compression,
    query,
    runs::{self, RunKey},
    steps,
};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    effects::{
        Callables, Effect, Facts, Outcome, OwnSummary, Recorder, RunCore, StepContext, StepEnd, StopOrder,
        StopReceiver, Writer,
    },
    plan::{self, Plan},
    slots::Slots,
    triggers::{NotMade, Triggers},
};

pub(super) use worker::{Reply, Script, TestWorker, hands_on, says};

/// The step's number: step 0 is Muster's own.
const STEP: u32 = 1;

/// A build with one step, up to that step.
pub(super) struct World {
    pub(super) directory: tempfile::TempDir,
    pub(super) worker: TestWorker,
    data: Data,
    writer: Writer,
    master: MasterId,
    builder: BuilderId,
    worker_id: WorkerId,
    request: RequestId,
    key: RunKey,
    sources: Vec<SourceStamp>,
    properties: Properties,
    slots: Slots,
    stop: watch::Sender<Option<Arc<StopOrder>>>,
    /// The replay version that its step begins under, if not the newest.
    replay_version: Option<u32>,
    double: Option<Answering>,
}

/// What effects come to in place of the world; those that it doesn't know are really done.
pub(super) type Answering = fn(&Effect) -> Option<Result<Outcome, StepEnd>>;

/// What a step came to.
#[derive(Debug, PartialEq)]
pub(super) struct Ended {
    pub(super) results: Results,
    pub(super) properties: Properties,
    /// Name, kind and content; stdio without headers.
    pub(super) logs: Vec<(String, LogKind, String)>,
    pub(super) urls: Vec<(String, String)>,
    /// What its summary says where nothing is configured.
    pub(super) summary: Option<String>,
    /// What its summary says about how its last command was ended.
    pub(super) note: Option<&'static str>,
}

impl Ended {
    /// The content of a log.
    pub(super) fn log(&self, name: &str) -> &str {
        let found = self.logs.iter().find(|(known, _, _)| known == name);
        found.map_or_else(|| panic!("no log {name} in {:?}", self.logs), |(_, _, content)| content)
    }

    /// A property's value.
    pub(super) fn property(&self, name: &str) -> &Value {
        self.properties.get(name).unwrap_or(&Value::Null)
    }
}

/// How one life of the master ended.
#[derive(Debug)]
pub(super) enum Life {
    Ended(Ended),
    /// It died, or was told to go.
    Over,
}

impl Life {
    pub(super) fn ended(self) -> Ended {
        match self {
            Life::Ended(ended) => ended,
            Life::Over => panic!("the step has not ended"),
        }
    }
}

/// A step of a kind, with arguments in the JSON form of the configuration.
pub(crate) fn step(kind: &str, args: Value) -> StepConfig {
    let Value::Object(args) = args else { panic!("arguments are an object") };
    let args = args.into_iter().map(|(name, value)| (name, Renderable::try_from(value).unwrap())).collect();
    StepConfig {
        kind: kind.to_owned(),
        name: Renderable::from("the step"),
        flags: StepFlags::default(),
        do_step_if: Condition::Fixed(true),
        hide_step_if: Condition::Fixed(false),
        description: Renderable::NONE,
        description_done: Renderable::NONE,
        description_suffix: Renderable::NONE,
        locks: LockSet::default(),
        workdir: Renderable::NONE,
        update_build_summary_policy: Renderable::NONE,
        log_encoding: Renderable::NONE,
        args,
        source: SourceRef::default(),
    }
}

impl World {
    /// A build without a source, on a worker that follows `script`.
    pub(super) async fn new(script: Script) -> World {
        World::with_source(script, NewSourceStamp::default()).await
    }

    /// A build of a source.
    pub(super) async fn with_source(script: Script, source: NewSourceStamp) -> World {
        let directory = tempfile::tempdir().unwrap();
        let db =
            Db::upgrade(&DbUrl::parse("sqlite:///state.sqlite", directory.path()).unwrap()).await.unwrap();
        let data = Data::new(db, Bus::default());
        let life = MasterLife {
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
        let (builder, worker_id) = (ids.builders["b"], ids.workers["w"]);
        let set = NewBuildset {
            sources: vec![SourceOf::New(Box::new(source))],
            builders: vec![builder],
            ..NewBuildset::default()
        };
        let request = data.add_buildset(set).await.unwrap().requests[0].1;
        let mut properties = Properties::new();
        properties.set("branch", json!("main"), "Build");
        let run = NewRun {
            request,
            builder,
            worker: worker_id,
            snapshot: ids.snapshot,
            plan: "{}".into(),
            properties: properties.clone(),
        };
        let dial = WorkerDial {
            worker: worker_id,
            boot_id: "boot".into(),
            dial_no: 1,
            gateway: None,
            info: Default::default(),
        };
        data.workers_dial(master, &[dial]).await.unwrap();
        let key = data.start_runs(master, &[run]).await.unwrap()[0].key;
        let sources = data.db().read("sources", |tx| async move {
            let sets = query::buildsets::list(&tx, &query::Select::all()).await?;
            Ok::<_, muster_store::Error>(sets.into_iter().flat_map(|set| set.sourcestamps).collect())
        });
        let sources = sources.await.unwrap();
        let slots = slots(worker_id);
        let worker = TestWorker::new(BootId("boot".into()), script);
        worker.dial(&slots).await;
        let stop = watch::Sender::new(None);
        let writer = Writer::new(data.clone());
        let writing = writer.clone();
        tokio::spawn(async move { writing.run().await });
        World {
            directory,
            worker,
            data,
            writer,
            master,
            builder,
            worker_id,
            request,
            key,
            sources,
            properties,
            slots,
            stop,
            replay_version: None,
            double: None,
        }
    }

    /// A path below the master's base directory.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Sets a property of the build before its step begins.
    pub(super) fn set_property(&mut self, name: &str, value: Value) {
        self.properties.set(name, value, "test");
    }

    /// Orders the build to stop.
    pub(super) fn stop(&self, reason: &str) {
        self.stop.send_replace(Some(Arc::new(StopOrder { number: 1, reason: reason.to_owned() })));
    }

    fn schedulers(&self) -> TestSchedulers {
        TestSchedulers { builder: self.builder }
    }

    /// The data below.
    pub(super) fn data(&self) -> &Data {
        &self.data
    }

    /// The open requests but for the build's own.
    pub(super) async fn triggered(&self) -> Vec<muster_core::BuildRequest> {
        let read = self
            .data
            .db()
            .read("triggered", |tx| async move { query::requests::list(&tx, &query::Select::all()).await });
        let mut requests = read.await.unwrap();
        requests.retain(|request| request.id != self.request);
        requests.sort_by_key(|request| request.id);
        requests
    }

    /// Somebody completes a request that is the only one of its buildset.
    pub(super) async fn complete(&self, request: RequestId, results: Results) {
        let committed = self.data.db().tx("complete", |tx| async move {
            let set = query::requests::by_id(&tx, request).await?.expect("it is there").buildset;
            buildsets::complete_request(&tx, request, results, muster_data::now()).await?;
            buildsets::complete_if_done(&tx, set, muster_data::now()).await?;
            Ok::<_, muster_store::Error>(set)
        });
        let told = |set| vec![muster_bus::Event::new([format!("buildsets/{set}/complete")], Value::Null)];
        self.data.bus().publish(committed.await.unwrap().map(told));
    }

    /// Runs a step to its end.
    pub(super) async fn run(&self, step: &StepConfig) -> Ended {
        self.live(step, None, &CancellationToken::new()).await.ended()
    }

    /// Another master takes over; the worker comes to it.
    pub(super) async fn hand_over(&mut self) {
        self.adopt().await;
        self.slots = slots(self.worker_id);
        self.slots.get("w").unwrap().expect(self.key.build);
        self.worker.dial(&self.slots).await;
    }

    /// The run goes on under a higher epoch.
    pub(super) async fn adopt(&mut self) {
        self.key = self.data.adopt_runs(self.master, self.master).await.unwrap()[0].key;
    }

    /// One life of the master: it dies before the effect `death`, or goes when `leaving` says so.
    pub(super) async fn live(
        &self,
        step: &StepConfig,
        death: Option<u32>,
        leaving: &CancellationToken,
    ) -> Life {
        let build = self.key.build;
        let read = self.data.db().read("life", |tx| async move {
            let journal = runs::journal_of(&tx, build, STEP).await?;
            Ok::<_, muster_store::Error>((steps::of_build(&tx, build).await?.is_empty(), journal))
        });
        let (first, journal) = read.await.unwrap();
        let mut core = self.core(step, leaving);
        if first {
            let (name, state, at) = ("step".to_owned(), "pending".to_owned(), muster_data::now());
            core.recorder.write(RunWrite::StepStarted { step: STEP, name, state, at });
        }
        let mut context = StepContext::new(&mut core, STEP, step, super::changes(&step.kind), journal);
        context.journal.death = death;
        if let Some(double) = self.double {
            context.double = Some(Box::new(double));
        }
        if let Some(version) = self.replay_version {
            context.journal.begin_under(version);
        }
        context.name = "step".to_owned();
        let ended = super::run(&mut context).await;
        if context.journal.is_dead() {
            context.core.recorder.flush().await.unwrap();
            return Life::Over;
        }
        let settled = match ended {
            Ok(results) => Ok(results),
            Err(end) => super::settle(&mut context, end).await,
        };
        let Ok(results) = settled else { return Life::Over };
        let summary = match std::mem::take(&mut context.own_summary) {
            OwnSummary::Text(text) => Some(text),
            _ => context.outcome.take(),
        };
        let summary = summary.or_else(|| context.summary.take());
        let note = context.note;
        let properties = std::mem::take(&mut context.new_properties);
        context.core.recorder.flush().await.unwrap();
        let (logs, urls) = self.written().await;
        Life::Ended(Ended { results, properties, logs, urls, summary, note })
    }

    /// The same world, in which effects come to what `double` says.
    pub(super) fn answering(self, double: Answering) -> World {
        World { double: Some(double), ..self }
    }

    /// The same world, whose step begins under an older replay version.
    pub(super) fn under(self, version: u32) -> World {
        World { replay_version: Some(version), ..self }
    }

    /// The step's journal.
    pub(super) async fn journal(&self) -> Vec<runs::JournalRow> {
        let build = self.key.build;
        let rows = self.data.db().read("rows", |tx| async move { runs::journal_of(&tx, build, STEP).await });
        rows.await.unwrap()
    }

    /// How many effects the step has had.
    pub(super) async fn effects(&self) -> u32 {
        self.journal().await.iter().filter(|row| row.part == runs::FIRST_PART).count() as u32
    }

    async fn written(&self) -> (Vec<(String, LogKind, String)>, Vec<(String, String)>) {
        let build = self.key.build;
        let read = self.data.db().read("written", |tx| async move {
            let step = steps::of_build(&tx, build).await?.remove(0);
            let mut logs =
                query::logs::list(&tx, &query::logs::of_step(query::Select::all(), step.id)).await?;
            logs.sort_by_key(|log| log.id);
            Ok::<_, muster_store::Error>((step, logs))
        });
        let (step, rows) = read.await.unwrap();
        let mut logs = Vec::new();
        for log in rows {
            let text = self.data.log_lines(&log, 0, i64::MAX).await.unwrap();
            let shown = text.lines().filter(|line| log.kind != LogKind::Stdio || !line.starts_with('h'));
            let text = shown.map(|line| format!("{line}\n")).collect();
            logs.push((log.name, log.kind, text));
        }
        (logs, step.urls.into_iter().map(|url| (url.name, url.url)).collect())
    }

    fn core(&self, step: &StepConfig, leaving: &CancellationToken) -> RunCore {
        let plan = Plan {
            version: plan::VERSION,
            builder: "b".into(),
            builddir: "b".into(),
            workdir: Renderable::from("build"),
            env: Renderable::try_from(json!({"FROM_BUILDER": "1"})).unwrap(),
            locks: LockSet::default(),
            do_build_if: Condition::Fixed(true),
            steps: vec![step.clone()],
            secrets: Vec::new(),
            stopped: None,
        };
        let slot = self.slots.get("w").unwrap();
        RunCore {
            data: self.data.clone(),
            key: self.key,
            facts: Facts {
                number: 1,
                builder_id: self.builder,
                plan,
                snapshot: Arc::new(snapshot::empty()),
                worker: "w".into(),
                worker_info: slot.info(),
                sources: self.sources.clone(),
            },
            properties: self.properties.clone(),
            recorder: Recorder::new(&self.writer, self.key, self.request, Compression::Gz, leaving.clone()),
            slot,
            stop: StopReceiver::new(self.stop.subscribe(), None),
            leaving: leaving.clone(),
            releases: watch::Sender::new(0),
            basedir: self.directory.path().to_owned(),
            callables: Callables(None),
            triggers: Arc::new(self.schedulers()),
            refused: None,
        }
    }
}

/// Schedulers that make one request for the world's builder, unless they are called `absent`.
struct TestSchedulers {
    builder: BuilderId,
}

impl Triggers for TestSchedulers {
    fn check(&self, scheduler: &str) -> Result<(), String> {
        if scheduler == "absent" { Err("unknown triggered scheduler: 'absent'".to_owned()) } else { Ok(()) }
    }

    fn compose<'a>(
        &'a self,
        scheduler: &'a str,
        trigger: Trigger,
    ) -> BoxFuture<'a, Result<NewBuildset, NotMade>> {
        let sources =
            trigger.sources.into_iter().map(|source| source.with_defaults(NewSourceStamp::default()));
        let set = NewBuildset {
            scheduler: scheduler.to_owned(),
            sources: sources.map(|stamp| SourceOf::New(Box::new(stamp))).collect(),
            properties: trigger.properties,
            builders: vec![self.builder],
            parent: trigger.parent,
            waited_for: trigger.waited_for,
            ..NewBuildset::default()
        };
        Box::pin(std::future::ready(Ok(set)))
    }
}

fn slots(worker: WorkerId) -> Slots {
    let slots = Slots::new(Trust::unlimited());
    slots.configure(&[("w".to_owned(), worker)].into());
    slots
}

/// Runs a step once completely; then once for each of its effects, with a master that dies before that effect and
/// another one that goes on. All must come to the same, and together order each command once. Answers what it came to.
pub(super) async fn replay(step: &StepConfig, world: impl AsyncFn() -> World) -> Ended {
    let whole = world().await;
    let expected = whole.run(step).await;
    let orders = whole.worker.orders();
    for death in 0..whole.effects().await {
        let mut world = world().await;
        let first = world.live(step, Some(death), &CancellationToken::new()).await;
        assert!(matches!(first, Life::Over), "no death before effect {death}: {first:?}");
        world.adopt().await;
        let second = world.run(step).await;
        assert_eq!(second, expected, "after a death before effect {death}");
        assert_eq!(world.worker.orders(), orders, "after a death before effect {death}");
    }
    expected
}

/// The reason of a step that ended as an exception.
pub(super) fn exception(ended: &Ended) -> &str {
    assert_eq!(ended.results, Results::Exception, "{ended:?}");
    ended.log("err.text")
}
