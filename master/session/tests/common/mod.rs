//! A worker and a master for tests: a spool in memory, and the few steps every test begins with.

#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use muster_core::{BuildId, CommandId, Epoch};
use muster_session::command::{Output, Stream};
use muster_session::{
    BootId, Command, Disconnect, Identity, MasterEvent, MasterEvents, MasterLink, Opening, Order, Password,
    Passwords, Spool, StartCommand, Terms, Transport, UpdateBody, WorkerEvent, WorkerEvents, WorkerInfo,
    WorkerLink, open, wire,
};
use tokio::task::JoinHandle;

#[derive(Clone, Default)]
pub struct MemorySpool(Arc<Mutex<BTreeMap<(CommandId, u64), UpdateBody>>>);

impl Spool for MemorySpool {
    fn load(&self, command: CommandId, number: u64) -> io::Result<UpdateBody> {
        self.0.lock().unwrap().get(&(command, number)).cloned().ok_or(io::ErrorKind::NotFound.into())
    }
}

pub struct TestWorker {
    pub link: WorkerLink,
    pub events: WorkerEvents,
    pub spool: MemorySpool,
    pub boot_id: BootId,
    told: BTreeMap<CommandId, u64>,
}

impl TestWorker {
    pub fn new(password: &str) -> TestWorker {
        TestWorker::of_boot(BootId::fresh(), password)
    }

    pub fn of_boot(boot_id: BootId, password: &str) -> TestWorker {
        let (link, events) = WorkerLink::new(Identity {
            worker: "w1".into(),
            password: Password::new(password),
            boot_id: boot_id.clone(),
            generation: 3,
        });
        TestWorker { link, events, spool: MemorySpool::default(), boot_id, told: BTreeMap::new() }
    }

    pub fn dial(&self, transport: Transport, dial_no: u64) -> JoinHandle<Disconnect> {
        let (link, spool) = (self.link.clone(), self.spool.clone());
        let info = WorkerInfo::from([("version".into(), "1".into())]);
        tokio::spawn(async move { link.converse(transport, dial_no, info, &spool).await })
    }

    /// Puts an update into the spool and offers it.
    pub fn tell(&mut self, command: CommandId, body: UpdateBody) {
        let number = self.told.entry(command).or_default();
        *number += 1;
        let ended = matches!(body, UpdateBody::Complete { .. });
        self.spool.0.lock().unwrap().insert((command, *number), body);
        self.link.offer(command, *number, ended);
    }

    pub async fn next_order(&mut self) -> (CommandId, u64, Order) {
        loop {
            match self.events.next().await.expect("the link is alive") {
                WorkerEvent::Order { command, number, order, .. } => return (command, number, order),
                WorkerEvent::Connected { .. } | WorkerEvent::Disconnected { .. } => {}
                other => panic!("{other:?} came instead of an order"),
            }
        }
    }

    pub async fn next_stored(&mut self) -> (CommandId, u64, bool) {
        loop {
            match self.events.next().await.expect("the link is alive") {
                WorkerEvent::Stored { command, number, over } => {
                    self.spool.0.lock().unwrap().retain(|key, _| key.0 != command || key.1 > number);
                    return (command, number, over);
                }
                WorkerEvent::Connected { .. } | WorkerEvent::Disconnected { .. } => {}
                other => panic!("{other:?} came instead of an acknowledgement"),
            }
        }
    }
}

pub fn passwords() -> Passwords {
    Arc::new(|name| (name == "w1").then(|| Password::new("secret")))
}

pub fn terms() -> Terms {
    Terms::new(3, Epoch(1))
}

pub fn command(ordinal: u32) -> CommandId {
    CommandId { build: BuildId(7), step: 2, ordinal }
}

pub fn glob() -> StartCommand {
    StartCommand { builddir: "b".into(), command: Command::Glob { pattern: "*".into() } }
}

pub fn text(text: &str) -> UpdateBody {
    UpdateBody::Output(vec![Output { stream: Stream::Stdout, text: text.into() }])
}

pub async fn next_update(events: &mut MasterEvents) -> (CommandId, u64, UpdateBody) {
    loop {
        match events.next().await.expect("the link is alive") {
            MasterEvent::Update { command, number, body } => return (command, number, body),
            MasterEvent::Connected { .. } | MasterEvent::Disconnected { .. } => {}
            other => panic!("{other:?} came instead of an update"),
        }
    }
}

pub async fn connected(events: &mut MasterEvents) -> u64 {
    loop {
        if let MasterEvent::Connected { dial_no, .. } = events.next().await.expect("the link is alive") {
            return dial_no;
        }
    }
}

/// A connection in memory: the worker dials, the master has checked it.
pub async fn dial_in_memory(worker: &TestWorker, dial_no: u64) -> (Opening, JoinHandle<Disconnect>) {
    let (near, far) = Transport::pair();
    let dial = worker.dial(near, dial_no);
    (open(far, &passwords()).await.unwrap(), dial)
}

/// Lets `link` drive `opening`.
pub fn converse(link: &MasterLink, opening: Opening) -> JoinHandle<Disconnect> {
    let link = link.clone();
    tokio::spawn(async move { link.converse(opening, terms()).await })
}

/// One end of a transport, spoken by hand.
pub struct Raw(pub Transport);

impl Raw {
    pub async fn send<T: serde::Serialize>(&mut self, frame: &T) {
        self.0.send(wire::encode(frame).unwrap()).await.unwrap();
    }

    pub async fn receive<T: serde::de::DeserializeOwned>(&mut self) -> T {
        wire::decode(&self.0.receive().await.unwrap().expect("it is open")).unwrap()
    }
}
