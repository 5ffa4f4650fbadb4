//! A worker that does what a function says, over a real session in memory.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    io::Write,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex},
};

use muster_core::{CommandId, Epoch};
use muster_session::{
    BootId, Command, Identity, Order, Password, Spool, StartCommand, Terms, Transport, UpdateBody,
    WorkerEvent, WorkerEvents, WorkerLink,
    command::{Argument, CommandLine, EnvValue, Output, Shell, Stream},
    open,
};
use tokio::sync::watch;

use crate::slots::Slots;

/// What a command comes to. Bytes are those of a download.
pub(in crate::steps) type Script = Arc<dyn Fn(&StartCommand, &[u8]) -> Reply + Send + Sync>;

/// How a command goes.
pub(in crate::steps) enum Reply {
    /// It tells this and ends, well if it doesn't tell otherwise.
    Ends(Vec<UpdateBody>),
    /// It tells this, and goes on until it is interrupted or [told to finish](TestWorker::finish).
    Runs(Vec<UpdateBody>),
}

/// Text on standard output, and an exit code.
pub(in crate::steps) fn says(stdout: &str, rc: i64) -> Vec<UpdateBody> {
    let output = Output { stream: Stream::Stdout, text: stdout.to_owned() };
    vec![UpdateBody::Output(vec![output]), UpdateBody::Rc(rc)]
}

/// The worker.
pub(in crate::steps) struct TestWorker {
    boot: BootId,
    link: WorkerLink,
    spool: Arc<MemorySpool>,
    dials: Mutex<u64>,
    stored: watch::Receiver<u64>,
}

#[derive(Default)]
struct MemorySpool(Mutex<Spooled>);

#[derive(Default)]
struct Spooled {
    updates: HashMap<(CommandId, u64), UpdateBody>,
    last: BTreeMap<CommandId, u64>,
    orders: Vec<Command>,
    running: Vec<CommandId>,
}

