//! The task behind a [`Host`](super::Host): which question is asked when, and who is to blame when a process ends.
//!
//! A process answers many questions at a time, and one function may end it for all (`os._exit`, a crash in a library). So
//! the questions that were under way are suspects: in the next process they are asked one at a time with nothing beside
//! them, and the one that ends it again is failed. Questions of a function that did so wait longer each time.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::talks::Talks;
use super::{
    Answer, AnswerBody, Check, Event, HostError, Loaded, MAX_WAITING, Message, Order, Process, Question,
    Reply, Request, TalkOrder, broken, respond, start_and_load,
};
use crate::conversation::{FIRST_CONVERSATION, StepNews};

/// How many calls may go on after their callers gave up. At that number the process is replaced, because threads of
/// Python can't be ended one by one; with nothing else under way it is replaced at the first.
const MAX_ABANDONED: usize = 16;

/// With how many ending processes a question may be under way; then it is failed although others may be to blame. One
/// that ends its process late, when others are asked beside it, gets here.
const MAX_DEATHS: u32 = 3;

/// How long a suspect is asked alone while the others wait. One that takes longer goes on beside them.
const ALONE: Duration = Duration::from_secs(5);

/// How long the questions of a function that ended a process wait the first time; it doubles each time, up to the second
/// value. That is below the limits of those who ask, so that each question is asked.
const PENALTY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// How long a process waits that replaces one that ended soon after its own start; doubled each time, up to the second
/// value. A process that lived for longer than that is replaced at once.
const REPLACING: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

/// How many functions that ended a process are remembered; beyond that none is penalised, and replacing has its own wait.
const MAX_GUILTY: usize = 1000;

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
}

/// A function that ended a process.
#[derive(Clone, Copy, Debug)]
struct Guilt {
    times: u32,
    asked_again: Instant,
}

/// Does what its [`Host`](super::Host)s ask for.
pub struct HostDriver {
    program: PathBuf,
    basedir: PathBuf,
    load_limit: Duration,
    orders: mpsc::Receiver<Order>,
    talking: mpsc::UnboundedReceiver<TalkOrder>,
    /// Conversations, and the processes before the present one that still have some.
    talks: Talks,
    process: Option<Process>,
    started: Instant,
    loading: Option<Loading>,
    /// Who waits for it; nobody, when a dead process is replaced.
    loader: Option<Reply<Loaded>>,
    in_force: Option<InForce>,
    /// Not asked yet.
    queue: VecDeque<Question>,
    /// Were under way when a process ended: each is asked alone.
    suspects: VecDeque<Question>,
    /// Asked, and not answered.
    under_way: BTreeMap<u64, Question>,
    /// The suspect that is asked, and until when alone.
    alone: Option<(u64, Instant)>,
    guilty: HashMap<String, Guilt>,
    /// Processes in a row that ended soon, and when the next one may start.
    short_lives: u32,
    replaced_from: Option<Instant>,
    next_id: u64,
}

/// What the driver does next.
enum Next {
    Order(Option<Order>),
    Event(Event),
    /// A process of before says something.
    FormerEvent(u64, Event),
    Talk(TalkOrder),
    Loaded(Box<LoadEnd>),
    /// Some wait is over.
    Look,
}

impl HostDriver {
    pub(super) fn new(
        program: &Path,
        basedir: &Path,
        orders: mpsc::Receiver<Order>,
        talking: mpsc::UnboundedReceiver<TalkOrder>,
        load_limit: Duration,
    ) -> HostDriver {
        HostDriver {
            load_limit,
            program: program.to_owned(),
            basedir: basedir.to_owned(),
            orders,
            talking,
            talks: Talks::default(),
            process: None,
            started: Instant::now(),
            loading: None,
            loader: None,
            in_force: None,
            queue: VecDeque::new(),
            suspects: VecDeque::new(),
            under_way: BTreeMap::new(),
            alone: None,
            guilty: HashMap::new(),
            short_lives: 0,
            replaced_from: None,
            next_id: 1,
        }
    }

    /// Runs until the last [`Host`](super::Host) is gone; then the process is killed.
    pub async fn run(mut self) {
        loop {
            match self.next().await {
                Next::Order(None) => return,
                Next::Order(Some(Order::Load { config_file, check, reply })) => {
                    self.begin_load(config_file, check, Some(reply))
                }
                Next::Order(Some(Order::Ask(question))) => self.take(question),
                Next::Event(Event::Message(message)) => self.answer(*message),
                Next::Event(Event::Gone(reason)) => self.process_gone(&reason),
                Next::FormerEvent(generation, event) => self.talks.former_event(generation, event),
                Next::Talk(order) => self.talk(order),
                Next::Loaded(end) => self.end_load(*end),
                Next::Look => {}
            }
            self.go_on().await;
        }
    }

