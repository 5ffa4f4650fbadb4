//! A worker under test and the master it talks to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use muster_core::{BuildId, CommandId, Epoch};
use muster_session::command::{Argument, Command, CommandLine, Shell, StartCommand, Stream, UpdateBody};
use muster_session::{MasterEvent, MasterEvents, MasterLink, MasterUrl, Passwords, Settings, Terms, serve};
use muster_worker::{Exit, Launcher, Limits, Stops, WorkerError, WorkerOptions};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub const PASSWORD: &str = "sesame";

/// Nothing in these tests takes longer; a hanging test shall fail instead.
const PATIENCE: Duration = Duration::from_secs(20);

/// Fails the test when a wait has no end.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// Waits until a state of the system is reached that nobody announces.
pub async fn until(what: &str, mut reached: impl FnMut() -> bool) {
    soon(what, async {
        while !reached() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// A worker, running in the test's process, with its master.
pub struct Rig {
    pub dir: tempfile::TempDir,
    pub master: Master,
    pub stops: Stops,
    pub worker: JoinHandle<Result<Exit, WorkerError>>,
    pub session: Session,
}

impl Rig {
    pub async fn start() -> Rig {
        Rig::with(Limits { logfile_poll: Duration::from_millis(20), ..Limits::default() }).await
    }

    pub async fn with(limits: Limits) -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let mut master = Master::listen().await;
        let stops = Stops::default();
        let worker = tokio::spawn(muster_worker::run(options(dir.path(), &master, limits), stops.clone()));
        let session = master.session().await;
        Rig { dir, master, stops, worker, session }
    }

    /// Where the tests' builder works.
    pub fn builder(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join("b1")
    }

    /// Where the tests' programs run.
    pub fn build(&self) -> PathBuf {
        self.builder().join("build")
    }

    pub fn records(&self) -> PathBuf {
        self.dir.path().join("commands")
    }

    pub async fn run(&mut self, command: Command) -> Updates {
        self.session.run(command).await
    }

    pub async fn sh(&mut self, script: &str) -> Updates {
        self.session.run(sh(script)).await
    }
}

pub fn options(dir: &Path, master: &Master, limits: Limits) -> WorkerOptions {
    let password = muster_session::Password::new(PASSWORD);
    let mut options = WorkerOptions::new(dir, vec![master.url.clone()], "w1", password);
    options.launcher = Launcher::Program(env!("CARGO_BIN_EXE_muster-launch").into());
    options.limits = limits;
    options
}

/// Listens for workers, and hands out one session for each of their lives.
pub struct Master {
    pub url: MasterUrl,
    away: Arc<AtomicBool>,
    sessions: mpsc::Receiver<Session>,
    _tasks: tokio::task::JoinSet<()>,
}

impl Master {
    pub async fn listen() -> Master {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url =
            MasterUrl { host: "127.0.0.1".into(), port: listener.local_addr().unwrap().port(), tls: false };
        let (openings, mut opened) = mpsc::channel(16);
        let (found, sessions) = mpsc::channel(16);
        let passwords: Passwords =
            Arc::new(|name| (name == "w1").then(|| muster_session::Password::new(PASSWORD)));
        let away = Arc::new(AtomicBool::new(false));
        let absent = away.clone();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(serve(listener, passwords, openings));
        tasks.spawn(async move {
            let mut current: Option<MasterLink> = None;
            while let Some(opening) = opened.recv().await {
                if absent.load(Ordering::SeqCst) {
                    continue;
                }
                let known = current.take().filter(|link| link.boot_id() == opening.boot_id());
                let link = match known {
                    Some(link) => link,
                    None => {
                        let (link, events) = MasterLink::new("w1", opening.boot_id().clone());
                        let info = opening.info().clone();
                        found.send(Session { link: link.clone(), events, info }).await.unwrap();
                        link
                    }
                };
                current = Some(link.clone());
                let mut terms = Terms::new(1, Epoch(1));
                terms.settings = Settings { buffer_ms: 30, ..Settings::default() };
                tokio::spawn(async move { link.converse(opening, terms).await });
            }
        });
        Master { url, away, sessions, _tasks: tasks }
    }

    /// The session of the worker's next life.
    pub async fn session(&mut self) -> Session {
        soon("a worker", self.sessions.recv()).await.unwrap()
    }

    /// While true, nobody is let in.
    pub fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }
}

/// The master's end of one session.
pub struct Session {
    pub link: MasterLink,
    pub events: MasterEvents,
    pub info: muster_session::WorkerInfo,
}

static NEXT: AtomicU32 = AtomicU32::new(0);

impl Session {
    /// Starts a command for builder `b1`.
    pub fn begin(&self, command: Command) -> CommandId {
        let id = CommandId { build: BuildId(1), step: 0, ordinal: NEXT.fetch_add(1, Ordering::SeqCst) };
        self.link.start(id, Epoch(1), StartCommand { builddir: "b1".into(), command }).unwrap();
        id
    }

    /// The next update of any command.
    pub async fn update(&mut self) -> (CommandId, u64, UpdateBody) {
        loop {
            match soon("an update", self.events.next()).await.unwrap() {
                MasterEvent::Update { command, number, body } => return (command, number, body),
                MasterEvent::Connected { .. } | MasterEvent::Disconnected { .. } => {}
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    /// Takes a command's updates, acknowledging each, until `enough`.
    pub async fn collect(&mut self, id: CommandId, mut enough: impl FnMut(&Updates) -> bool) -> Updates {
        let mut updates = Updates::default();
        loop {
            let (command, number, body) = self.update().await;
            self.link.acknowledge(command, number);
            if command != id {
                continue;
            }
            updates.0.push(body);
            if enough(&updates) {
                return updates;
            }
        }
    }

    /// All updates of a command up to its end.
    pub async fn finish(&mut self, id: CommandId) -> Updates {
        self.collect(id, Updates::is_complete).await
    }

    pub async fn run(&mut self, command: Command) -> Updates {
        let id = self.begin(command);
        self.finish(id).await
    }
}

/// What a command said.
#[derive(Debug, Default)]
pub struct Updates(pub Vec<UpdateBody>);

impl Updates {
    pub fn is_complete(&self) -> bool {
        matches!(self.0.last(), Some(UpdateBody::Complete { .. }))
    }

    pub fn text(&self, stream: Stream) -> String {
        let outputs = self.0.iter().filter_map(|update| match update {
            UpdateBody::Output(items) => Some(items),
            _ => None,
        });
        outputs.flatten().filter(|item| item.stream == stream).map(|item| item.text.as_str()).collect()
    }

    pub fn stdout(&self) -> String {
        self.text(Stream::Stdout)
    }

    pub fn stderr(&self) -> String {
        self.text(Stream::Stderr)
    }

    pub fn header(&self) -> String {
        self.text(Stream::Header)
    }

    /// The only exit code, if there is one.
    pub fn rc(&self) -> Option<i64> {
        let mut codes = self.0.iter().filter_map(|update| match update {
            UpdateBody::Rc(rc) => Some(*rc),
            _ => None,
        });
        let first = codes.next();
        assert_eq!(codes.next(), None, "two exit codes: {self:?}");
        first
    }

    pub fn failure_reason(&self) -> Option<&str> {
        self.0.iter().find_map(|update| match update {
            UpdateBody::FailureReason(reason) => Some(reason.as_str()),
            _ => None,
        })
    }

    pub fn error(&self) -> Option<&str> {
        match self.0.last() {
            Some(UpdateBody::Complete { error }) => error.as_deref(),
            other => panic!("not complete: {other:?}"),
        }
    }

    pub fn has_elapsed(&self) -> bool {
        self.0.iter().any(|update| matches!(update, UpdateBody::Elapsed(_)))
    }

    pub fn chunks(&self) -> Vec<&[u8]> {
        let chunks = self.0.iter().filter_map(|update| match update {
            UpdateBody::Chunk(bytes) => Some(bytes.as_slice()),
            _ => None,
        });
        chunks.collect()
    }

    pub fn files(&self) -> Vec<String> {
        let lists = self.0.iter().filter_map(|update| match update {
            UpdateBody::Files(names) => Some(names.clone()),
            _ => None,
        });
        lists.flatten().collect()
    }
}

/// A program with quiet headers and no limits.
pub fn shell(command: CommandLine) -> Shell {
    Shell { command, timeout: None, log_environ: false, env: BTreeMap::new(), ..Shell::default() }
}

pub fn script(text: &str) -> Shell {
    shell(CommandLine::Script(text.into()))
}

pub fn argv(words: &[&str]) -> Shell {
    shell(CommandLine::Argv(words.iter().map(|word| Argument::from(*word)).collect()))
}

pub fn sh(text: &str) -> Command {
    Command::Shell(script(text))
}

/// Whether a process exists and is more than a zombie.
pub fn lives(pid: &str) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())) else { return false };
    !stat[stat.rfind(')').unwrap()..].starts_with(") Z")
}
