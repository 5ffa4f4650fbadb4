//! Real engines and their run machine in one thread: the network and the clock do what a seed says.
//!
//! Two engines share a database, workers hang on connections in memory, and time is the runtime's, which jumps to the next
//! timer when nothing else is to be done: minutes pass in a second. Masters stop renewing their leases and go on as if
//! nothing had happened, which is worse than a crash; they are put down and started again; connections break; workers are
//! killed. In the end every request is done once, and every log is what its command wrote.
//!
//! `MUSTER_TEST_SEEDS` is how many seeds are tried, `MUSTER_TEST_SEED` the only one.

mod worker;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use muster_bus::Bus;
use muster_config::snapshot::{
    BuilderConfig, CollapseSetting, Condition, FactoryConfig, LockAccess, LockConfig, LockKind, LockMode,
    LockSet, Snapshot, SourceRef, StepConfig, WorkerConfig,
};
use muster_core::{
    BuilderId, CommandId, LogKind, MasterId, RequestId, Results, Roles,
    invariants::{self, RequestFacts},
    render::Renderable,
};
use muster_data::{Data, Life, NewBuildset, Start};
use muster_store::{Db, DbUrl, query, steps as step_rows};
use serde_json::json;
use tokio::{sync::watch, task::JoinHandle, time::sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{Active, Engine, activate, steps::testing, watch_peers};
use worker::{SimulatedWorker, Truth};

/// Seeds of a run in CI.
const SEEDS: u64 = 12;
/// Events of one seed.
const EVENTS: usize = 40;
const ENGINES: usize = 2;
const WORKERS: usize = 3;
const REQUESTS: usize = 12;
/// How often a lease is renewed.
const RENEWAL: Duration = Duration::from_millis(1500);
/// In the time of the simulation; longer than any grace.
const PATIENCE: Duration = Duration::from_secs(900);

/// A master with its engine.
struct Master {
    engine: Engine,
    id: MasterId,
    leaving: CancellationToken,
    renews: Arc<AtomicBool>,
    running: JoinHandle<()>,
    tracker: TaskTracker,
    _active: watch::Sender<Arc<Active>>,
}

struct World {
    random: fastrand::Rng,
    data: Data,
    masters: Vec<Master>,
    workers: Vec<SimulatedWorker>,
    truth: Arc<Truth>,
    builders: Vec<BuilderId>,
    requests: Vec<RequestId>,
    lives: u32,
    /// The present one of each master.
    incarnations: BTreeMap<usize, String>,
    _directory: tempfile::TempDir,
}

fn step(name: &str, locks: Vec<LockAccess>) -> StepConfig {
    let step = testing::step("ShellCommand", json!({"command": ["write", "lines"]}));
    StepConfig { name: Renderable::from(name), locks: LockSet::Accesses(locks), ..step }
}

fn builder(name: &str, steps: Vec<StepConfig>) -> BuilderConfig {
    BuilderConfig {
        name: name.to_owned(),
        worker_names: (0..WORKERS).map(worker_name).collect(),
        builddir: name.to_owned(),
        worker_builddir: name.to_owned(),
        tags: Vec::new(),
        next_worker: None,
        next_build: None,
        can_start_build: None,
        locks: LockSet::default(),
        env: Renderable::try_from(json!({})).unwrap(),
        properties: BTreeMap::new(),
        default_properties: BTreeMap::new(),
        collapse_requests: CollapseSetting::Off,
        description: None,
        description_format: None,
        project: None,
        do_build_if: Condition::Fixed(true),
        factory: FactoryConfig { workdir: Renderable::from("build"), steps },
        source: SourceRef::default(),
    }
}

fn worker_name(number: usize) -> String {
    format!("w{number}")
}

fn worker_config(number: usize) -> WorkerConfig {
    WorkerConfig {
        name: worker_name(number),
        class_name: "buildbot.worker.base.Worker".to_owned(),
        password: Some(Renderable::from("pw")),
        max_builds: Some(2),
        notify_on_missing: Vec::new(),
        missing_timeout: 0.0,
        properties: BTreeMap::new(),
        default_properties: BTreeMap::new(),
        locks: LockSet::default(),
        machine_name: None,
        keepalive_interval: 3600.0,
        source: SourceRef::default(),
    }
}

/// One builder as such, and one with locks: a counted one, and one for itself.
fn snapshot() -> Snapshot {
    let access = |lock: &str, mode| LockAccess { lock: lock.to_owned(), mode, count: 1 };
    let lock = |name: &str, max_count| LockConfig {
        name: name.to_owned(),
        kind: LockKind::Master,
        max_count,
        max_count_for_worker: BTreeMap::new(),
    };
    Snapshot {
        workers: (0..WORKERS).map(worker_config).collect(),
        builders: vec![
            builder("plain", vec![step("one", Vec::new()), step("two", Vec::new())]),
            builder(
                "locked",
                vec![
                    step("one", vec![access("counted", LockMode::Counting)]),
                    step("two", vec![access("alone", LockMode::Exclusive)]),
                ],
            ),
        ],
        locks: vec![lock("counted", 2), lock("alone", 1)],
        ..testing::snapshot::empty()
    }
}

impl World {
    async fn new(seed: u64) -> World {
        let directory = tempfile::tempdir().unwrap();
        let url = DbUrl::parse("sqlite:///state.sqlite", directory.path()).unwrap();
        let data = Data::new(Db::upgrade(&url).await.unwrap(), Bus::default());
        let truth = Arc::new(Truth::default());
        let workers =
            (0..WORKERS).map(|n| SimulatedWorker::new(&worker_name(n), &truth, seed + n as u64)).collect();
        let mut world = World {
            random: fastrand::Rng::with_seed(seed),
            data,
            masters: Vec::new(),
            workers,
            truth,
            builders: Vec::new(),
            requests: Vec::new(),
            lives: 0,
            incarnations: BTreeMap::new(),
            _directory: directory,
        };
        for number in 0..ENGINES {
            let master = world.start_master(number).await;
            world.masters.push(master);
        }
        world
    }

    async fn start_master(&mut self, number: usize) -> Master {
        self.lives += 1;
        let incarnation = format!("life {}", self.lives);
        let life = Life {
            incarnation: incarnation.clone(),
            roles: Roles::ALL,
            version: "0".into(),
            sessions: Vec::new(),
        };
        // Its earlier life is over, as the lock on its directory shows.
        let dead = self.incarnations.insert(number, incarnation.clone());
        let name = format!("master {number}");
        let started = self.data.master_starts(&name, &life, dead.as_deref(), None).await.unwrap();
        let Start::Leased(id) = started else { panic!("{started:?}") };
        let active =
            activate(&self.data, id, Arc::new(snapshot()), "digest", None, Roles::ALL).await.unwrap();
        self.builders = active.ids.builders.values().copied().collect();
        let (sender, receiver) = watch::channel(Arc::new(active));
        let engine = Engine::new(self.data.clone(), id, self._directory.path().to_owned(), receiver, 1);
        let (leaving, renews) = (CancellationToken::new(), Arc::new(AtomicBool::new(true)));
        tokio::spawn(renew(self.data.clone(), id, incarnation, renews.clone(), leaving.clone()));
        tokio::spawn(watch_peers(self.data.clone(), id, Some(engine.clone()), leaving.clone()));
        let (running, shutdown) = (engine.clone(), leaving.clone());
        let running = tokio::spawn(async move { running.run(shutdown).await.unwrap() });
        Master { engine, id, leaving, renews, running, tracker: TaskTracker::new(), _active: sender }
    }

    async fn restart_master(&mut self, number: usize) {
        self.masters[number].leaving.cancel();
        (&mut self.masters[number].running).await.unwrap();
        self.masters[number] = self.start_master(number).await;
    }

    fn dial(&mut self, worker: usize) {
        let master = &self.masters[self.random.usize(..ENGINES)];
        let transport = self.workers[worker].dial();
        let serving =
            master.engine.clone().accept_transport(transport, master.tracker.clone(), master.leaving.clone());
        tokio::spawn(serving);
    }

    async fn submit(&mut self) {
        let builder = self.random.choice(&self.builders).copied().unwrap();
        let set = NewBuildset { builders: vec![builder], ..NewBuildset::default() };
        let set = self.data.add_buildset(set).await.unwrap();
        self.requests.extend(set.requests.iter().map(|(_, request)| *request));
    }

    async fn event(&mut self) {
        let worker = self.random.usize(..WORKERS);
        match self.random.u32(..100) {
            0..35 if self.requests.len() < REQUESTS => self.submit().await,
            35..50 => self.workers[worker].cut(),
            // While it is connected, too: then its builds move at once.
            50..60 => self.dial(worker),
            // A dial that is given up, and the next one comes before it was answered.
            60..65 => {
                self.dial(worker);
                sleep(Duration::from_millis(self.random.u64(..20))).await;
                self.dial(worker);
            }
            65..72 => self.workers[worker].restart(self.random.u64(..)),
            72..82 => {
                let master = self.random.usize(..ENGINES);
                self.masters[master].renews.store(false, Ordering::Relaxed);
            }
            82..90 => {
                let master = self.random.usize(..ENGINES);
                self.restart_master(master).await;
            }
            _ => {}
        }
        sleep(Duration::from_millis(self.random.u64(..4000))).await;
        self.redial();
    }

    /// A worker without a connection dials again, sooner or later.
    fn redial(&mut self) {
        for worker in 0..WORKERS {
            if !self.workers[worker].is_connected() && self.random.bool() {
                self.dial(worker);
            }
        }
    }

    /// No more faults: masters that lost their lease are started again, as they would be.
    async fn settle(&mut self) {
        while self.requests.len() < REQUESTS {
            self.submit().await;
        }
        for number in 0..ENGINES {
            if !self.masters[number].renews.load(Ordering::Relaxed) {
                self.restart_master(number).await;
            }
        }
        let end = tokio::time::Instant::now() + PATIENCE;
        while self.open_requests().await > 0 {
            assert!(tokio::time::Instant::now() < end, "{}", self.what_is_open().await);
            sleep(Duration::from_secs(1)).await;
            self.redial();
        }
        for master in &mut self.masters {
            master.leaving.cancel();
            (&mut master.running).await.unwrap();
        }
    }

    async fn open_requests(&self) -> usize {
        let read = self
            .data
            .db()
            .read("open", |tx| async move { query::requests::list(&tx, &query::Select::all()).await });
        read.await.unwrap().iter().filter(|request| !request.complete).count()
    }

    async fn what_is_open(&self) -> String {
        let read = self.data.db().read("open", |tx| async move {
            let requests = query::requests::list(&tx, &query::Select::all()).await?;
            Ok::<_, muster_store::Error>((requests, query::builds::list(&tx, &query::Select::all()).await?))
        });
        let (mut requests, mut builds) = read.await.unwrap();
        requests.retain(|request| !request.complete);
        builds.retain(|build| build.results.is_none());
        let ids: Vec<_> = self.masters.iter().map(|master| master.id).collect();
        format!("not over: {requests:#?}\n{builds:#?}\nmasters {ids:?}")
    }

    async fn check(&self) {
        invariants::executed_once(self.truth.executions.lock().unwrap().iter().copied()).unwrap();
        let read = self.data.db().read("all", |tx| async move {
            let requests = query::requests::list(&tx, &query::Select::all()).await?;
            Ok::<_, muster_store::Error>((requests, query::builds::list(&tx, &query::Select::all()).await?))
        });
        let (requests, builds) = read.await.unwrap();
        assert_eq!(requests.len(), REQUESTS);
        for request in requests {
            let of_it = || builds.iter().filter(|build| build.request == request.id);
            let facts = RequestFacts {
                complete: request.complete,
                claimed: request.claim.is_some(),
                running: of_it().filter(|build| build.results.is_none()).count(),
                final_builds: of_it()
                    .filter(|build| build.results.is_some_and(|results| results != Results::Retry))
                    .count(),
            };
            invariants::request_is_kept(facts).unwrap_or_else(|broken| panic!("{broken}: {request:?}"));
            if request.results != Some(Results::Success) {
                let of_it: Vec<_> = builds.iter().filter(|build| build.request == request.id).collect();
                panic!("{request:#?}\n{of_it:#?}\n{}", self.why(&of_it).await);
            }
        }
        for build in &builds {
            self.check_build(build).await;
        }
    }

    /// The steps and their texts, for whoever looks for the reason.
    async fn why(&self, builds: &[&muster_core::Build]) -> String {
        let mut said = String::new();
        for (step, log) in self.logs(builds.last().unwrap().id).await {
            let text = self.data.log_lines(&log, 0, i64::MAX).await.unwrap();
            said += &format!("step {} {:?} {}:\n{text}\n", step.number, step.results, log.name);
        }
        said
    }

    async fn logs(&self, build: muster_core::BuildId) -> Vec<(muster_core::Step, muster_core::Log)> {
        let read = self.data.db().read("logs", |tx| async move {
            let mut logs = Vec::new();
            for step in step_rows::of_build(&tx, build).await? {
                let select = query::logs::of_step(query::Select::all(), step.id);
                logs.extend(
                    query::logs::list(&tx, &select).await?.into_iter().map(|log| (step.clone(), log)),
                );
            }
            Ok::<_, muster_store::Error>(logs)
        });
        read.await.unwrap()
    }

    async fn check_build(&self, build: &muster_core::Build) {
        let id = build.id;
        for (step, log) in self.logs(id).await {
            assert!(log.complete && step.results.is_some(), "{step:?} {log:?}");
            if log.kind != LogKind::Stdio {
                continue;
            }
            let text = self.data.log_lines(&log, 0, i64::MAX).await.unwrap();
            let shown: String =
                text.lines().filter_map(|line| Some(line.strip_prefix('o')?.to_owned() + "\n")).collect();
            let wrote = self.wrote(id, step.number as u32);
            let whole = step.results == Some(Results::Success);
            let agrees = if whole { shown == wrote } else { wrote.starts_with(&shown) };
            assert!(agrees, "{build:?} {step:?}: the log has\n{shown}and the command wrote\n{wrote}");
        }
    }

    fn wrote(&self, build: muster_core::BuildId, step: u32) -> String {
        let wrote = self.truth.wrote.lock().unwrap();
        let of_it = |(command, text): (&CommandId, &String)| {
            ((command.build, command.step) == (build, step)).then(|| text.clone())
        };
        wrote.iter().filter_map(of_it).collect()
    }
}

/// As the master's own task does, but it may be told to fall silent.
async fn renew(
    data: Data,
    id: MasterId,
    incarnation: String,
    renews: Arc<AtomicBool>,
    leaving: CancellationToken,
) {
    loop {
        tokio::select! {
            () = sleep(RENEWAL) => {}
            () = leaving.cancelled() => return,
        }
        if renews.load(Ordering::Relaxed) {
            data.renew_lease(id, &incarnation, false).await.unwrap();
        }
    }
}

fn number_in(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

/// Tells how a seed that failed is replayed.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seed = self.0;
            eprintln!(
                "replay: MUSTER_TEST_SEED={seed} cargo nextest run -p muster-engine -E 'test(simulation)'"
            );
        }
    }
}

#[test]
fn every_request_is_done_once_whatever_masters_workers_and_their_connections_do() {
    let seeds = match number_in("MUSTER_TEST_SEED") {
        Some(seed) => seed..=seed,
        None => 1..=number_in("MUSTER_TEST_SEEDS").unwrap_or(SEEDS),
    };
    for seed in seeds {
        let _replay = Replay(seed);
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut world = World::new(seed).await;
            for _ in 0..EVENTS {
                world.event().await;
            }
            world.settle().await;
            world.check().await;
        });
    }
}
