//! Simulated workers of the session protocol: no process is started, every command succeeds at once.

use std::collections::HashMap;
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
    let dialing = async {
        for dial in 1.. {
            match connect(&master).await {
                Ok(transport) => {
                    let ended = link.converse(transport, dial, info(), &Canned).await;
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
                        arrived(&start, &seen);
                    }
                    link.acknowledge(command, number);
                    link.offer(command, Canned::UPDATES, true);
                }
                WorkerEvent::Stored { over: true, .. } => seen.lock().unwrap().done += 1,
                _ => {}
            }
        }
    };
    tokio::join!(dialing, working);
}

fn arrived(start: &StartCommand, seen: &Mutex<Seen>) {
    let now = SystemTime::now();
    let Command::Shell(shell) = &start.command else { return };
    let CommandLine::Argv(words) = &shell.command else { return };
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

/// What every command says: a header, success, the end.
struct Canned;

impl Canned {
    const UPDATES: u64 = 3;
}

impl Spool for Canned {
    fn load(&self, _command: CommandId, number: u64) -> io::Result<UpdateBody> {
        Ok(match number {
            1 => UpdateBody::Output(vec![Output {
                stream: Stream::Header,
                text: "true\n in dir /sim/build\n".to_owned(),
            }]),
            2 => UpdateBody::Rc(0),
            _ => UpdateBody::Complete { error: None },
        })
    }
}
