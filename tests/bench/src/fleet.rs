//! Simulated workers of the session protocol: no process is started, every command succeeds at once.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use muster_core::CommandId;
use muster_session::command::{CommandLine, Output, Stream};
use muster_session::{
    BootId, Command, Identity, MasterUrl, Order, Password, Spool, StartCommand, UpdateBody, WorkerEvent,
    WorkerInfo, WorkerLink, connect,
};

use tokio::runtime::{self, Runtime};

use crate::contender::token;

/// Between dials, should a connection break.
const REDIAL: Duration = Duration::from_millis(200);

/// What the workers saw.
#[derive(Default)]
pub struct Seen {
    /// When the command with each token arrived.
    pub starts: HashMap<String, SystemTime>,
    /// Commands whose end the master has stored.
    pub done: usize,
    /// What the command `log` says, in updates.
    log: Arc<[String]>,
    /// Commands that say it.
    talkative: HashSet<CommandId>,
}

/// Workers in a thread of this process; they go with this value.
pub struct Fleet {
    seen: Arc<Mutex<Seen>>,
    _runtime: Runtime,
}

impl Fleet {
    /// Workers `w0`, `w1`, … by their `numbers`, that dial `master`.
    pub fn start(master: &MasterUrl, numbers: Vec<usize>) -> Fleet {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        for number in numbers {
            runtime.spawn(work(format!("w{number}"), master.clone(), seen.clone()));
        }
        Fleet { seen, _runtime: runtime }
    }

    /// From now on the command `log` says this, in so many updates.
    pub fn prepare_log(&self, updates: Arc<[String]>) {
        self.seen(|seen| seen.log = updates);
    }

    /// Takes a look.
    pub fn seen<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.seen.lock().unwrap())
    }
}

async fn work(name: String, master: MasterUrl, seen: Arc<Mutex<Seen>>) {
    let identity = Identity {
        worker: name.clone(),
        password: Password::new("pw"),
        boot_id: BootId::fresh(),
        generation: 0,
    };
    let (link, mut events) = WorkerLink::new(identity);
    let said = Said(seen.clone());
    let dialing = async {
        for dial in 1.. {
            match connect(&master).await {
                Ok(transport) => {
                    let ended = link.converse(transport, dial, info(), &said).await;
                    eprintln!("{name}: {ended}");
                }
                Err(error) => eprintln!("{name}: {error}"),
            }
            tokio::time::sleep(REDIAL).await;
        }
    };
    let working = async {
        while let Some(event) = events.next().await {
            match event {
                WorkerEvent::Order { command, number, order, .. } => {
                    if let Order::Start(start) = order {
                        arrived(command, &start, &seen);
                    }
                    link.acknowledge(command, number);
                    link.offer(command, said.updates(command), true);
                }
                WorkerEvent::Stored { over: true, .. } => seen.lock().unwrap().done += 1,
                _ => {}
            }
        }
    };
    tokio::join!(dialing, working);
}

fn arrived(command: CommandId, start: &StartCommand, seen: &Mutex<Seen>) {
    let now = SystemTime::now();
    let Command::Shell(shell) = &start.command else { return };
    let CommandLine::Argv(words) = &shell.command else { return };
    if words.iter().any(|word| word.real() == "log") {
        seen.lock().unwrap().talkative.insert(command);
    }
    if let Some(token) = token(words.iter().map(|word| word.real())) {
        seen.lock().unwrap().starts.insert(token.to_owned(), now);
    }
}

fn info() -> WorkerInfo {
    let told = [
        ("admin", "nobody"),
        ("host", "simulated"),
        ("version", "1"),
        ("system", "posix"),
        ("basedir", "/sim"),
    ];
    told.map(|(key, value)| (key.to_owned(), value.into())).into()
}

/// What commands say: a header, some of them a log, success, the end.
struct Said(Arc<Mutex<Seen>>);

impl Said {
    fn updates(&self, command: CommandId) -> u64 {
        self.log_of(command).len() as u64 + 3
    }

    fn log_of(&self, command: CommandId) -> Arc<[String]> {
        let seen = self.0.lock().unwrap();
        if seen.talkative.contains(&command) { seen.log.clone() } else { Arc::default() }
    }
}

impl Spool for Said {
    fn load(&self, command: CommandId, number: u64) -> io::Result<UpdateBody> {
        let log = self.log_of(command);
        let (last, number) = (log.len() as u64 + 2, number - 1);
        Ok(match number {
            0 => UpdateBody::Output(vec![Output {
                stream: Stream::Header,
                text: "true\n in dir /sim/build\n".to_owned(),
            }]),
            number if number == last => UpdateBody::Complete { error: None },
            number if number + 1 == last => UpdateBody::Rc(0),
            number => UpdateBody::Output(vec![Output {
                stream: Stream::Stdout,
                text: log[number as usize - 1].clone(),
            }]),
        })
    }
}
