//! A simulated worker: it dials, carries out commands, loses its connection, is killed and comes back.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use muster_core::CommandId;
use muster_session::{
    BootId, Identity, Order, Password, Spool, Transport, UpdateBody, WorkerEvent, WorkerEvents, WorkerLink,
    command::{Output, Stream},
};
use tokio_util::sync::CancellationToken;

use super::{
    network::{Line, State},
    trace::Trace,
};

/// Lines of a command.
const LINES: usize = 5;

/// What really happened on the workers, whatever masters believe.
#[derive(Default)]
pub(super) struct Truth {
    pub(super) executions: Mutex<Vec<CommandId>>,
    /// What each command wrote.
    pub(super) wrote: Mutex<BTreeMap<CommandId, String>>,
}

/// A worker over all its lives.
pub(super) struct SimulatedWorker {
    pub(super) name: String,
    truth: Arc<Truth>,
    trace: Trace,
    dials: u64,
    life: Life,
    line: Option<Line>,
}

struct Life {
    link: WorkerLink,
    spool: Arc<MemorySpool>,
    /// Ends the process with all its commands.
    killed: CancellationToken,
    /// Ends the connection.
    cut: CancellationToken,
}

#[derive(Default)]
struct MemorySpool(Mutex<BTreeMap<(CommandId, u64), UpdateBody>>);

impl Spool for MemorySpool {
    fn load(&self, command: CommandId, number: u64) -> io::Result<UpdateBody> {
        let found = self.0.lock().unwrap().get(&(command, number)).cloned();
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl SimulatedWorker {
    pub(super) fn new(name: &str, truth: &Arc<Truth>, trace: &Trace, seed: u64) -> SimulatedWorker {
        let life = begin_life(name, truth, trace, seed);
        let (truth, trace) = (truth.clone(), trace.clone());
        SimulatedWorker { name: name.to_owned(), truth, trace, dials: 0, life, line: None }
    }

    /// Ends the process, and starts it again.
    pub(super) fn restart(&mut self, seed: u64) {
        self.life.killed.cancel();
        self.life = begin_life(&self.name, &self.truth, &self.trace, seed);
    }

    /// Ends its connection in good order.
    pub(super) fn hang_up(&self) {
        self.life.cut.cancel();
    }

    /// Changes what its connection does.
    pub(super) fn disturb(&self, state: State) {
        if let Some(line) = &self.line {
            line.become_(state);
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.life.link.is_connected()
    }

    /// Dials; the other end of the connection is for a master.
    pub(super) fn dial(&mut self, random: &mut fastrand::Rng) -> Transport {
        self.life.cut.cancel();
        self.life.cut = self.life.killed.child_token();
        self.dials += 1;
        let (line, ours, theirs) =
            Line::connect(random, &self.trace, &format!("{} #{}", self.name, self.dials));
        self.line = Some(line);
        let (link, spool, dial) = (self.life.link.clone(), self.life.spool.clone(), self.dials);
        let cut = self.life.cut.clone();
        tokio::spawn(async move {
            let info = BTreeMap::from([("basedir".to_owned(), "/worker".into())]);
            tokio::select! {
                _ = link.converse(ours, dial, info, &*spool) => {}
                () = cut.cancelled() => {}
            }
        });
        theirs
    }
}

fn begin_life(name: &str, truth: &Arc<Truth>, trace: &Trace, seed: u64) -> Life {
    let identity = Identity {
        worker: name.to_owned(),
        password: Password::new("pw"),
        boot_id: BootId(format!("{name}-{seed}")),
        generation: 0,
    };
    let (link, events) = WorkerLink::new(identity);
    let (spool, killed) = (Arc::new(MemorySpool::default()), CancellationToken::new());
    let process = Process {
        link: link.clone(),
        spool: spool.clone(),
        truth: truth.clone(),
        trace: trace.clone(),
        killed: killed.clone(),
        random: fastrand::Rng::with_seed(seed),
        running: BTreeMap::new(),
    };
    tokio::spawn(process.live(events));
    Life { link, spool, cut: killed.child_token(), killed }
}

struct Process {
    link: WorkerLink,
    spool: Arc<MemorySpool>,
    truth: Arc<Truth>,
    trace: Trace,
    killed: CancellationToken,
    random: fastrand::Rng,
    running: BTreeMap<CommandId, CancellationToken>,
}

impl Process {
    async fn live(mut self, mut events: WorkerEvents) {
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = self.killed.cancelled() => return,
            };
            match event {
                Some(WorkerEvent::Order { command, number, order, .. }) => {
                    self.link.acknowledge(command, number);
                    match order {
                        Order::Start(_) => self.execute(command),
                        Order::Interrupt { .. } => self.end(command),
                        Order::Chunk { .. } => {}
                    }
                }
                Some(WorkerEvent::Forget { command }) => self.end(command),
                Some(_) => {}
                None => return,
            }
        }
    }

    fn end(&mut self, command: CommandId) {
        if let Some(running) = self.running.remove(&command) {
            running.cancel();
        }
    }

    fn execute(&mut self, command: CommandId) {
        self.trace.note(format_args!("{command} is executed"));
        self.truth.executions.lock().unwrap().push(command);
        let ended = self.killed.child_token();
        self.running.insert(command, ended.clone());
        let pauses: Vec<u64> = (0..LINES).map(|_| self.random.u64(0..1500)).collect();
        let (link, spool, truth, killed) =
            (self.link.clone(), self.spool.clone(), self.truth.clone(), self.killed.clone());
        tokio::spawn(async move {
            let mut number = 0;
            let mut tell = |body: UpdateBody| {
                number += 1;
                let ends = matches!(body, UpdateBody::Complete { .. });
                spool.0.lock().unwrap().insert((command, number), body);
                link.offer(command, number, ends);
            };
            for (line, pause) in pauses.into_iter().enumerate() {
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_millis(pause)) => {}
                    () = ended.cancelled() => break,
                }
                let text = format!("line {line} of {command}\n");
                truth.wrote.lock().unwrap().entry(command).or_default().push_str(&text);
                tell(UpdateBody::Output(vec![Output { stream: Stream::Stdout, text }]));
            }
            if !killed.is_cancelled() {
                tell(UpdateBody::Rc(if ended.is_cancelled() { -1 } else { 0 }));
                tell(UpdateBody::Complete { error: None });
            }
        });
    }
}
