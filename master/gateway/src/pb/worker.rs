//! A stock worker over PB: attach, builders, commands, transfers (`docs/compat/worker-protocol.md` 1.6).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use muster_core::{BuildId, CommandId};
use muster_session::WorkerInfo;

use super::MESSAGE_LIMIT;
use super::login::{LoggedIn, Login};
use crate::broker::{Broker, Call, Message, Target};
use crate::failure::Failure;
use crate::stock::{Answer, Breach, BuilderDir, News, Stock, Ticket};
use crate::translate::{StockCommand, Transfer};
use crate::value::Value;

/// Characters of the reason that a worker is told for an interrupt.
const MAX_REASON: usize = 1000;

/// What a call of this side was about.
#[derive(Debug)]
enum About {
    Info,
    Builders(Vec<BuilderDir>),
    Started(CommandId),
    Ping,
    /// The answer makes no difference.
    Nothing(&'static str),
}

/// What an exported object is for.
#[derive(Clone, Copy, Debug)]
enum Role {
    Command,
    /// A reader or a writer.
    File,
}

/// A worker that has proven its password.
pub(crate) struct PbWorker {
    broker: Broker<About>,
    bot: u64,
    avatar: u64,
    login: Option<u64>,
    info: Option<WorkerInfo>,
    ready: bool,
    wanted: Arc<[BuilderDir]>,
    /// By name. Boxed: a map of few has room for many.
    builders: BTreeMap<String, Box<Builder>>,
    /// Commands that wait for their builder.
    queue: VecDeque<(CommandId, StockCommand)>,
    running: HashMap<CommandId, Running>,
    /// Exported objects, until the worker lets go of them; they answer after their command's end as well.
    objects: HashMap<u64, (CommandId, Role)>,
    news: VecDeque<News>,
}

/// A builder as the worker has it.
struct Builder {
    dir: String,
    object: u64,
    running: Option<CommandId>,
    /// The build that it was told about.
    build: Option<BuildId>,
}

struct Running {
    builder: String,
    object: u64,
    /// Directories that are made after this one: stock workers make one at a time.
    more: VecDeque<StockCommand>,
    failed: bool,
}

impl PbWorker {
    /// Begins the attach.
    pub(crate) fn new(login: Login, who: &LoggedIn, builders: Arc<[BuilderDir]>) -> Result<PbWorker, Breach> {
        let Some(bot) = who.mind else {
            return Err(Breach::Malformed("a worker without an object of its own".into()));
        };
        let mut broker = login.into_broker(MESSAGE_LIMIT);
        let avatar = broker.export();
        let words = Value::dict([("message", Value::from("attached"))]);
        broker.call(bot, "print", Vec::new(), words, About::Nothing("print"))?;
        broker.call(bot, "getWorkerInfo", Vec::new(), Value::Dict(Vec::new()), About::Info)?;
        Ok(PbWorker {
            broker,
            bot,
            avatar,
            login: who.request,
            info: None,
            ready: false,
            wanted: builders,
            builders: BTreeMap::new(),
            queue: VecDeque::new(),
            running: HashMap::new(),
            objects: HashMap::new(),
            news: VecDeque::new(),
        })
    }

    fn called(&mut self, call: Call) -> Result<(), Breach> {
        let object = match call.target {
            Target::Object(object) => object,
            Target::Root => {
                let failure = Failure::no_such_method(&call.method);
                return Ok(self.broker.fail(call.request, &failure)?);
            }
        };
        if object == self.avatar {
            return self.called_avatar(&call);
        }
        match self.objects.get(&object).copied() {
            Some((command, Role::Command)) => self.called_command(command, call),
            Some((command, Role::File)) => self.called_file(command, call),
            None => Ok(self.broker.fail(call.request, &Failure::no_such_object())?),
        }
    }

    fn called_avatar(&mut self, call: &Call) -> Result<(), Breach> {
        match call.method.as_str() {
            "keepalive" => {}
            "shutdown" => self.news.push_back(News::WantsShutdown),
            method => return Ok(self.broker.fail(call.request, &Failure::no_such_method(method))?),
        }
        Ok(self.broker.answer(call.request, &Value::None)?)
    }

