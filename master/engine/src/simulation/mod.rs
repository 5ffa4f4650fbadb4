//! Real engines and their run machine in one thread: the network, the clock and the order in which tasks run are what a seed
//! says.
//!
//! Some engines share a database, workers hang on simulated connections, and time is the runtime's, which jumps to the next
//! timer when nothing else is to be done: minutes pass in milliseconds. Masters crash, are put down and started again, or
//! stop renewing their leases, and the reckless ones go on as if nothing had happened, which is worse than a crash;
//! connections break in every way; workers are killed; people order builds to stop. In the end every request is done once,
//! stopped builds are those that were ordered to stop, and every log is what its command wrote.
//!
//! `MUSTER_TEST_SEEDS` is how many seeds are tried, `MUSTER_TEST_SEED` the only one. Only with `--cfg tokio_unstable` the
//! runtime takes its seed from outside, so `checks/test simulation` builds these tests once more, optimised. Whatever else
//! could differ between two runs of a seed is kept out of the way of engines: they ask no clock but the runtime's, iterate
//! over no hash map, and leave no work to other threads that others could overtake.

mod check;
mod configuration;
mod network;
mod trace;
mod worker;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use muster_bus::Bus;
use muster_core::policy::{Action, Permit};
use muster_core::{BuildId, BuilderId, MasterId, RequestId, Roles, Timestamp};
use muster_data::{Beside, Data, Life, Moment, NewBuildset, Renewal, Start, Trust};
use muster_store::{Db, DbUrl};
use tokio::{sync::watch, task::JoinHandle, time::sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{Active, Engine, activate, watch_peers};
use configuration::{snapshot, worker_name};
use network::State;
use trace::Trace;
use worker::{SimulatedWorker, Truth};

/// Seeds of a run in CI: two minutes of two cores.
const SEEDS: u64 = 2000;
/// Seeds that are run twice in CI.
const REPEATED: u64 = 40;
/// How often a lease is renewed.
const RENEWAL: Duration = Duration::from_millis(1500);
/// In the time of the simulation; longer than any grace.
const PATIENCE: Duration = Duration::from_secs(900);

/// How large a world is. Small ones are run often, and a fault meets something in most moments.
struct Size {
    engines: usize,
    workers: usize,
    requests: usize,
    events: usize,
}

impl Size {
    fn random(random: &mut fastrand::Rng) -> Size {
        Size {
            engines: if random.u8(..4) == 0 { 3 } else { 2 },
            workers: random.usize(1..=3),
            requests: random.usize(1..=5),
            events: random.usize(5..=25),
        }
    }
}

/// A master with its engine.
struct Master {
    engine: Engine,
    id: MasterId,
    trust: Trust,
    leaving: CancellationToken,
    /// Its lease is no longer renewed: last of all, when everything else has ended.
    over: CancellationToken,
    renews: Arc<AtomicBool>,
    running: JoinHandle<()>,
    tracker: TaskTracker,
    _active: watch::Sender<Arc<Active>>,
}

impl Master {
    async fn stop(&mut self) {
        self.leaving.cancel();
        (&mut self.running).await.unwrap();
        self.over.cancel();
    }
}

struct World {
    random: fastrand::Rng,
    trace: Trace,
    size: Size,
    /// Masters that can't renew their leases act on.
    reckless: bool,
    db: Db,
    bus: Bus,
    /// For whoever is no master.
    data: Data,
    masters: Vec<Master>,
    workers: Vec<SimulatedWorker>,
    /// Where each worker dialled last.
    dialled: Vec<usize>,
    truth: Arc<Truth>,
    builders: Vec<BuilderId>,
    requests: Vec<RequestId>,
    /// The first order to stop each build, and when it was given.
    stops: BTreeMap<BuildId, Timestamp>,
    /// Since when nothing fails any more.
    calm_since: Timestamp,
    lives: u32,
    /// The present one of each master.
    incarnations: BTreeMap<usize, String>,
    directory: tempfile::TempDir,
}

/// What befalls the cluster.
#[derive(Clone, Copy, Debug)]
enum Event {
    Submit,
    /// Somebody orders a running build to stop, once more if it is so ordered already.
    Stop,
    /// A worker ends its connection.
    HangUp,
    /// Its connection does this from now on.
    Disturb(State),
    /// A worker dials, although it may be connected: then its builds move at once.
    Dial,
    /// A dial that is given up, and the next one comes before it was answered.
    DialTwice,
    RestartWorker,
    /// A master can't renew its lease any more.
    FallSilent,
    /// A master is put down and started again.
    RestartMaster,
    /// A master is killed and started again.
    CrashMaster,
    Nothing,
}

impl Event {
    fn random(random: &mut fastrand::Rng) -> Event {
        match random.u32(..100) {
            0..22 => Event::Submit,
            22..30 => Event::Stop,
            30..36 => Event::HangUp,
            36..41 => Event::Disturb(State::Broken),
            41..45 => Event::Disturb(State::Silent),
            45..50 => Event::Disturb(State::Held),
            50..54 => Event::Disturb(State::Open),
            54..62 => Event::Dial,
            62..67 => Event::DialTwice,
            67..73 => Event::RestartWorker,
            73..80 => Event::FallSilent,
            80..87 => Event::RestartMaster,
            87..94 => Event::CrashMaster,
            _ => Event::Nothing,
        }
    }
}

impl World {
    async fn new(seed: u64) -> World {
        let mut random = fastrand::Rng::with_seed(seed);
        let trace = Trace::new();
        let directory = directory();
        let url = DbUrl::parse("sqlite:///state.sqlite", directory.path()).unwrap();
        let (db, bus) = (Db::upgrade(&url).await.unwrap(), Bus::default());
        // Only now: the name of the directory took random numbers, too, and the more the fewer names were free.
        fastrand::seed(seed);
        db.slow_down(pace);
        trace.follow(&bus);
        let truth = Arc::new(Truth::default());
        let size = Size::random(&mut random);
        let workers =
            (0..size.workers).map(|n| SimulatedWorker::new(&worker_name(n), &truth, &trace, seed + n as u64));
        let mut world = World {
            workers: workers.collect(),
            dialled: vec![0; size.workers],
            reckless: random.bool(),
            data: Data::new(db.clone(), bus.clone()),
            random,
            trace,
            size,
            db,
            bus,
            masters: Vec::new(),
            truth,
            builders: Vec::new(),
            requests: Vec::new(),
            stops: BTreeMap::new(),
            calm_since: Timestamp(i64::MAX),
            lives: 0,
            incarnations: BTreeMap::new(),
            directory,
        };
        for number in 0..world.size.engines {
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
        let trust = if self.reckless { Trust::unlimited() } else { Trust::none() };
        let data = Data::trusted(self.db.clone(), self.bus.clone(), trust.clone());
        let asked = Moment::now();
        let name = format!("master {number}");
        let started =
            data.master_starts(&name, &life, dead.as_deref(), &[], Beside::Others, false).await.unwrap();
        let Start::Leased(id) = started else { panic!("{started:?}") };
        renewed(&trust, self.reckless, asked);
        let snapshot = Arc::new(snapshot(self.size.workers));
        let active = activate(&data, id, snapshot, "digest", None, Roles::ALL).await.unwrap();
        self.builders = active.ids.builders.values().copied().collect();
        let (sender, receiver) = watch::channel(Arc::new(active));
        let engine = Engine::new(
            data.clone(),
            id,
            self.directory.path().to_owned(),
            receiver,
            1,
            Arc::new(crate::triggers::NoTriggers),
        );
        let (leaving, over) = (CancellationToken::new(), CancellationToken::new());
        let renews = Arc::new(AtomicBool::new(true));
        let keeper = Keeper { data: data.clone(), id, incarnation, reckless: self.reckless };
        tokio::spawn(keeper.keep(renews.clone(), over.clone()));
        tokio::spawn(watch_peers(data, id, Some(engine.clone()), leaving.clone()));
        let (running, shutdown) = (engine.clone(), leaving.clone());
        let running = tokio::spawn(async move { running.run(shutdown).await.unwrap() });
        let tracker = TaskTracker::new();
        Master { engine, id, trust, leaving, over, renews, running, tracker, _active: sender }
    }

    async fn restart_master(&mut self, number: usize) {
        // Who can't renew its lease can't hand anything over either: its supervisor kills it in the end.
        if !self.reckless && !self.masters[number].renews.load(Ordering::Relaxed) {
            return self.crash_master(number).await;
        }
        self.masters[number].stop().await;
        self.masters[number] = self.start_master(number).await;
    }

    /// Nothing that it does from now on is seen by anybody.
    async fn crash_master(&mut self, number: usize) {
        let master = &self.masters[number];
        master.trust.end();
        master.renews.store(false, Ordering::Relaxed);
        master.running.abort();
        master.leaving.cancel();
        master.over.cancel();
        for (worker, _) in self.workers.iter().zip(&self.dialled).filter(|(_, at)| **at == number) {
            worker.disturb(State::Broken);
        }
        self.masters[number] = self.start_master(number).await;
    }

    fn dial(&mut self, worker: usize) {
        let number = self.random.usize(..self.size.engines);
        let master = &self.masters[number];
        let transport = self.workers[worker].dial(&mut self.random);
        self.dialled[worker] = number;
        let (tracker, leaving) = (master.tracker.clone(), master.leaving.clone());
        tokio::spawn(master.engine.clone().accept_one(transport, tracker, leaving, false));
    }

    async fn submit(&mut self) {
        let builder = self.random.choice(&self.builders).copied().unwrap();
        let set = NewBuildset { builders: vec![builder], ..NewBuildset::default() };
        let set = self.data.add_buildset(set).await.unwrap();
        self.requests.extend(set.requests.iter().map(|(_, request)| *request));
    }

    async fn stop_build(&mut self) {
        let running = self.running_builds().await;
        let Some(build) = self.random.choice(running) else { return };
        self.data
            .stop_build(&Permit::system("the simulation", Action::StopBuild), build, "enough")
            .await
            .unwrap();
        self.stops.entry(build).or_insert(muster_data::now());
    }

    async fn event(&mut self) {
        let event = Event::random(&mut self.random);
        let (worker, master) =
            (self.random.usize(..self.size.workers), self.random.usize(..self.size.engines));
        self.trace.note(format_args!("{event:?} (worker {worker}, master {master})"));
        match event {
            Event::Submit if self.requests.len() < self.size.requests => self.submit().await,
            Event::Stop => self.stop_build().await,
            Event::HangUp => self.workers[worker].hang_up(),
            Event::Disturb(state) => self.workers[worker].disturb(state),
            Event::Dial => self.dial(worker),
            Event::DialTwice => {
                self.dial(worker);
                sleep(Duration::from_millis(self.random.u64(..20))).await;
                self.dial(worker);
            }
            Event::RestartWorker => self.workers[worker].restart(self.random.u64(..)),
            Event::FallSilent => self.masters[master].renews.store(false, Ordering::Relaxed),
            Event::RestartMaster => self.restart_master(master).await,
            Event::CrashMaster => self.crash_master(master).await,
            Event::Submit | Event::Nothing => {}
        }
        // Most blows follow each other at once.
        let pause = if self.random.u8(..4) == 0 { 6000 } else { 600 };
        sleep(Duration::from_millis(self.random.u64(..pause))).await;
        self.redial();
    }

    /// A worker without a connection dials again, sooner or later.
    fn redial(&mut self) {
        for worker in 0..self.size.workers {
            if !self.workers[worker].is_connected() && self.random.bool() {
                self.dial(worker);
            }
        }
    }

    /// No more faults: masters that lost their lease are started again, as they would be.
    async fn settle(&mut self) {
        self.trace.note("no more faults");
        while self.requests.len() < self.size.requests {
            self.submit().await;
        }
        for number in 0..self.size.engines {
            if !self.masters[number].renews.load(Ordering::Relaxed) {
                self.restart_master(number).await;
            }
        }
        self.workers.iter().for_each(|worker| worker.disturb(State::Open));
        self.calm_since = muster_data::now();
        let end = tokio::time::Instant::now() + PATIENCE;
        while self.open_requests().await > 0 {
            assert!(tokio::time::Instant::now() < end, "{}", self.what_is_open().await);
            sleep(Duration::from_secs(1)).await;
            self.redial();
        }
        for master in &mut self.masters {
            master.stop().await;
        }
    }
}

/// In memory, where there is such a place, and of a name that never comes again, for which seeded random numbers don't do: the
/// last connection to an earlier database may still be about to close, and removes the log of that name.
fn directory() -> tempfile::TempDir {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let prefix = format!("muster-{}-{}-", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let mut named = tempfile::Builder::new();
    named.prefix(&prefix);
    named.tempdir_in("/dev/shm").or_else(|_| named.tempdir()).unwrap()
}

/// A database that mostly answers at once, sometimes later, and seldom hangs for longer than a lease is trusted.
fn pace() -> Duration {
    match fastrand::u32(..1000) {
        0..800 => Duration::ZERO,
        800..998 => Duration::from_millis(fastrand::u64(1..60)),
        _ => Duration::from_millis(fastrand::u64(..6000)),
    }
}

fn renewed(trust: &Trust, reckless: bool, asked: Moment) {
    if !reckless {
        trust.renew(asked);
    }
}

/// Renews a lease as the master's own task does, but it may be told to fall silent.
struct Keeper {
    data: Data,
    id: MasterId,
    incarnation: String,
    reckless: bool,
}

impl Keeper {
    async fn keep(self, renews: Arc<AtomicBool>, over: CancellationToken) {
        loop {
            tokio::select! {
                () = sleep(RENEWAL) => {}
                () = over.cancelled() => return,
            }
            let asked = Moment::now();
            if renews.load(Ordering::Relaxed)
                && let Renewal::Renewed { .. } =
                    self.data.renew_lease(self.id, &self.incarnation, false).await.unwrap()
            {
                renewed(self.data.trust(), self.reckless, asked);
            }
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
            eprintln!("replay: MUSTER_TEST_SEED={} checks/test simulation", self.0);
        }
    }
}

/// A runtime of this thread whose clock jumps. `select!` and the order in which waiters wake are the seed's.
fn runtime(seed: u64) -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    #[cfg(tokio_unstable)]
    builder.rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_le_bytes()));
    #[cfg(not(tokio_unstable))]
    let _ = seed;
    builder.enable_time().start_paused(true).build().unwrap()
}

