//! Breaks things, by seed, and mends them after a while.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime};

use muster_tests::stock::StockWorker;
use rustix::process::{Pid, Signal, kill_process};

use crate::clock::MAX_STEP;
use crate::cluster::Cluster;
use crate::history::{History, QUEUE};
use crate::network::{Direction, PEERS, Peer};

/// How often it looks whether something is due.
const LOOK: Duration = Duration::from_millis(100);
/// Longest standstill of a master: longer than any lease, shorter than a stock worker's grace.
const STANDSTILL: f64 = 14.0;
/// One that is longer than any lease, shorter than that grace: nothing may be lost by it.
const BEYOND_LEASE: f64 = 9.0;
/// One that is longer than that grace: the 20 s of an engine, after it has noticed.
const BEYOND_GRACE: f64 = 32.0;
/// Of the standstills of a gateway, one in so many is that long.
const LONG_ONES: u8 = 4;

/// What can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    KillMaster,
    PauseMaster,
    StepClock,
    Partition,
    Sever,
    RestartRouter,
    RestartDatabase,
    PauseDatabase,
    KillWorker,
    PauseWorker,
    KillStock,
    StillGateway,
    CutGateway,
    KillGateway,
}

/// Each as often as it stands here.
const BLOWS: [Blow; 29] = [
    Blow::KillMaster,
    Blow::KillMaster,
    Blow::KillMaster,
    Blow::KillMaster,
    Blow::PauseMaster,
    Blow::PauseMaster,
    Blow::PauseMaster,
    Blow::StepClock,
    Blow::StepClock,
    Blow::Partition,
    Blow::Partition,
    Blow::Partition,
    Blow::Partition,
    Blow::Sever,
    Blow::Sever,
    Blow::RestartRouter,
    Blow::RestartRouter,
    Blow::RestartDatabase,
    Blow::PauseDatabase,
    Blow::KillWorker,
    Blow::KillWorker,
    Blow::PauseWorker,
    Blow::PauseWorker,
    Blow::KillStock,
    Blow::StillGateway,
    Blow::StillGateway,
    Blow::CutGateway,
    Blow::CutGateway,
    Blow::KillGateway,
];

/// What is to be mended, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mend {
    StartMaster(usize),
    ResumeMaster(usize),
    SetClock(usize),
    Rejoin(usize),
    StartRouter,
    ResumeDatabase,
    StartWorker(usize),
    ResumeWorker(usize),
    StartStock(usize),
}

/// A moment at which the commands of a worker were lost: with it, or with the gateway that it hangs on.
#[derive(Clone, Debug)]
pub struct Loss {
    /// The worker.
    pub worker: String,
    /// When.
    pub at: SystemTime,
}

/// Its plans and its deeds.
pub struct Nemesis {
    random: fastrand::Rng,
    gap: Duration,
    next: Instant,
    due: Vec<(Instant, Mend)>,
    /// Moments at which commands were lost.
    pub losses: Vec<Loss>,
    /// Ends of processes that nobody asked for: a master that gave its place up.
    pub own_ends: usize,
}

impl Nemesis {
    /// One that strikes every `gap`, on average.
    pub fn new(seed: u64, gap: Duration) -> Nemesis {
        let random = fastrand::Rng::with_seed(seed);
        Nemesis { random, gap, next: Instant::now() + gap, due: Vec::new(), losses: Vec::new(), own_ends: 0 }
    }