    fn called_command(&mut self, command: CommandId, mut call: Call) -> Result<(), Breach> {
        match call.method.as_str() {
            "update" => {
                let fields = call.args.first().map(fields).unwrap_or_default();
                let failed = fields.iter().any(|(key, value)| key == "rc" && value.as_int() != Some(0));
                if let Some(running) = self.running.get_mut(&command) {
                    running.failed |= failed;
                }
                self.news.push_back(News::Update { command, fields, ticket: Ticket(call.request) });
                Ok(())
            }
            "complete" => {
                self.broker.answer(call.request, &Value::None)?;
                let error = match call.args.pop() {
                    None | Some(Value::None) => None,
                    Some(failure) => Some(Failure::from_value(&failure).to_string()),
                };
                self.completed(command, error)
            }
            method => Ok(self.broker.fail(call.request, &Failure::no_such_method(method))?),
        }
    }

    fn called_file(&mut self, command: CommandId, mut call: Call) -> Result<(), Breach> {
        let ticket = Ticket(call.request);
        let argument = if call.args.is_empty() { Value::None } else { call.args.swap_remove(0) };
        match call.method.as_str() {
            "write" => {
                let bytes = argument.into_bytes().unwrap_or_default();
                self.news.push_back(News::Write { command, bytes, ticket });
            }
            "read" => {
                let length = argument.as_int().and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
                self.news.push_back(News::Read { command, length, ticket });
            }
            "utime" => {
                self.broker.answer(call.request, &Value::None)?;
                // A source that is missing has no times.
                if let Some([accessed, modified]) = argument.elements()
                    && let (Some(accessed), Some(modified)) = (accessed.as_float(), modified.as_float())
                {
                    self.news.push_back(News::Times { command, accessed, modified });
                }
            }
            // Every block was confirmed before, so there is nothing to wait for.
            "close" | "unpack" => self.broker.answer(call.request, &Value::None)?,
            method => self.broker.fail(call.request, &Failure::no_such_method(method))?,
        }
        Ok(())
    }

    fn answered(&mut self, about: About, result: Result<Value, Failure>) -> Result<(), Breach> {
        match (about, result) {
            (About::Info, Ok(info)) => {
                self.info = Some(worker_info(&info)?);
                self.send_builders()
            }
            (About::Info, Err(failure)) => {
                Err(Breach::Refuses { what: "to tell about itself", error: failure.to_string() })
            }
            (About::Builders(sent), Ok(objects)) => self.builders_known(sent, &objects),
            (About::Builders(_), Err(failure)) => {
                Err(Breach::Refuses { what: "its list of builders", error: failure.to_string() })
            }
            (About::Started(_), Ok(_)) => Ok(()),
            (About::Started(command), Err(failure)) => self.completed(command, Some(failure.to_string())),
            (About::Ping, Ok(_)) => {
                self.news.push_back(News::Pong);
                Ok(())
            }
            (About::Ping, Err(_)) => Ok(()),
            (About::Nothing(method), result) => {
                if let Err(failure) = result {
                    tracing::debug!(method, %failure, "a stock worker answers with an error");
                }
                Ok(())
            }
        }
    }

    /// The list is the whole truth for the worker, and it kills what runs for others: builders that left the
    /// configuration stay until the next connection, so that their builds can end.
    fn send_builders(&mut self) -> Result<(), Breach> {
        let mut list = self.wanted.to_vec();
        let is_wanted = |name: &String| self.wanted.iter().any(|wanted| wanted.name == *name);
        let left = self.builders.iter().filter(|(name, _)| !is_wanted(name));
        list.extend(left.map(|(name, builder)| BuilderDir { name: name.clone(), dir: builder.dir.clone() }));
        let tuple = |builder: &BuilderDir| {
            Value::Tuple(vec![builder.name.as_str().into(), builder.dir.as_str().into()])
        };
        let value = Value::List(list.iter().map(tuple).collect());
        let about = About::Builders(list);
        Ok(self.broker.call(self.bot, "setBuilderList", vec![value], Value::Dict(Vec::new()), about)?)
    }

