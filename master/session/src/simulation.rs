//! Both state machines over a network and a clock that do what a seed says: every order and every update arrives exactly
//! once and in order, over reconnects, silence and a change of the engine.
//!
//! `MUSTER_TEST_SEEDS` is how many seeds are tried, `MUSTER_TEST_SEED` the only one, which is how a failure is replayed:
//! nothing else decides what happens.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use muster_core::{BuildId, CommandId, Epoch};
use proptest::prelude::*;

use crate::auth::{Nonce, Password};
use crate::command::{Command, StartCommand, UpdateBody};
use crate::error::OrderError;
use crate::event::{MasterEvent, WorkerEvent};
use crate::link::Machine;
use crate::master::MasterSession;
use crate::opening::Challenged;
use crate::wire::{self, BootId, FromMaster, Order, Terms, WorkerInfo};
use crate::worker::{Identity, WorkerSession};

/// What is durable on the engine's side: the intent and the stored updates of each command.
#[derive(Default)]
struct Stored {
    updates: Vec<UpdateBody>,
    received: u64,
    ended: bool,
}

/// The worker's own view of a command.
#[derive(Default)]
struct Running {
    orders: Vec<u64>,
    spool: Vec<UpdateBody>,
    /// Updates up to this one have left the spool.
    stored: u64,
}

struct World {
    rng: fastrand::Rng,
    now: Instant,
    master: MasterSession,
    worker: WorkerSession,
    up: bool,
    dials: u64,
    epoch: i64,
    to_worker: VecDeque<Vec<u8>>,
    to_master: VecDeque<Vec<u8>>,
    database: BTreeMap<CommandId, Stored>,
    /// Updates that arrived at this engine and are not stored: lost when the engine changes.
    arrived: VecDeque<(CommandId, u64, UpdateBody)>,
    running: BTreeMap<CommandId, Running>,
    finished: BTreeMap<CommandId, Vec<UpdateBody>>,
}

impl World {
    fn new(seed: u64) -> World {
        let identity = Identity {
            worker: "w".into(),
            password: Password::new("pw"),
            boot_id: BootId("boot".into()),
            generation: 0,
        };
        World {
            rng: fastrand::Rng::with_seed(seed),
            now: Instant::now(),
            master: MasterSession::new(),
            worker: WorkerSession::new(identity),
            up: false,
            dials: 0,
            epoch: 1,
            to_worker: VecDeque::new(),
            to_master: VecDeque::new(),
            database: BTreeMap::new(),
            arrived: VecDeque::new(),
            running: BTreeMap::new(),
            finished: BTreeMap::new(),
        }
    }

    /// A world in which the first command has reached the worker.
    fn with_a_running_command(seed: u64) -> (World, CommandId) {
        let mut world = World::new(seed);
        world.connect();
        world.start();
        let command = *world.database.keys().next().unwrap();
        while !world.running.contains_key(&command) {
            world.up = true;
            world.move_frame();
        }
        (world, command)
    }

    fn connect(&mut self) {
        self.cut();
        self.dials += 1;
        self.worker.dial(self.dials, Nonce::fresh(), WorkerInfo::new(), self.now);
        let hello = self.worker.poll_transmit(self.now).unwrap().unwrap();
        let passwords = |_: &str| Some(Password::new("pw"));
        let Ok(challenged) = Challenged::by_hello(&hello, Nonce::fresh(), &passwords) else {
            panic!("a hello is understood")
        };
        let challenge = wire::encode(&challenged.challenge()).unwrap();
        self.worker.handle_frame(&challenge, self.now).unwrap();
        if self.rng.u8(..8) == 0 {
            return self.cut();
        }
        let claim = self.worker.poll_transmit(self.now).unwrap().unwrap();
        let Ok(admitted) = challenged.by_claim(&claim) else { panic!("the password is right") };
        let serial = self.master.connect(admitted, Terms::new(1, Epoch(self.epoch)), self.now);
        assert!(serial.is_some(), "dial {} is the last one", self.dials);
        self.up = true;
    }

