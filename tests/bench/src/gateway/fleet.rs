//! Simulated stock workers over PB: no process is started. Most commands succeed at once; `sim log BYTES LINE` writes
//! that many bytes in lines of so many characters, as fast as the master takes them.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use muster_gateway::value::Value;
use tokio::runtime::{self, Runtime};

use super::pb::{Heard, Peer, Target};

/// The object that stands for the worker; builders follow.
const FIRST_BUILDER: u64 = 2;
/// Bytes in one update, as a stock worker sends a busy command's output.
const UPDATE: usize = 64 * 1024;
/// Updates that may wait for their confirmation.
const WINDOW: usize = 32;

/// What the workers saw.
#[derive(Default)]
pub struct Seen {
    /// Workers that the master has taken.
    pub attached: usize,
    /// When the last of them was.
    pub last_attach: Option<Instant>,
    /// Connections that ended.
    pub lost: usize,
    /// Commands that ended.
    pub done: usize,
    /// How long the log took until each update was confirmed.
    pub log_confirmed: Option<Duration>,
}

/// Workers in a thread of this process; they go with this value.
pub struct PbFleet {
    seen: Arc<Mutex<Seen>>,
    _runtime: Runtime,
}

impl PbFleet {
    /// `count` workers `w0`, `w1`, … that all connect at once.
    pub fn start(master: SocketAddr, count: usize) -> PbFleet {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        for number in 0..count {
            let seen = seen.clone();
            runtime.spawn(async move {
                if let Err(error) = work(master, &format!("w{number}"), &seen).await {
                    let mut seen = seen.lock().unwrap();
                    if seen.lost == 0 {
                        eprintln!("w{number}: {error}; further workers that are lost are only counted");
                    }
                    seen.lost += 1;
                }
            });
        }
        PbFleet { seen, _runtime: runtime }
    }

    /// Takes a look.
    pub fn seen<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.seen.lock().unwrap())
    }
}

/// Output that is being sent.
struct Log {
    command: u64,
    began: Instant,
    left: usize,
    line: usize,
    unconfirmed: usize,
}

async fn work(master: SocketAddr, name: &str, seen: &Mutex<Seen>) -> io::Result<()> {
    let mut peer = Peer::connect(master).await?;
    let login = peer.log_in(name, "pw").await?;
    let mut log: Option<Log> = None;
    loop {
        match peer.hear().await? {
            Heard::Answer { request, .. } if request == login => {
                let mut seen = seen.lock().unwrap();
                seen.attached += 1;
                seen.last_attach = Some(Instant::now());
            }
            Heard::Answer { .. } => {
                if let Some(log) = &mut log {
                    log.unconfirmed = log.unconfirmed.saturating_sub(1);
                }
            }
            Heard::Error { request } => return Err(io::Error::other(format!("call {request} was refused"))),
            Heard::Call { request, method, args, .. } if method == "startCommand" => {
                peer.answer(request, &Value::None);
                log = start(&mut peer, &args, seen)?.or(log);
            }
            Heard::Call { request, object, method, args } => {
                peer.answer(request, &answer(name, object, &method, &args));
            }
        }
        if let Some(going) = &mut log
            && go_on(&mut peer, going, seen)
        {
            log = None;
        }
    }
}

fn answer(name: &str, object: i128, method: &str, args: &[Value]) -> Value {
    match (object, method) {
        (_, "getWorkerInfo") => Value::dict([
            ("admin", Value::from("nobody")),
            ("host", "simulated".into()),
            ("basedir", format!("/sim/{name}").into()),
            ("system", "posix".into()),
            ("version", "4.3.0".into()),
            ("numcpus", Value::Int(2)),
            (
                "worker_commands",
                Value::dict(["shell", "uploadFile", "mkdir", "rmdir", "stat"].map(|name| (name, "3.3"))),
            ),
        ]),
        (_, "setBuilderList") => {
            let builders = args.first().and_then(Value::elements).unwrap_or_default();
            let names = builders.iter().filter_map(|builder| builder.elements()?.first()?.as_text());
            Value::dict(names.zip(FIRST_BUILDER..).map(|(name, number)| (name, Value::Ours(number))))
        }
        _ => Value::None,
    }
}

/// Begins a command; answers what is left to send of it.
fn start(peer: &mut Peer, args: &[Value], seen: &Mutex<Seen>) -> io::Result<Option<Log>> {
    let [Value::Theirs(command), _, name, arguments] = args else {
        return Err(io::Error::other(format!("a command that can't be read: {args:?}")));
    };
    let words: Vec<String> = match arguments.get("command") {
        Some(command) => command.elements().unwrap_or_default().iter().filter_map(Value::as_text).collect(),
        None => Vec::new(),
    };
    if let [sim, log, bytes, line] = words.as_slice()
        && (sim.as_str(), log.as_str()) == ("sim", "log")
    {
        let number = |text: &str| text.parse().map_err(io::Error::other);
        let (left, line) = (number(bytes)?, number(line)?);
        return Ok(Some(Log { command: *command, began: Instant::now(), left, line, unconfirmed: 0 }));
    }
    if name.as_text().as_deref() == Some("shell") {
        update(peer, *command, "header", lines_of("true\n in dir /sim\n".to_owned()));
    }
    end(peer, *command, seen);
    Ok(None)
}

/// Sends as much as the window allows; whether everything is sent and confirmed.
fn go_on(peer: &mut Peer, log: &mut Log, seen: &Mutex<Seen>) -> bool {
    while log.left > 0 && log.unconfirmed < WINDOW {
        let whole_lines = UPDATE - UPDATE % log.line;
        let text = text(log.line, log.left.min(whole_lines));
        log.left -= text.len();
        log.unconfirmed += 1;
        update(peer, log.command, "stdout", lines_of(text));
    }
    let over = log.left == 0 && log.unconfirmed == 0;
    if over {
        seen.lock().unwrap().log_confirmed = Some(log.began.elapsed());
        end(peer, log.command, seen);
    }
    over
}

/// Text of `size` bytes in numbered lines of `line` characters with their end; no two beside each other are equal.
fn text(line: usize, size: usize) -> String {
    let mut text = String::with_capacity(size + line);
    for number in 0.. {
        if text.len() >= size {
            break;
        }
        let begin = format!("{number:08} ");
        text.push_str(&format!("{begin:x<width$}\n", width = line - 1));
    }
    text.truncate(size);
    text
}

/// Text as a stock worker sends it: with the places of its line ends and their times.
fn lines_of(text: String) -> Value {
    let ends: Vec<Value> = text
        .bytes()
        .enumerate()
        .filter(|(_, byte)| *byte == b'\n')
        .map(|(place, _)| Value::Int(place as i128))
        .collect();
    let times = ends.iter().map(|_| Value::Float(1.7e9)).collect();
    Value::Tuple(vec![text.into(), Value::List(ends), Value::List(times)])
}

fn update(peer: &mut Peer, command: u64, key: &str, value: Value) {
    let fields = Value::dict([(key, value)]);
    let update = Value::List(vec![Value::List(vec![fields, Value::Int(0)])]);
    peer.call(Target::Object(command), "update", vec![update]);
}

fn end(peer: &mut Peer, command: u64, seen: &Mutex<Seen>) {
    update(peer, command, "rc", Value::Int(0));
    peer.call(Target::Object(command), "complete", vec![Value::None]);
    seen.lock().unwrap().done += 1;
}