/// Runs one seed; answers all that happened.
fn run(seed: u64) -> Vec<String> {
    let _replay = Replay(seed);
    runtime(seed).block_on(async {
        muster_data::simulate();
        let mut world = World::new(seed).await;
        let trace = world.trace.clone();
        let live = async {
            for _ in 0..world.size.events {
                world.event().await;
            }
            world.settle().await;
            world.check().await;
        };
        let ended = tokio::time::timeout(2 * PATIENCE, live).await;
        assert!(ended.is_ok(), "something hangs after\n{}", trace.last(40));
        trace.lines()
    })
}

fn seeds(default: u64) -> std::ops::RangeInclusive<u64> {
    match number_in("MUSTER_TEST_SEED") {
        Some(seed) => seed..=seed,
        None => 1..=number_in("MUSTER_TEST_SEEDS").unwrap_or(default),
    }
}

#[test]
#[cfg_attr(not(tokio_unstable), ignore = "`checks/test simulation` runs it")]
fn every_request_is_done_once_whatever_masters_workers_and_their_connections_do() {
    let seeds = std::sync::Mutex::new(seeds(SEEDS));
    let next = || seeds.lock().unwrap().next();
    // Each seed has a thread for itself while it runs; after a panic the others end their own and take no more.
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(seed) = next() {
                    let ended = std::panic::catch_unwind(|| run(seed));
                    if let Err(panic) = ended {
                        seeds.lock().unwrap().by_ref().for_each(drop);
                        std::panic::resume_unwind(panic);
                    }
                }
            });
        }
    });
}

#[test]
#[cfg_attr(not(tokio_unstable), ignore = "`checks/test simulation` runs it")]
fn a_seed_does_the_same_each_time() {
    for seed in seeds(REPEATED) {
        let (first, second) = (run(seed), run(seed));
        let differs = first.iter().zip(&second).position(|(first, second)| first != second);
        if let Some(line) = differs {
            let before = first[line.saturating_sub(5)..line].join("\n");
            panic!("seed {seed}, line {line}, after\n{before}\n- {}\n+ {}", first[line], second[line]);
        }
        assert_eq!(first.len(), second.len(), "seed {seed}");
    }
    assert_ne!(run(1), run(2));
}