    fn cut(&mut self) {
        self.up = false;
        self.to_worker.clear();
        self.to_master.clear();
        self.master.disconnected("cut");
        self.worker.disconnected("cut");
    }

    /// Another engine takes over: what was not stored is gone, epochs are raised.
    fn change_engine(&mut self) {
        self.cut();
        self.epoch += 1;
        self.master = MasterSession::new();
        self.arrived.clear();
        for stored in self.database.values_mut() {
            stored.received = stored.updates.len() as u64;
        }
    }

    fn start(&mut self) {
        let command = CommandId { build: BuildId(1), step: 0, ordinal: self.database.len() as u32 };
        self.database.insert(command, Stored::default());
        self.master.start(command, Epoch(self.epoch), order()).unwrap();
    }

    fn order_chunk(&mut self) {
        let Some(command) = self.pick(|stored| !stored.ended) else { return };
        let chunk = Order::Chunk { bytes: vec![1; self.rng.usize(..300_000)], eof: false };
        // A command of the former engine that is not claimed yet takes no orders.
        if self.master.has_room(command) == Ok(true) {
            self.master.order(command, chunk).unwrap();
        }
    }

    fn pick(&mut self, wanted: impl Fn(&Stored) -> bool) -> Option<CommandId> {
        let all: Vec<_> =
            self.database.iter().filter(|(_, stored)| wanted(stored)).map(|(&command, _)| command).collect();
        self.rng.choice(all)
    }

    fn produce(&mut self, end: bool) {
        let alive: Vec<CommandId> = self
            .running
            .iter()
            .filter(|(_, running)| !matches!(running.spool.last(), Some(UpdateBody::Complete { .. })))
            .map(|(&command, _)| command)
            .collect();
        let Some(command) = self.rng.choice(alive) else { return };
        let spool = &mut self.running.get_mut(&command).unwrap().spool;
        spool.push(match end {
            true => UpdateBody::Complete { error: None },
            false => UpdateBody::Chunk(vec![spool.len() as u8; some_size(&mut self.rng)]),
        });
        self.worker.offer(command, spool.len() as u64, end);
    }

    /// Moves one frame, if there is one, in a random direction.
    fn move_frame(&mut self) {
        if !self.up {
            return;
        }
        match self.rng.u8(..4) {
            0 => self.to_worker.extend(self.master.poll_transmit(self.now, true).unwrap()),
            1 => {
                if let Some(frame) = self.worker.poll_transmit(self.now).unwrap() {
                    self.to_master.push_back(frame);
                } else if let Some((command, number)) = self.worker.wanted() {
                    let running = &self.running[&command];
                    assert!(number > running.stored, "{command}: {number} has left the spool");
                    let body = running.spool[number as usize - 1].clone();
                    self.to_master.extend(self.worker.supply(command, number, body, self.now).unwrap());
                }
            }
            2 => {
                if let Some(frame) = self.to_worker.pop_front() {
                    self.worker.handle_frame(&frame, self.now).unwrap();
                }
            }
            _ => {
                if let Some(frame) = self.to_master.pop_front() {
                    self.master.handle_frame(&frame, self.now).unwrap();
                }
            }
        }
        self.worker_events();
        self.master_events();
    }

    fn worker_events(&mut self) {
        while let Some(event) = self.worker.poll_event() {
            match event {
                WorkerEvent::Order { command, number, order, .. } => {
                    let running = self.running.entry(command).or_default();
                    assert_eq!(matches!(order, Order::Start(_)), running.orders.is_empty());
                    assert_eq!(
                        number,
                        running.orders.len() as u64 + 1,
                        "{command}: each order once, in order"
                    );
                    running.orders.push(number);
                    self.worker.acknowledge(command, number);
                }
                WorkerEvent::Stored { command, number, over } => {
                    let running = self.running.get_mut(&command).unwrap();
                    running.stored = number;
                    let stored = &self.database[&command];
                    assert!(
                        number <= stored.updates.len() as u64,
                        "{command}: acknowledged before it was stored"
                    );
                    assert_eq!(over, stored.ended && number == stored.updates.len() as u64);
                    if over {
                        let running = self.running.remove(&command).unwrap();
                        self.finished.insert(command, running.spool);
                    }
                }
                WorkerEvent::Forget { command } => {
                    let running = self.running.remove(&command).unwrap();
                    self.finished.insert(command, running.spool);
                }
                _ => {}
            }
        }
    }

