//! The host: loads configurations and answers their functions, over processes that come and go.
//!
//! [`Host`] is what everybody holds; [`HostDriver::run`] is the one task behind it. A load starts a process of its own,
//! and the one before stays in force until the new one is good. A process that dies is replaced when it is next needed;
//! what it had not answered is asked once more, so functions may be called more than once.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use muster_core::render::{Callable, Renderable};
use serde_json::{Map, Value};
use sha1::{Digest, Sha1};
use tokio::sync::{mpsc, oneshot};

use crate::errors::{ConfigError, ConfigErrors, HostError};
use crate::process::{Event, Process};
use crate::snapshot::Snapshot;
use crate::wire::{Answer, AnswerBody, Message, Request, RequestBody};

/// How long a configuration may take to load. Some clone repositories while they do.
const LOAD_LIMIT: Duration = Duration::from_secs(600);

/// How many calls may wait for their answers; the host runs as many at a time. More are refused with
/// [`HostError::Busy`].
pub const MAX_WAITING: usize = 64;

/// How many calls may go on after their callers gave up. At that number the process is replaced, because threads of
/// Python can't be ended one by one.
const MAX_ABANDONED: usize = 16;

/// How often one call is tried when processes die under it.
const ATTEMPTS: u32 = 2;

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
}

#[derive(Debug)]
enum Order {
    Load { config_file: String, reply: Reply<Loaded> },
    Ask(Question),
}

type Reply<T> = oneshot::Sender<Result<T, HostError>>;

/// One question to a loaded configuration.
#[derive(Debug)]
struct Question {
    body: QuestionBody,
    reply: Reply<Renderable>,
    attempts: u32,
}

#[derive(Debug)]
enum QuestionBody {
    Call { callable: Callable, args: Vec<Value>, kwargs: Map<String, Value> },
    Secret(String),
}

impl Host {
    /// A host for the configurations in `basedir`, evaluated by `program`. Nothing runs yet: the driver must.
    pub fn new(program: &Path, basedir: &Path) -> (Host, HostDriver) {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        let driver = HostDriver {
            program: program.to_owned(),
            basedir: basedir.to_owned(),
            orders: receiver,
            process: None,
            loading: None,
            in_force: None,
            waiting: BTreeMap::new(),
            next_id: 1,
        };
        (Host { orders: sender }, driver)
    }

    /// Evaluates `config_file` (relative to the base directory). If it is good, it is in force from now on.
    ///
    /// # Errors
    /// [`HostError::Config`] with everything that is wrong; the others when it could not be evaluated.
    pub async fn load(&self, config_file: &str) -> Result<Loaded, HostError> {
        let (reply, answer) = oneshot::channel();
        let order = Order::Load { config_file: config_file.to_owned(), reply };
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
        let what = format!("the function {}", callable.handle);
        self.ask(QuestionBody::Call { callable: callable.clone(), args, kwargs }, what, limit).await
    }

    /// The value of a secret.
    ///
    /// # Errors
    /// As [`Host::call`]; also when no provider has it.
    pub async fn secret(&self, name: &str, limit: Duration) -> Result<Renderable, HostError> {
        self.ask(QuestionBody::Secret(name.to_owned()), format!("the secret {name}"), limit).await
    }