    fn builders_known(&mut self, sent: Vec<BuilderDir>, objects: &Value) -> Result<(), Breach> {
        for BuilderDir { name, dir } in sent {
            let Some(Value::Theirs(object)) = objects.get(&name) else {
                let error = format!("its answer has no builder {name:?}");
                return Err(Breach::Refuses { what: "its list of builders", error });
            };
            let new =
                || Box::new(Builder { dir: String::new(), object: *object, running: None, build: None });
            let builder = self.builders.entry(name).or_insert_with(new);
            builder.dir = dir;
            if builder.object != *object {
                self.broker.release(std::mem::replace(&mut builder.object, *object));
            }
        }
        if !self.ready {
            self.ready = true;
            let info = self.info.take().unwrap_or_default();
            self.news.push_back(News::Ready { info, settle: Duration::ZERO });
        }
        self.start_waiting()
    }

    /// Starts every waiting command whose builder is free: one at a time each, or the second would kill the first.
    fn start_waiting(&mut self) -> Result<(), Breach> {
        let mut waiting = std::mem::take(&mut self.queue);
        while let Some((id, command)) = waiting.pop_front() {
            let mut here = self.builders.iter().filter(|(_, builder)| builder.dir == command.builddir);
            let free =
                here.clone().find(|(_, builder)| builder.running.is_none()).map(|(name, _)| name.clone());
            match free {
                Some(builder) => self.begin(id, builder, command)?,
                None if here.next().is_some() => self.queue.push_back((id, command)),
                None => {
                    let error = format!("no builder of this worker has the directory {:?}", command.builddir);
                    self.news.push_back(News::Complete { command: id, error: Some(error) });
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, id: CommandId, builder: String, command: StockCommand) -> Result<(), Breach> {
        let mut parts = single_directories(command);
        let Some(first) = parts.pop_front() else {
            self.news.push_back(News::Complete { command: id, error: None });
            return Ok(());
        };
        let object = self.broker.export();
        self.objects.insert(object, (id, Role::Command));
        if let Some(known) = self.builders.get_mut(&builder) {
            known.running = Some(id);
            if known.build.replace(id.build) != Some(id.build) {
                let about = About::Nothing("startBuild");
                self.broker.call(known.object, "startBuild", Vec::new(), Value::Dict(Vec::new()), about)?;
            }
        }
        self.running.insert(id, Running { builder, object, more: parts, failed: false });
        self.send_start(id, first)
    }

    fn send_start(&mut self, id: CommandId, command: StockCommand) -> Result<(), Breach> {
        let Some(running) = self.running.get(&id) else { return Ok(()) };
        let Some(builder) = self.builders.get(&running.builder).map(|builder| builder.object) else {
            return Ok(());
        };
        let (remote, name) = (Value::Ours(running.object), command.name);
        let mut args = command.args;
        let file = match command.transfer {
            Transfer::None => None,
            Transfer::Upload => Some("writer"),
            Transfer::Download => Some("reader"),
        };
        if let Some(key) = file {
            let object = self.broker.export();
            self.objects.insert(object, (id, Role::File));
            args.push((key, Value::Ours(object)));
        }
        let args = vec![remote, Value::from(id.to_string()), name.into(), Value::dict(args)];
        let sent =
            self.broker.call(builder, "startCommand", args, Value::Dict(Vec::new()), About::Started(id));
        match sent {
            Ok(()) => Ok(()),
            // Nothing went out: the command is too long for PB, and only the command.
            Err(error) => self.completed(id, Some(format!("the command can't be sent: {error}"))),
        }
    }

    /// A command has ended; its builder is free.
    fn completed(&mut self, id: CommandId, error: Option<String>) -> Result<(), Breach> {
        let Some(running) = self.running.get_mut(&id) else { return Ok(()) };
        if error.is_none()
            && !running.failed
            && let Some(next) = running.more.pop_front()
        {
            return self.send_start(id, next);
        }
        if let Some(running) = self.running.remove(&id)
            && let Some(builder) = self.builders.get_mut(&running.builder)
        {
            builder.running = None;
        }
        self.news.push_back(News::Complete { command: id, error });
        self.start_waiting()
    }
}

impl Stock for PbWorker {
    fn receive(&mut self, bytes: &[u8]) -> Result<(), Breach> {
        self.broker.push(bytes);
        while let Some(message) = self.broker.next_message()? {
            match message {
                Message::Call(call) => self.called(call)?,
                Message::Answer(about, result) => self.answered(about, result)?,
                Message::Released(object) => drop(self.objects.remove(&object)),
            }
        }
        Ok(())
    }

    fn news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    fn output(&mut self) -> Option<Vec<u8>> {
        self.broker.output()
    }

    /// Only now the log-in is answered: the worker takes that for "ready".
    fn accepted(&mut self) -> Result<(), Breach> {
        if let Some(request) = self.login.take() {
            self.broker.answer(Some(request), &Value::Ours(self.avatar))?;
        }
        Ok(())
    }

    fn configure(&mut self, builders: &Arc<[BuilderDir]>) -> Result<(), Breach> {
        if self.wanted == *builders {
            return Ok(());
        }
        self.wanted = builders.clone();
        if self.ready { self.send_builders() } else { Ok(()) }
    }

    fn start(&mut self, id: CommandId, command: StockCommand) -> Result<(), Breach> {
        self.queue.push_back((id, command));
        self.start_waiting()
    }

    fn interrupt(&mut self, id: CommandId, why: &str) -> Result<(), Breach> {
        if let Some(place) = self.queue.iter().position(|(waiting, _)| *waiting == id) {
            self.queue.remove(place);
            self.news.push_back(News::Complete { command: id, error: None });
            return Ok(());
        }
        let Some(running) = self.running.get_mut(&id) else { return Ok(()) };
        running.more.clear();
        let Some(builder) = self.builders.get(&running.builder) else { return Ok(()) };
        // Of people's words a worker needs only the beginning, and one string has a limit.
        let why: String = why.chars().take(MAX_REASON).collect();
        let args = vec![Value::from(id.to_string()), why.into()];
        let about = About::Nothing("interruptCommand");
        Ok(self.broker.call(builder.object, "interruptCommand", args, Value::Dict(Vec::new()), about)?)
    }

    fn answer(&mut self, ticket: Ticket, answer: Answer) -> Result<(), Breach> {
        let value = match answer {
            Answer::Counted => Value::Int(0),
            Answer::Done => Value::None,
            Answer::Bytes(bytes) => Value::Bytes(bytes),
        };
        Ok(self.broker.answer(ticket.0, &value)?)
    }

    fn ping(&mut self, words: &str) -> Result<(), Breach> {
        let words = Value::dict([("message", Value::from(words))]);
        Ok(self.broker.call(self.bot, "print", Vec::new(), words, About::Ping)?)
    }

    fn shut_down(&mut self) -> Result<(), Breach> {
        let about = About::Nothing("shutdown");
        Ok(self.broker.call(self.bot, "shutdown", Vec::new(), Value::Dict(Vec::new()), about)?)
    }
}

/// The pairs of an update: a list of `[{key: value}, 0]`.
fn fields(updates: &Value) -> Vec<(String, Value)> {
    let updates = updates.elements().unwrap_or_default();
    let dicts = updates.iter().filter_map(|update| match update.elements()?.first()? {
        Value::Dict(pairs) => Some(pairs),
        _ => None,
    });
    let pairs = dicts.flatten();
    pairs.filter_map(|(key, value)| Some((key.as_text()?, value.clone()))).collect()
}

/// What a worker tells about itself, without its environment: there are secrets in it.
fn worker_info(info: &Value) -> Result<WorkerInfo, Breach> {
    let Value::Dict(pairs) = info else {
        let error = "its answer is no dictionary".to_owned();
        return Err(Breach::Refuses { what: "to tell about itself", error });
    };
    let known = pairs.iter().filter_map(|(key, value)| Some((key.as_text()?, value.to_json())));
    Ok(known.filter(|(key, _)| key != "environ").collect())
}

/// One command for each directory that is to be made; any other command as it is.
fn single_directories(command: StockCommand) -> VecDeque<StockCommand> {
    match command.args.as_slice() {
        [("dir", Value::List(dirs))] if command.name == "mkdir" => {
            let single = |dir: &Value| StockCommand { args: vec![("dir", dir.clone())], ..command.clone() };
            dirs.iter().map(single).collect()
        }
        _ => VecDeque::from([command]),
    }
}