    fn master_events(&mut self) {
        while let Some(event) = self.master.poll_event() {
            match event {
                MasterEvent::Connected { unclaimed, .. } => self.claim(&unclaimed),
                MasterEvent::Update { command, number, body } => {
                    let stored = self.database.get_mut(&command).unwrap();
                    assert_eq!(number, stored.received + 1, "{command}: each update once, in order");
                    stored.received = number;
                    self.arrived.push_back((command, number, body));
                }
                MasterEvent::Lost { command } => panic!("{command} is not lost"),
                _ => {}
            }
        }
    }

    /// What an engine does with a new connection: go on with what it knows, start what never arrived.
    fn claim(&mut self, unclaimed: &[wire::CommandState]) {
        for state in unclaimed {
            let stored = &self.database[&state.command];
            if stored.ended {
                self.master.forget(state.command);
            } else {
                let updates = stored.updates.len() as u64;
                let resumed = self.master.resume(state, Epoch(self.epoch), updates);
                // Two connections may have said that it is unclaimed before the engine looked.
                assert!(matches!(resumed, Ok(()) | Err(OrderError::AlreadyStarted(_))));
            }
        }
        for (&command, stored) in &self.database {
            if !stored.ended && self.master.has_room(command).is_err() {
                self.master.start(command, Epoch(self.epoch), order()).unwrap();
            }
        }
    }

    /// Commits some of what arrived, then acknowledges it.
    fn commit(&mut self) {
        for _ in 0..self.rng.usize(..6) {
            let Some((command, number, body)) = self.arrived.pop_front() else { return };
            let stored = self.database.get_mut(&command).unwrap();
            stored.ended = matches!(body, UpdateBody::Complete { .. });
            stored.updates.push(body);
            assert_eq!(stored.updates.len() as u64, number);
            self.master.acknowledge(command, number);
        }
    }

    fn step(&mut self) {
        match self.rng.u32(..1000) {
            0..20 => self.cut(),
            20..26 => self.change_engine(),
            26..60 if !self.up => self.connect(),
            60..80 if self.database.len() < 6 => self.start(),
            80..120 => self.order_chunk(),
            120..240 => self.produce(false),
            240..250 => self.produce(true),
            250..350 => self.commit(),
            350..354 => self.pass_time(),
            _ => self.move_frame(),
        }
    }

    /// Time goes on, now and then for longer than a silent connection lives.
    fn pass_time(&mut self) {
        self.now += Duration::from_millis(self.rng.u64(..20_000));
        let ends = [self.master.handle_timeout(self.now), self.worker.handle_timeout(self.now)];
        if ends.iter().any(Result::is_err) {
            self.cut();
        }
        self.worker_events();
        self.master_events();
    }

    /// Lets everything run out without further breaks.
    fn settle(&mut self) {
        self.connect();
        for _ in 0..200_000 {
            if !self.up {
                self.connect();
            }
            self.produce(true);
            self.move_frame();
            self.commit();
            if self.finished.len() == self.database.len() && self.running.is_empty() {
                return;
            }
        }
        panic!("not everything ended: {} of {}", self.finished.len(), self.database.len());
    }

    fn check(&self) {
        for (command, stored) in &self.database {
            assert!(stored.ended);
            assert_eq!(stored.updates, self.finished[command], "{command}: what is stored is what was told");
        }
    }
}

/// Small ones as often as large ones.
fn some_size(rng: &mut fastrand::Rng) -> usize {
    let bits = rng.u32(..18);
    rng.usize(..1 << bits)
}

fn order() -> StartCommand {
    StartCommand { builddir: "b".into(), command: Command::Glob { pattern: "*".into() } }
}