    async fn ask(&self, body: QuestionBody, what: String, limit: Duration) -> Result<Renderable, HostError> {
        let (reply, answer) = oneshot::channel();
        let order = Order::Ask(Question { body, reply, attempts: 0 });
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
pub async fn evaluate(program: &Path, basedir: &Path, config_file: &str) -> Result<Loaded, HostError> {
    start_and_load(program.to_owned(), basedir.to_owned(), config_file.to_owned())
        .await
        .map(|(_, loaded)| loaded)
}

/// The configuration that answers.
#[derive(Debug)]
struct InForce {
    config_file: String,
    has_callables: bool,
}

type Loading = Pin<Box<dyn Future<Output = LoadEnd> + Send>>;

struct LoadEnd {
    config_file: String,
    result: Result<(Process, Loaded), HostError>,
    /// Nobody, when a dead process is replaced.
    reply: Option<Reply<Loaded>>,
}

/// Does what its [`Host`]s ask for.
pub struct HostDriver {
    program: PathBuf,
    basedir: PathBuf,
    orders: mpsc::Receiver<Order>,
    process: Option<Process>,
    loading: Option<Loading>,
    in_force: Option<InForce>,
    waiting: BTreeMap<u64, Question>,
    next_id: u64,
}

/// What the driver does next.
enum Next {
    Order(Option<Order>),
    Event(Event),
    Loaded(Box<LoadEnd>),
}

impl HostDriver {
    /// Runs until the last [`Host`] is gone; then the process is killed.
    pub async fn run(mut self) {
        loop {
            match self.next().await {
                Next::Order(None) => return,
                Next::Order(Some(Order::Load { config_file, reply })) => {
                    self.begin_load(config_file, Some(reply))
                }
                Next::Order(Some(Order::Ask(question))) => self.ask(question).await,
                Next::Event(Event::Message(message)) => self.answer(*message),
                Next::Event(Event::Gone(reason)) => self.process_gone(&reason),
                Next::Loaded(end) => self.end_load(*end).await,
            }
        }
    }

    async fn next(&mut self) -> Next {
        let HostDriver { orders, process, loading, .. } = self;
        let event = async {
            match process {
                Some(process) => process.next().await,
                None => std::future::pending().await,
            }
        };
        let loaded = async {
            match loading {
                Some(loading) => loading.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            end = loaded => Next::Loaded(Box::new(end)),
            event = event => Next::Event(event),
            order = orders.recv() => Next::Order(order),
        }
    }

    fn begin_load(&mut self, config_file: String, reply: Option<Reply<Loaded>>) {
        if self.loading.is_some() {
            if let Some(reply) = reply {
                respond(reply, Err(HostError::Busy));
            }
            return;
        }
        let (program, basedir) = (self.program.clone(), self.basedir.clone());
        self.loading = Some(Box::pin(async move {
            let result = start_and_load(program, basedir, config_file.clone()).await;
            LoadEnd { config_file, result, reply }
        }));
    }

    async fn end_load(&mut self, end: LoadEnd) {
        self.loading = None;
        let (process, loaded) = match end.result {
            Ok(good) => good,
            Err(error) => return self.load_failed(error, end.reply),
        };
        let has_callables = loaded.snapshot.has_callables;
        self.process = has_callables.then_some(process);
        self.in_force = Some(InForce { config_file: end.config_file, has_callables });
        if let Some(reply) = end.reply {
            respond(reply, Ok(loaded));
        }
        // What the process before had not answered goes to the new one.
        for (_, question) in std::mem::take(&mut self.waiting) {
            self.ask(question).await;
        }
    }

    fn load_failed(&mut self, error: HostError, reply: Option<Reply<Loaded>>) {
        match reply {
            Some(reply) => {
                respond(reply, Err(error));
                if self.process.is_none() && !self.waiting.is_empty() {
                    self.replace();
                }
            }
            None => self.fail_all(&format!("it could not be replaced: {error}")),
        }
    }

    async fn ask(&mut self, mut question: Question) {
        if question.reply.is_closed() {
            return;
        }
        if question.attempts >= ATTEMPTS {
            return respond(question.reply, Err(broken("it died while it worked on this")));
        }
        if !self.in_force.as_ref().is_some_and(|config| config.has_callables) {
            let reason = "the configuration in force has no functions and no secrets";
            return respond(question.reply, Err(broken(reason)));
        }
        if self.waiting.len() >= MAX_WAITING {
            return respond(question.reply, Err(HostError::Busy));
        }
        let id = self.next_id;
        self.next_id += 1;
        if let Some(process) = &mut self.process {
            question.attempts += 1;
            if let Err(error) = process.send(&Request { id, body: question.body.request() }).await {
                tracing::warn!("{error}");
            }
        } else {
            self.replace();
        }
        self.waiting.insert(id, question);
        self.replace_stuck();
    }

    /// Starts a process for the configuration in force, unless a load is on its way anyway.
    fn replace(&mut self) {
        if self.loading.is_none()
            && let Some(config) = &self.in_force
        {
            self.begin_load(config.config_file.clone(), None);
        }
    }

    fn replace_stuck(&mut self) {
        let abandoned = self.waiting.values().filter(|question| question.reply.is_closed()).count();
        if abandoned < MAX_ABANDONED || self.process.is_none() {
            return;
        }
        tracing::warn!(
            "{abandoned} functions of the configuration never returned; the Python host is replaced"
        );
        self.waiting.retain(|_, question| !question.reply.is_closed());
        // Those that wait are not to blame: being moved does not count as an attempt.
        self.waiting.values_mut().for_each(|question| question.attempts = 0);
        self.process = None;
        self.replace();
    }

    fn answer(&mut self, message: Message) {
        let Message::Answer(Answer { id, body }) = message else {
            return;
        };
        let Some(question) = self.waiting.remove(&id) else {
            return;
        };
        let answer = match body {
            AnswerBody::Value(value) => Ok(value),
            AnswerBody::Exception(failure) => Err(HostError::Call(failure)),
            AnswerBody::Refused(reason) => Err(HostError::NoSuchFunction(reason)),
            AnswerBody::Loaded(_) | AnswerBody::Errors(_) => Err(broken("it answered another question")),
        };
        respond(question.reply, answer);
    }

    fn process_gone(&mut self, reason: &str) {
        let Some(process) = self.process.take() else {
            return;
        };
        tracing::error!("{}", process.broken(reason.to_owned()));
        if !self.waiting.is_empty() {
            self.replace();
        }
    }

    fn fail_all(&mut self, reason: &str) {
        for (_, question) in std::mem::take(&mut self.waiting) {
            respond(question.reply, Err(broken(reason)));
        }
    }
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
) -> Result<(Process, Loaded), HostError> {
    let mut process = Process::start(&program, &basedir).await?;
    let loaded = tokio::time::timeout(LOAD_LIMIT, load(&mut process, &basedir, &config_file)).await;
    let snapshot = loaded
        .map_err(|_| HostError::TimedOut { what: format!("loading {config_file}"), limit: LOAD_LIMIT })??;
    let text = serde_json::to_vec(&snapshot).map_err(|e| broken(&format!("bad snapshot: {e}")))?;
    let digest = Sha1::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((process, Loaded { snapshot: Arc::new(snapshot), digest }))
}

async fn load(process: &mut Process, basedir: &Path, config_file: &str) -> Result<Snapshot, HostError> {
    let basedir = basedir.to_string_lossy();
    let body = RequestBody::Load { basedir: &basedir, config_file };
    process.send(&Request { id: 0, body }).await?;
    match process.next().await {
        Event::Gone(reason) => Err(process.broken(reason)),
        Event::Message(message) => match *message {
            Message::Answer(Answer { body: AnswerBody::Loaded(snapshot), .. }) => Ok(*snapshot),
            Message::Answer(Answer { body: AnswerBody::Errors(errors), .. }) => {
                let errors = errors.into_iter().map(|e| ConfigError { text: e.text, source: e.source });
                Err(ConfigErrors(errors.collect()).into())
            }
            _ => Err(process.broken("it answered another question".into())),
        },
    }
}