    async fn next(&mut self) -> Next {
        let wake = self.next_look();
        let HostDriver { orders, process, loading, talks, talking, .. } = self;
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
        let waited = async {
            match wake {
                Some(wake) => tokio::time::sleep_until(wake).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            end = loaded => Next::Loaded(Box::new(end)),
            event = event => Next::Event(event),
            order = orders.recv() => Next::Order(order),
            Some(order) = talking.recv() => Next::Talk(order),
            (generation, event) = talks.next() => Next::FormerEvent(generation, event),
            () = waited => Next::Look,
        }
    }

    /// When something may be due that no event tells.
    fn next_look(&self) -> Option<Instant> {
        let now = Instant::now();
        let penalties = self.queue.iter().filter_map(|question| self.penalty(question, now));
        let alone = self.alone.map(|(_, until)| until);
        let waits = self.replaced_from.filter(|from| self.process.is_none() && *from > now);
        penalties.chain(alone).chain(waits).min()
    }

    /// Until when the question has to wait because its function ended a process.
    fn penalty(&self, question: &Question, now: Instant) -> Option<Instant> {
        self.guilty.get(&question.body.what()).map(|guilt| guilt.asked_again).filter(|until| *until > now)
    }

    fn begin_load(&mut self, config_file: String, check: Check, reply: Option<Reply<Loaded>>) {
        // A load that nobody waits for any more gives way, and so does a replacement of the configuration before: both may
        // hang. A process that is let go is killed.
        let is_waited_for = self.loader.as_ref().is_some_and(|reply| !reply.is_closed());
        if self.loading.is_some() && is_waited_for {
            if let Some(reply) = reply {
                respond(reply, Err(HostError::Busy));
            }
            return;
        }
        let (program, basedir, limit) = (self.program.clone(), self.basedir.clone(), self.load_limit);
        self.loader = reply;
        self.loading = Some(Box::pin(async move {
            let result = start_and_load(program, basedir, config_file.clone(), check, limit).await;
            LoadEnd { config_file, result }
        }));
    }

    fn end_load(&mut self, end: LoadEnd) {
        self.loading = None;
        let reply = self.loader.take();
        let (process, loaded) = match end.result {
            Ok(good) => good,
            Err(error) => return self.load_failed(error, reply),
        };
        let has_callables = loaded.snapshot.has_callables;
        if let Some(former) = std::mem::replace(&mut self.process, has_callables.then_some(process)) {
            self.talks.retire(former);
        }
        self.started = Instant::now();
        self.in_force = Some(InForce { config_file: end.config_file, has_callables });
        self.alone = None;
        // What the process before had not answered goes to the new one.
        let left = std::mem::take(&mut self.under_way).into_values();
        self.queue.extend(left.filter(|question| !question.reply.is_closed()));
        if let Some(reply) = reply {
            // Another configuration: its functions are others.
            self.guilty.clear();
            self.short_lives = 0;
            respond(reply, Ok(loaded));
        }
    }

    fn load_failed(&mut self, error: HostError, reply: Option<Reply<Loaded>>) {
        match reply {
            Some(reply) => respond(reply, Err(error)),
            None => {
                self.fail_all(&format!("it could not be replaced: {error}"));
                self.lived_short();
            }
        }
    }

    fn take(&mut self, question: Question) {
        if !self.in_force.as_ref().is_some_and(|config| config.has_callables) {
            let reason = "the configuration in force has no functions and no secrets";
            return respond(question.reply, Err(broken(reason)));
        }
        if self.queue.len() + self.suspects.len() + self.under_way.len() >= MAX_WAITING {
            return respond(question.reply, Err(HostError::Busy));
        }
        self.queue.push_back(question);
    }

    /// What a conversation wants.
    fn talk(&mut self, order: TalkOrder) {
        match order {
            TalkOrder::Begin { number, wanted, news } => {
                if !self.in_force.as_ref().is_some_and(|config| config.has_callables) {
                    let reason = "the configuration in force has no steps of its own".to_owned();
                    return drop(news.send(StepNews::Refused(reason)));
                }
                self.talks.begin(number, wanted, news);
            }
            TalkOrder::Tell { number, order } => self.talks.tell(number, order, self.process.as_ref()),
        }
    }

    /// Asks what may be asked now.
    async fn go_on(&mut self) {
        let now = Instant::now();
        self.queue.retain(|question| !question.reply.is_closed());
        self.suspects.retain(|question| !question.reply.is_closed());
        self.replace_stuck();
        if self.alone.is_some_and(|(_, until)| until <= now) {
            self.alone = None;
        }
        if self.process.is_none() {
            let ready = self.queue.iter().any(|question| self.penalty(question, now).is_none());
            if ready || !self.suspects.is_empty() || self.talks.is_waiting() {
                self.replace(now);
            }
            return;
        }
        if let Some(process) = &self.process {
            self.talks.begin_on(process);
        }
        if self.alone.is_some() {
            return;
        }
        if let Some(suspect) = self.suspects.pop_front() {
            self.alone = Some((self.next_id, now + ALONE));
            return self.send(suspect).await;
        }
        for _ in 0..self.queue.len() {
            let Some(question) = self.queue.pop_front() else { return };
            match self.penalty(&question, now) {
                Some(_) => self.queue.push_back(question),
                None => self.send(question).await,
            }
        }
    }

    async fn send(&mut self, question: Question) {
        let id = self.next_id;
        self.next_id += 1;
        if let Some(process) = &mut self.process
            && let Err(error) = process.send(&Request { id, body: question.body.request() })
        {
            tracing::warn!("{error}");
        }
        self.under_way.insert(id, question);
    }

    /// Starts a process for the configuration in force, unless a load is on its way anyway.
    fn replace(&mut self, now: Instant) {
        if self.loading.is_none()
            && self.replaced_from.is_none_or(|from| from <= now)
            && let Some(config) = &self.in_force
        {
            self.begin_load(config.config_file.clone(), Check::none(), None);
        }
    }

    fn replace_stuck(&mut self) {
        let abandoned = self.under_way.values().filter(|question| question.reply.is_closed()).count();
        let others = self.under_way.len() - abandoned;
        let clogged = self.talks.is_clogged();
        if self.process.is_none()
            || (!clogged && (abandoned == 0 || (abandoned < MAX_ABANDONED && others > 0)))
        {
            return;
        }
        tracing::warn!(
            "{abandoned} functions of the configuration did not return in time; the Python host is replaced"
        );
        if let Some(stuck) = self.process.take() {
            self.talks.retire(stuck);
        }
        self.alone = None;
        // Those that wait are not to blame.
        let left = std::mem::take(&mut self.under_way).into_values();
        self.queue.extend(left.filter(|question| !question.reply.is_closed()));
        self.lived_short();
    }

    fn answer(&mut self, message: Message) {
        let Message::Answer(Answer { id, body }) = message else {
            return;
        };
        if id >= FIRST_CONVERSATION {
            return self.talks.heard(id, body);
        }
        if self.alone.is_some_and(|(alone, _)| alone == id) {
            self.alone = None;
        }
        let Some(question) = self.under_way.remove(&id) else {
            return;
        };
        self.guilty.remove(&question.body.what());
        let answer = match body {
            AnswerBody::Value(value) => Ok(value),
            AnswerBody::Exception(failure) => Err(HostError::Call(failure)),
            AnswerBody::Refused(reason) => Err(HostError::NoSuchFunction(reason)),
            AnswerBody::Loaded(_) | AnswerBody::Errors(_) | AnswerBody::Step(_) | AnswerBody::StepGone => {
                Err(broken("it answered another question"))
            }
            AnswerBody::Unreadable(reason) => {
                Err(HostError::BadAnswer { what: question.body.what(), reason })
            }
        };
        respond(question.reply, answer);
    }

    fn process_gone(&mut self, reason: &str) {
        let Some(process) = self.process.take() else {
            return;
        };
        tracing::error!("{}", process.broken(reason.to_owned()));
        self.talks.process_gone(reason);
        self.lived_short();
        let alone = self.alone.take().map(|(id, _)| id);
        let under_way = std::mem::take(&mut self.under_way);
        let only_one = under_way.len() == 1;
        for (id, mut question) in under_way {
            question.deaths += 1;
            if only_one || alone == Some(id) || question.deaths >= MAX_DEATHS {
                self.blame(question, reason);
            } else if !question.reply.is_closed() {
                self.suspects.push_back(question);
            }
        }
    }

    fn blame(&mut self, question: Question, reason: &str) {
        let what = question.body.what();
        tracing::error!("{what} ended the Python host ({reason})");
        if self.guilty.len() < MAX_GUILTY || self.guilty.contains_key(&what) {
            let times = self.guilty.get(&what).map_or(0, |guilt| guilt.times) + 1;
            let asked_again = Instant::now() + doubled(PENALTY, times);
            self.guilty.insert(what.clone(), Guilt { times, asked_again });
        }
        respond(question.reply, Err(HostError::Ended { what, reason: reason.to_owned() }));
    }

    fn lived_short(&mut self) {
        let now = Instant::now();
        self.short_lives = if now - self.started > REPLACING.1 { 0 } else { self.short_lives + 1 };
        // The first one is replaced at once.
        let wait = match self.short_lives {
            0 | 1 => Duration::ZERO,
            more => doubled(REPLACING, more - 1),
        };
        self.replaced_from = Some(now + wait);
    }

    fn fail_all(&mut self, reason: &str) {
        self.talks.fail_waiting(reason);
        let waiting = self.queue.drain(..).chain(self.suspects.drain(..));
        for question in waiting.chain(std::mem::take(&mut self.under_way).into_values()) {
            respond(question.reply, Err(broken(reason)));
        }
    }
}

/// The wait for the given time, from 1.
fn doubled((first, longest): (Duration, Duration), times: u32) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(times.saturating_sub(1))).min(longest)
}