impl Spool for MemorySpool {
    fn load(&self, command: CommandId, number: u64) -> io::Result<UpdateBody> {
        let found = self.0.lock().unwrap().updates.get(&(command, number)).cloned();
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl TestWorker {
    pub(super) fn new(boot: BootId, script: Script) -> TestWorker {
        let identity = Identity {
            worker: "w".into(),
            password: Password::new("p"),
            boot_id: boot.clone(),
            generation: 0,
        };
        let (link, events) = WorkerLink::new(identity);
        let spool = Arc::new(MemorySpool::default());
        let (told, stored) = watch::channel(0);
        tokio::spawn(carry_out(link.clone(), events, spool.clone(), script, told));
        TestWorker { boot, link, spool, dials: Mutex::new(0), stored }
    }

    /// Connects to the master that has these slots; returns when it is connected.
    pub(super) async fn dial(&self, slots: &Slots) {
        let dial = {
            let mut dials = self.dials.lock().unwrap();
            *dials += 1;
            *dials
        };
        let (ours, theirs) = Transport::pair();
        let (link, spool) = (self.link.clone(), self.spool.clone());
        tokio::spawn(async move {
            let info = BTreeMap::from([("basedir".to_owned(), "/worker".into())]);
            link.converse(ours, dial, info, &*spool).await
        });
        let passwords: muster_session::Passwords = Arc::new(|_| Some(Password::new("p")));
        let opening = open(theirs, &passwords).await.unwrap();
        let slot = slots.get("w").unwrap();
        let (link, events) = slot.link_for(&self.boot, opening.info(), false);
        if let Some(events) = events {
            let (slot, boot) = (slot.clone(), self.boot.clone());
            tokio::spawn(async move { slot.pump(boot, events).await });
        }
        tokio::spawn(async move { link.converse(opening, Terms::new(1, Epoch(1))).await });
        slot.wait_connected().await.unwrap();
    }

    /// Every command it was ordered to begin, in that order.
    pub(in crate::steps) fn orders(&self) -> Vec<Command> {
        self.spool.0.lock().unwrap().orders.clone()
    }

    /// Its shell commands as they were ordered.
    pub(in crate::steps) fn shells(&self) -> Vec<Shell> {
        let shells = self.orders().into_iter().filter_map(|order| match order {
            Command::Shell(shell) => Some(shell),
            _ => None,
        });
        shells.collect()
    }

    /// Its command lines, and the names of its other orders.
    pub(in crate::steps) fn lines(&self) -> Vec<String> {
        self.orders().iter().map(line).collect()
    }

    /// Waits until the master has stored that many updates.
    pub(in crate::steps) async fn stored(&self, number: u64) {
        self.stored.clone().wait_for(|stored| *stored >= number).await.unwrap();
    }

    /// Waits until a command runs.
    pub(in crate::steps) async fn is_running(&self) {
        while self.spool.0.lock().unwrap().running.is_empty() {
            tokio::task::yield_now().await;
        }
    }

    /// Ends the running command.
    pub(in crate::steps) fn finish(&self, updates: Vec<UpdateBody>) {
        let command = self.spool.0.lock().unwrap().running.pop().expect("a command runs");
        self.spool.tell(&self.link, command, updates, true);
    }
}

/// A command as a test compares it: `git fetch …`, `rmdir build`.
fn line(command: &Command) -> String {
    match command {
        Command::Shell(Shell { command: CommandLine::Script(script), .. }) => script.real().to_owned(),
        Command::Shell(Shell { command: CommandLine::Argv(words), .. }) => {
            words.iter().map(Argument::shown).collect::<Vec<_>>().join(" ")
        }
        Command::Mkdir { dirs } | Command::Rmdir { dirs, .. } => {
            format!("{} {}", command.name(), dirs.join(" "))
        }
        Command::Cpdir { from, to, .. } => format!("cpdir {from} {to}"),
        Command::Stat { file, .. } => format!("stat {file}"),
        Command::Listdir { dir } => format!("listdir {dir}"),
        Command::DownloadFile(download) => format!("downloadFile {}", download.destination),
        Command::UploadFile(upload) => format!("uploadFile {}", upload.source),
        other => other.name().to_owned(),
    }
}

impl MemorySpool {
    fn tell(&self, link: &WorkerLink, command: CommandId, updates: Vec<UpdateBody>, ends: bool) {
        let broken = matches!(updates.last(), Some(UpdateBody::Complete { .. }));
        let end = (ends && !broken).then_some(UpdateBody::Complete { error: None });
        let number = {
            let mut spooled = self.0.lock().unwrap();
            let mut number = spooled.last.get(&command).copied().unwrap_or(0);
            for update in updates.into_iter().chain(end) {
                number += 1;
                spooled.updates.insert((command, number), update);
            }
            spooled.last.insert(command, number);
            number
        };
        if number > 0 {
            link.offer(command, number, ends);
        }
    }
}

async fn carry_out(
    link: WorkerLink,
    mut events: WorkerEvents,
    spool: Arc<MemorySpool>,
    script: Script,
    told: watch::Sender<u64>,
) {
    let mut downloads: HashMap<CommandId, (StartCommand, Vec<u8>)> = HashMap::new();
    while let Some(event) = events.next().await {
        match event {
            WorkerEvent::Order { command, number, order, .. } => {
                link.acknowledge(command, number);
                let ready = match order {
                    Order::Start(start) => {
                        spool.0.lock().unwrap().orders.push(start.command.clone());
                        match &start.command {
                            Command::DownloadFile(_) => {
                                downloads.insert(command, (*start, Vec::new()));
                                None
                            }
                            _ => Some((*start, Vec::new())),
                        }
                    }
                    Order::Chunk { bytes, eof } => {
                        if let Some((_, received)) = downloads.get_mut(&command) {
                            received.extend(bytes);
                        }
                        if eof { downloads.remove(&command) } else { None }
                    }
                    Order::Interrupt { .. } => {
                        let was_running = {
                            let running = &mut spool.0.lock().unwrap().running;
                            let before = running.len();
                            running.retain(|known| *known != command);
                            running.len() < before
                        };
                        if was_running {
                            spool.tell(&link, command, vec![UpdateBody::Rc(-1)], true);
                        }
                        None
                    }
                };
                let Some((start, bytes)) = ready else { continue };
                match script(&start, &bytes) {
                    Reply::Ends(updates) => spool.tell(&link, command, updates, true),
                    Reply::Runs(updates) => {
                        spool.tell(&link, command, updates, false);
                        spool.0.lock().unwrap().running.push(command);
                    }
                }
            }
            WorkerEvent::Stored { number, .. } => {
                told.send_replace(number);
            }
            _ => {}
        }
    }
}

/// A worker that really does it, below `base`.
pub(in crate::steps) fn hands_on(base: &Path) -> Script {
    let base = base.to_owned();
    Arc::new(move |start, bytes| {
        Reply::Ends(carry_out_really(&base.join(&start.builddir), &start.command, bytes))
    })
}

fn carry_out_really(dir: &Path, command: &Command, bytes: &[u8]) -> Vec<UpdateBody> {
    fs::create_dir_all(dir).unwrap();
    let done = |result: io::Result<()>| vec![UpdateBody::Rc(i64::from(result.is_err()))];
    match command {
        Command::Shell(shell) => run(dir, shell),
        Command::Mkdir { dirs } => done(dirs.iter().try_for_each(|name| fs::create_dir_all(dir.join(name)))),
        Command::Rmdir { dirs, .. } => {
            for path in dirs.iter().map(|name| dir.join(name)) {
                let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
                drop(removed);
            }
            vec![UpdateBody::Rc(0)]
        }
        Command::Rmfile { path } => done(fs::remove_file(dir.join(path))),
        Command::Cpdir { from, to, .. } => {
            let copied =
                std::process::Command::new("cp").arg("-a").arg(dir.join(from)).arg(dir.join(to)).status();
            vec![UpdateBody::Rc(i64::from(!copied.unwrap().success()))]
        }
        Command::Stat { file, workdir } => {
            match fs::metadata(dir.join(workdir.as_deref().unwrap_or("")).join(file)) {
                Ok(found) => {
                    let mut stat = [0; 10];
                    stat[0] = i64::from(found.mode());
                    vec![UpdateBody::Stat(stat), UpdateBody::Rc(0)]
                }
                Err(_) => vec![UpdateBody::Rc(2)],
            }
        }
        Command::Listdir { dir: name } => match fs::read_dir(dir.join(name)) {
            Ok(entries) => {
                let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
                vec![UpdateBody::Files(names), UpdateBody::Rc(0)]
            }
            Err(_) => vec![UpdateBody::Rc(2)],
        },
        Command::DownloadFile(download) => {
            let path = dir.join(&download.workdir).join(&download.destination);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            done(fs::write(path, bytes))
        }
        other => panic!("{other:?} is beyond this worker"),
    }
}

fn run(dir: &Path, shell: &Shell) -> Vec<UpdateBody> {
    let workdir: PathBuf = dir.join(&shell.workdir);
    fs::create_dir_all(&workdir).unwrap();
    let words: Vec<String> = match &shell.command {
        CommandLine::Script(script) => vec!["/bin/sh".into(), "-c".into(), script.real().into()],
        CommandLine::Argv(words) => words.iter().map(|word| word.real().to_owned()).collect(),
    };
    let mut command = std::process::Command::new(&words[0]);
    command.args(&words[1..]).current_dir(workdir).env("GIT_CONFIG_NOSYSTEM", "1").env("HOME", dir);
    for (name, value) in &shell.env {
        match value {
            EnvValue::Set(value) => command.env(name, value),
            EnvValue::Joined(parts) => command.env(name, parts.join(":")),
            EnvValue::Remove => command.env_remove(name),
        };
    }
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(shell.initial_stdin.as_deref().unwrap_or_default().as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let text =
        |stream: Stream, bytes: &[u8]| Output { stream, text: String::from_utf8_lossy(bytes).into_owned() };
    vec![
        UpdateBody::Output(vec![text(Stream::Stdout, &output.stdout), text(Stream::Stderr, &output.stderr)]),
        UpdateBody::Rc(i64::from(output.status.code().unwrap_or(-1))),
    ]
}
