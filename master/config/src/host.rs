//! The host: loads configurations and answers their functions, over processes that come and go.
//!
//! [`Host`] is what everybody holds; [`HostDriver::run`] is the one task behind it. A load starts a process of its own,
//! and the one before stays in force until the new one is good. A process that dies is replaced when it is next needed;
//! what it had not answered is asked again, so functions may be called more than once. Whichever of them ended it is found
//! and fails: see [`driver`].

mod driver;
mod talks;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use muster_core::render::{Callable, Renderable};
use serde_json::{Map, Value};
use sha1::{Digest, Sha1};
use tokio::sync::{mpsc, oneshot};

use crate::conversation::{Conversation, FIRST_CONVERSATION, TalkOrder};
use crate::errors::{ConfigError, ConfigErrors, HostError};
use crate::process::{Event, Process};
use crate::snapshot::Snapshot;
use crate::wire::{Answer, AnswerBody, Message, Request, RequestBody, WireErrors};

pub use driver::HostDriver;

/// How long a configuration may take to load unless the caller says otherwise. Some clone repositories while they do.
pub const LOAD_LIMIT: Duration = Duration::from_secs(600);

/// How many calls may wait for their answers; the host runs as many at a time. More are refused with
/// [`HostError::Busy`].
pub const MAX_WAITING: usize = 64;

/// A good configuration.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it says.
    pub snapshot: Arc<Snapshot>,
    /// SHA-1 of the snapshot, in hex: equal digests are equal configurations.
    pub digest: String,
}

/// The way to the host. Clones share it; when the last one is gone, the host ends.
#[derive(Clone, Debug)]
pub struct Host {
    orders: mpsc::Sender<Order>,
    talks: mpsc::UnboundedSender<TalkOrder>,
    conversations: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Order {
    Load { config_file: String, check: Check, reply: Reply<Loaded> },
    Ask(Question),
}

/// What else a configuration must pass before it is in force.
pub struct Check(Box<Checking>);

type Checking = dyn FnOnce(&Snapshot) -> Result<(), ConfigErrors> + Send;

impl Check {
    /// A check by this function.
    pub fn new(check: impl FnOnce(&Snapshot) -> Result<(), ConfigErrors> + Send + 'static) -> Check {
        Check(Box::new(check))
    }

    /// None.
    pub fn none() -> Check {
        Check::new(|_| Ok(()))
    }
}

impl std::fmt::Debug for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Check")
    }
}

type Reply<T> = oneshot::Sender<Result<T, HostError>>;

/// One question to a loaded configuration.
#[derive(Debug)]
struct Question {
    body: QuestionBody,
    reply: Reply<Renderable>,
    /// How many processes ended while they worked on it, among others.
    deaths: u32,
}

#[derive(Debug)]
enum QuestionBody {
    Call { callable: Callable, args: Vec<Value>, kwargs: Map<String, Value> },
    Secret(String),
}

impl Host {
    /// A host for the configurations in `basedir`, evaluated by `program`. Nothing runs yet: the driver must.
    pub fn new(program: &Path, basedir: &Path) -> (Host, HostDriver) {
        Host::with_limit(program, basedir, LOAD_LIMIT)
    }

    /// The same, with another limit for how long a configuration may take to load.
    pub fn with_limit(program: &Path, basedir: &Path, limit: Duration) -> (Host, HostDriver) {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        let (talks, talking) = mpsc::unbounded_channel();
        let conversations = Arc::new(AtomicU64::new(FIRST_CONVERSATION));
        let driver = HostDriver::new(program, basedir, receiver, talking, limit);
        (Host { orders: sender, talks, conversations }, driver)
    }

    /// Begins a conversation about a step of the configuration's own; `wanted` is its `begin`.
    pub fn begin(&self, wanted: Value) -> Conversation {
        let number = self.conversations.fetch_add(1, Ordering::Relaxed);
        let (sender, news) = mpsc::unbounded_channel();
        let conversation = Conversation { number, orders: self.talks.clone(), news };
        drop(self.talks.send(TalkOrder::Begin { number, wanted, news: sender }));
        conversation
    }

    /// Evaluates `config_file` (relative to the base directory). If it is good, it is in force from now on.
    ///
    /// # Errors
    /// [`HostError::Config`] with everything that is wrong; the others when it could not be evaluated.
    pub async fn load(&self, config_file: &str) -> Result<Loaded, HostError> {
        self.load_checked(config_file, Check::none()).await
    }

    /// The same; what `check` refuses leaves the configuration before in force, with its functions.
    ///
    /// # Errors
    /// As [`Host::load`].
    pub async fn load_checked(&self, config_file: &str, check: Check) -> Result<Loaded, HostError> {
        let (reply, answer) = oneshot::channel();
        let order = Order::Load { config_file: config_file.to_owned(), check, reply };
        self.orders.send(order).await.map_err(|_| HostError::Stopped)?;
        answer.await.map_err(|_| HostError::Stopped)?
    }

    /// Calls a function of the configuration in force. Arguments are made by [`crate::argument`].
    ///
    /// # Errors
    /// [`HostError::Call`] when it raises; [`HostError::TimedOut`] after `limit`.
    pub async fn call(
        &self,
        callable: &Callable,
        args: Vec<Value>,
        kwargs: Map<String, Value>,
        limit: Duration,
    ) -> Result<Renderable, HostError> {
        self.ask(QuestionBody::Call { callable: callable.clone(), args, kwargs }, limit).await
    }