    /// Rages for a while.
    pub fn rage(&mut self, cluster: &mut Cluster, history: &mut History, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            if Instant::now() >= self.next {
                let blow = BLOWS[self.random.usize(..BLOWS.len())];
                self.strike(cluster, history, blow);
                self.next = Instant::now() + self.gap.mul_f64(0.5 + self.random.f64());
            }
            self.look_after(cluster, history);
            std::thread::sleep(LOOK);
        }
    }

    /// Mends what is due, and starts again what ended by itself, as a supervisor would.
    pub fn look_after(&mut self, cluster: &mut Cluster, history: &mut History) {
        let now = Instant::now();
        let (due, later): (Vec<_>, Vec<_>) = self.due.drain(..).partition(|(at, _)| *at <= now);
        self.due = later;
        for (_, mend) in due {
            self.mend(cluster, history, mend);
        }
        for index in 0..cluster.masters.len() {
            let waits = self.due.iter().any(|(_, mend)| *mend == Mend::StartMaster(index));
            let master = &mut cluster.masters[index];
            if !waits && !master.node.is_running() {
                let words = master.node.last_words();
                history.note("ended by itself", &format!("{}: {words}", master.node.name), None);
                self.own_ends += 1;
                self.note_loss(cluster, index);
                self.later(1.0, Mend::StartMaster(index));
            }
        }
    }

    /// Mends everything at once.
    pub fn mend_all(&mut self, cluster: &mut Cluster, history: &mut History) {
        for (_, mend) in std::mem::take(&mut self.due) {
            self.mend(cluster, history, mend);
        }
    }

    fn strike(&mut self, cluster: &mut Cluster, history: &mut History, blow: Blow) {
        let queue = cluster.ask(QUEUE);
        let soon = self.random.f64() * 3.0;
        match blow {
            Blow::KillMaster | Blow::KillGateway => {
                let Some(index) = self.pick(cluster, blow) else { return };
                cluster.masters[index].node.kill();
                self.note_loss(cluster, index);
                history.note("kill -9", &cluster.masters[index].node.name, queue);
                // Some come back before others notice, some after.
                let away = self.random.f64() * STANDSTILL;
                self.later(away, Mend::StartMaster(index));
            }
            Blow::PauseMaster | Blow::StillGateway => {
                let Some(index) = self.pick(cluster, blow) else { return };
                cluster.masters[index].node.pause();
                let time = match blow {
                    Blow::StillGateway if self.random.u8(..LONG_ONES) == 0 => {
                        self.note_loss(cluster, index);
                        BEYOND_GRACE
                    }
                    Blow::StillGateway => BEYOND_LEASE + self.random.f64() * (STANDSTILL - BEYOND_LEASE),
                    _ => self.random.f64() * STANDSTILL,
                };
                history.note(
                    "SIGSTOP",
                    &format!("{} for {time:.1} s", cluster.masters[index].node.name),
                    queue,
                );
                self.later(time, Mend::ResumeMaster(index));
            }
            Blow::CutGateway => {
                let Some(index) = self.random.choice(cluster.gateways()) else { return };
                let side =
                    [Peer::Masters, Peer::Masters, Peer::Workers, Peer::Database][self.random.usize(..4)];
                self.cut(cluster, history, index, BTreeSet::from([side]), queue);
            }
            Blow::StepClock => self.step_clock(cluster, history, queue),
            Blow::Partition => self.partition(cluster, history, queue),
            Blow::Sever => {
                let index = self.random.usize(..cluster.masters.len());
                cluster.sever_database(index);
                let name = &cluster.masters[index].node.name;
                history.note("connections end", &format!("{name} and the database"), queue);
            }
            Blow::RestartRouter if !self.due.iter().any(|(_, mend)| *mend == Mend::StartRouter) => {
                cluster.router.node.kill();
                history.note("kill -9", "router", queue);
                self.later(soon, Mend::StartRouter);
            }
            Blow::RestartDatabase if !self.has_paused_database() => {
                history.note("crash", "database, and its restart", queue);
                cluster.database.kill();
                cluster.database.launch();
            }
            Blow::PauseDatabase if !self.has_paused_database() => {
                let time = self.random.f64() * STANDSTILL;
                history.note("SIGSTOP", &format!("database for {time:.1} s"), queue);
                signal_tree(cluster.database.id(), Signal::STOP);
                self.later(time, Mend::ResumeDatabase);
            }
            Blow::RestartRouter | Blow::RestartDatabase | Blow::PauseDatabase => {}
            blow => self.strike_worker(cluster, history, blow, queue),
        }
    }

    fn step_clock(&mut self, cluster: &Cluster, history: &mut History, queue: Option<String>) {
        let index = self.random.usize(..cluster.masters.len());
        let (seconds, time) = (self.random.i64(-MAX_STEP..=MAX_STEP), self.random.f64() * STANDSTILL);
        let Some(clock) = &cluster.masters[index].clock else { return };
        clock.set(seconds);
        history.note("clock steps", &format!("{} by {seconds} s", cluster.masters[index].node.name), queue);
        self.later(time, Mend::SetClock(index));
    }

    /// A master loses the database, its workers, or what else there is, in one direction or both.
    fn partition(&mut self, cluster: &Cluster, history: &mut History, queue: Option<String>) {
        let index = self.random.usize(..cluster.masters.len());
        let some = 1 + self.random.usize(..PEERS.len());
        let mut peers = PEERS;
        self.random.shuffle(&mut peers);
        let from: BTreeSet<Peer> = peers.into_iter().take(some).collect();
        self.cut(cluster, history, index, from, queue);
    }

    fn cut(
        &mut self,
        cluster: &Cluster,
        history: &mut History,
        index: usize,
        from: BTreeSet<Peer>,
        queue: Option<String>,
    ) {
        // A second cut into the same master would be mended with the first.
        if self.due.iter().any(|(_, mend)| *mend == Mend::Rejoin(index)) {
            return;
        }
        let time = self.random.f64() * STANDSTILL;
        let direction =
            [Direction::Both, Direction::Both, Direction::From, Direction::To][self.random.usize(..4)];
        let cut = cluster.cut(index, &from, direction);
        let name = &cluster.masters[index].node.name;
        history.note("partition", &format!("{name} {cut} for {time:.1} s"), queue);
        self.later(time, Mend::Rejoin(index));
    }

    fn strike_worker(
        &mut self,
        cluster: &mut Cluster,
        history: &mut History,
        blow: Blow,
        queue: Option<String>,
    ) {
        let soon = self.random.f64() * 3.0;
        if blow == Blow::KillStock {
            let Some(index) = self.random.choice(0..cluster.stock.len()) else { return };
            if self.due.iter().any(|(_, mend)| *mend == Mend::StartStock(index)) {
                return;
            }
            cluster.stock[index].kill();
            let name = name_of(&cluster.stock[index]);
            history.note("kill -9", &name, queue);
            self.losses.push(Loss { worker: name, at: SystemTime::now() });
            return self.later(soon, Mend::StartStock(index));
        }
        let Some(index) = self.random.choice(0..cluster.own.len()) else { return };
        let node = &mut cluster.own[index].node;
        if !node.is_running() || node.is_paused() {
            return;
        }
        if blow == Blow::KillWorker {
            node.kill();
            history.note("kill -9", &node.name, queue);
            self.losses.push(Loss { worker: node.name.clone(), at: SystemTime::now() });
            return self.later(soon, Mend::StartWorker(index));
        }
        node.pause();
        let time = self.random.f64() * STANDSTILL;
        history.note("SIGSTOP", &format!("{} for {time:.1} s", node.name), queue);
        self.later(time, Mend::ResumeWorker(index));
    }

    fn mend(&mut self, cluster: &mut Cluster, history: &mut History, mend: Mend) {
        let whom = match mend {
            Mend::StartMaster(index) => {
                cluster.start_master(index);
                cluster.masters[index].node.name.clone()
            }
            Mend::ResumeMaster(index) => {
                cluster.masters[index].node.resume();
                cluster.masters[index].node.name.clone()
            }
            Mend::SetClock(index) => {
                let master = &cluster.masters[index];
                master.clock.as_ref().expect("it was stepped").set(0);
                format!("clock of {}", master.node.name)
            }
            Mend::Rejoin(index) => {
                cluster.rejoin(index);
                format!("network of {}", cluster.masters[index].node.name)
            }
            Mend::StartRouter => {
                cluster.router.start(&cluster.site);
                "router".to_owned()
            }
            Mend::ResumeDatabase => {
                signal_tree(cluster.database.id(), Signal::CONT);
                "database".to_owned()
            }
            Mend::StartWorker(index) => {
                cluster.own[index].start();
                cluster.own[index].node.name.clone()
            }
            Mend::ResumeWorker(index) => {
                cluster.own[index].node.resume();
                cluster.own[index].node.name.clone()
            }
            Mend::StartStock(index) => {
                cluster.stock[index].start();
                name_of(&cluster.stock[index])
            }
        };
        history.note("mended", &whom, None);
    }

    /// A master that runs, for a blow at any of them or at gateways.
    fn pick(&mut self, cluster: &mut Cluster, blow: Blow) -> Option<usize> {
        let index = match blow {
            Blow::StillGateway | Blow::KillGateway => self.random.choice(cluster.gateways())?,
            _ => self.random.usize(..cluster.masters.len()),
        };
        let node = &mut cluster.masters[index].node;
        (node.is_running() && !node.is_paused()).then_some(index)
    }

    /// Stock workers hang on the gateway inside of a master, or on one of its own.
    fn note_loss(&mut self, cluster: &Cluster, master: usize) {
        let at = SystemTime::now();
        self.losses.extend(cluster.hang_on(master).into_iter().map(|worker| Loss { worker, at }));
    }

    fn has_paused_database(&self) -> bool {
        self.due.iter().any(|(_, mend)| *mend == Mend::ResumeDatabase)
    }

    fn later(&mut self, seconds: f64, mend: Mend) {
        self.due.push((Instant::now() + Duration::from_secs_f64(seconds), mend));
    }
}

fn name_of(worker: &StockWorker) -> String {
    worker.dir().file_name().unwrap().to_str().unwrap().to_owned()
}

/// Signals a process and its children: a server that forks for each connection.
fn signal_tree(first: u32, signal: Signal) {
    let pid = Pid::from_raw(first as i32).unwrap();
    // It may end at any time.
    let _ = kill_process(pid, signal);
    let children =
        std::fs::read_to_string(format!("/proc/{first}/task/{first}/children")).unwrap_or_default();
    for child in children.split_whitespace().filter_map(|text| text.parse().ok()).filter_map(Pid::from_raw) {
        let _ = kill_process(child, signal);
    }
}