/// Seeds of a run in CI: some seconds of it.
const SEEDS: u64 = 2000;
/// Events of one seed before everything settles.
const EVENTS: usize = 250;

/// Tells how a seed that failed is replayed.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seed = self.0;
            eprintln!(
                "replay: MUSTER_TEST_SEED={seed} cargo nextest run -p muster-session -E 'test(arrives_once)'"
            );
        }
    }
}

fn number_in(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

#[test]
fn every_order_and_every_update_arrives_once() {
    let seeds = match number_in("MUSTER_TEST_SEED") {
        Some(seed) => seed..=seed,
        None => 1..=number_in("MUSTER_TEST_SEEDS").unwrap_or(SEEDS),
    };
    for seed in seeds {
        let _replay = Replay(seed);
        let mut world = World::new(seed);
        for _ in 0..EVENTS {
            world.step();
        }
        world.settle();
        world.check();
    }
}

#[test]
fn a_seed_does_the_same_each_time() {
    let run = |seed| {
        let mut world = World::new(seed);
        (0..EVENTS).for_each(|_| world.step());
        let stored: Vec<_> =
            world.database.into_iter().map(|(command, stored)| (command, stored.updates)).collect();
        (stored, world.dials, world.epoch)
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn garbage_ends_the_connection_at_most(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut world = World::new(1);
        world.connect();
        world.start();
        for _ in 0..100 {
            world.move_frame();
        }
        // Either error is fine, a panic is not; and the next connection works.
        let _ = world.master.handle_frame(&bytes, world.now);
        let _ = world.worker.handle_frame(&bytes, world.now);
        world.settle();
        world.check();
    }
}

#[test]
fn heartbeats_keep_a_quiet_connection_and_silence_ends_it() {
    let mut world = World::new(3);
    world.connect();
    while !world.worker.is_connected() {
        world.up = true;
        world.move_frame();
    }
    for _ in 0..50 {
        world.now += Duration::from_secs(10);
        world.master.handle_timeout(world.now).unwrap();
        world.worker.handle_timeout(world.now).unwrap();
        for _ in 0..40 {
            world.move_frame();
        }
    }
    world.now += Duration::from_secs(30);
    assert!(world.master.handle_timeout(world.now).is_err());
    assert!(world.worker.handle_timeout(world.now).is_err());
}

#[test]
fn a_former_owner_gives_no_orders() {
    let (mut world, command) = World::with_a_running_command(4);
    let order = Order::Interrupt { why: "late".into() };
    let stale = FromMaster::Order { command, epoch: Epoch(0), number: 2, order };
    let error = world.worker.handle_frame(&wire::encode(&stale).unwrap(), world.now).unwrap_err();
    assert!(error.to_string().contains("older than epoch 1"), "{error}");
}

#[test]
fn a_session_that_another_engine_overtook_lets_go() {
    let (mut world, command) = World::with_a_running_command(6);
    assert_eq!(world.master.has_room(command), Ok(true));
    let taken = FromMaster::Resume { command, epoch: Epoch(2), updates: 0 };
    world.worker.handle_frame(&wire::encode(&taken).unwrap(), world.now).unwrap();
    world.connect();
    assert_eq!(world.master.has_room(command), Err(OrderError::NotRunning(command)));
}

#[test]
fn a_window_bounds_what_is_on_its_way() {
    let mut world = World::new(5);
    world.connect();
    world.start();
    for _ in 0..1000 {
        world.move_frame();
    }
    // More than the window has room for.
    for _ in 0..2000 {
        world.produce(false);
    }
    for _ in 0..40_000 {
        world.move_frame();
    }
    let waiting: usize = world.arrived.iter().map(|(_, _, body)| body_size(body)).sum();
    // The window counts encoded bytes: of what was sent, a little is no text.
    let bound = wire::WINDOW / 10 * 9..wire::WINDOW + wire::MAX_FRAME;
    assert!(bound.contains(&waiting), "{waiting}");
}

fn body_size(body: &UpdateBody) -> usize {
    match body {
        UpdateBody::Chunk(bytes) => bytes.len(),
        _ => 0,
    }
}