    /// The value of a secret.
    ///
    /// # Errors
    /// As [`Host::call`]; also when no provider has it.
    pub async fn secret(&self, name: &str, limit: Duration) -> Result<Renderable, HostError> {
        self.ask(QuestionBody::Secret(name.to_owned()), limit).await
    }

    async fn ask(&self, body: QuestionBody, limit: Duration) -> Result<Renderable, HostError> {
        let what = body.what();
        let (reply, answer) = oneshot::channel();
        let order = Order::Ask(Question { body, reply, deaths: 0 });
        match self.orders.try_send(order) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => return Err(HostError::Busy),
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(HostError::Stopped),
        }
        match tokio::time::timeout(limit, answer).await {
            Ok(answer) => answer.map_err(|_| HostError::Stopped)?,
            Err(_) => Err(HostError::TimedOut { what, limit }),
        }
    }
}

/// Evaluates one configuration and lets the process go, as `checkconfig` does.
///
/// # Errors
/// As [`Host::load`].
pub async fn evaluate(
    program: &Path,
    basedir: &Path,
    config_file: &str,
    check: Check,
    limit: Duration,
) -> Result<Loaded, HostError> {
    start_and_load(program.to_owned(), basedir.to_owned(), config_file.to_owned(), check, limit)
        .await
        .map(|(_, loaded)| loaded)
}

impl QuestionBody {
    fn request(&self) -> RequestBody<'_> {
        match self {
            QuestionBody::Call { callable, args, kwargs } => {
                RequestBody::Call { handle: &callable.handle, digest: &callable.source.digest, args, kwargs }
            }
            QuestionBody::Secret(name) => RequestBody::Secret { name },
        }
    }

    /// How people are told.
    fn what(&self) -> String {
        match self {
            QuestionBody::Call { callable, .. } => format!("the function {}", callable.handle),
            QuestionBody::Secret(name) => format!("the secret {name}"),
        }
    }
}

fn broken(reason: &str) -> HostError {
    HostError::Broken { reason: reason.to_owned(), stderr: String::new() }
}

/// Answers; whoever has stopped waiting does not need it.
fn respond<T>(reply: Reply<T>, answer: Result<T, HostError>) {
    drop(reply.send(answer));
}

async fn start_and_load(
    program: PathBuf,
    basedir: PathBuf,
    config_file: String,
    check: Check,
    limit: Duration,
) -> Result<(Process, Loaded), HostError> {
    let mut process = Process::start(&program, &basedir).await?;
    let answer = tokio::time::timeout(limit, load(&mut process, &basedir, &config_file, limit)).await;
    let snapshot = match answer {
        Ok(Ok(Ok(snapshot))) => snapshot,
        Ok(Ok(Err(wrong))) => return Err(all_that_is_wrong(wrong, check).into()),
        Ok(Err(error)) => return Err(error),
        Err(_) => return Err(HostError::LoadTooLong { config_file, limit, stderr: process.printed_last() }),
    };
    (check.0)(&snapshot)?;
    let mut digest = Digesting(Sha1::new());
    serde_json::to_writer(&mut digest, &snapshot).map_err(|e| broken(&format!("bad snapshot: {e}")))?;
    let digest = digest.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((process, Loaded { snapshot: Arc::new(snapshot), digest }))
}

/// Only the digest of what is written: the text of a large snapshot is as large as itself.
struct Digesting(Sha1);

impl std::io::Write for Digesting {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What the host found, and what the check finds in the rest of the configuration: the user sees all of it at once.
fn all_that_is_wrong(wrong: WireErrors, check: Check) -> ConfigErrors {
    let mut errors: Vec<_> =
        wrong.errors.into_iter().map(|e| ConfigError { text: e.text, source: e.source }).collect();
    // One with holes may be no snapshot at all; then there is nothing to check.
    if let Ok(partial) = serde_json::from_value::<Snapshot>(wrong.partial)
        && let Err(ConfigErrors(more)) = (check.0)(&partial)
    {
        let news: Vec<_> =
            more.into_iter().filter(|error| !errors.iter().any(|told| told.covers(error))).collect();
        errors.extend(news);
    }
    ConfigErrors(errors)
}

async fn load(
    process: &mut Process,
    basedir: &Path,
    config_file: &str,
    limit: Duration,
) -> Result<Result<Snapshot, WireErrors>, HostError> {
    let basedir = basedir.to_string_lossy();
    let body = RequestBody::Load { basedir: &basedir, config_file, limit: limit.as_secs_f64() };
    process.send(&Request { id: 0, body })?;
    match process.next().await {
        Event::Gone(reason) => Err(process.broken(reason)),
        Event::Message(message) => match *message {
            Message::Answer(Answer { body: AnswerBody::Loaded(snapshot), .. }) => Ok(Ok(*snapshot)),
            Message::Answer(Answer { body: AnswerBody::Errors(errors), .. }) => Ok(Err(errors)),
            _ => Err(process.broken("it answered another question".into())),
        },
    }
}
