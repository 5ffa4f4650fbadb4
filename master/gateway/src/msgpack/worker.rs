//! A stock worker over msgpack: attach, directories of builders, commands, transfers.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use muster_core::CommandId;
use muster_session::{Settings, WorkerInfo};

use super::codec::{decode, encode};
use super::paths::{Places, for_msgpack};
use crate::registry::Ghost;
use crate::stock::{Answer, Breach, BuilderDir, News, Stock, Ticket};
use crate::translate::StockCommand;
use crate::value::Value;

/// Where a worker ends lines, besides `\n`: the pattern that it is sent, in the words of its own language.
const NEWLINES: &str = r"(\r\n|\r(?=.)|\033\[u|\033\[[0-9]+;[0-9]+[Hf]|\033\[2J|\x08+)";

/// Directories in a worker's base directory that are never left over.
const INFO_DIR: &str = "info";

/// How long a killed process may take to be gone.
const LAST_BREATH: Duration = Duration::from_secs(1);

/// What a request of this side was about.
#[derive(Clone, Debug)]
enum About {
    Info,
    Ghost,
    Settings,
    Started(String),
    Ping,
    Nothing(&'static str),
}

/// A worker that has proven its password.
pub(crate) struct MsgpackWorker {
    output: VecDeque<Vec<u8>>,
    requests: u64,
    waiting: HashMap<u64, About>,
    places: Places,
    info: WorkerInfo,
    deletes_leftovers: bool,
    ready: bool,
    builders: Arc<[BuilderDir]>,
    /// Commands of an earlier connection, which may still run.
    ghosts: Vec<Ghost>,
    ghosts_left: usize,
    /// What the gateway itself asks for, by the command's id.
    chores: HashMap<String, Chore>,
    chore_prefix: String,
    chores_made: u64,
    found: Vec<String>,
    unwanted: Vec<String>,
    /// Commands that run, by the id that the worker knows.
    running: HashMap<String, CommandId>,
    news: VecDeque<News>,
}

/// A command for the directories of builders.
#[derive(Clone, Debug, PartialEq)]
enum Chore {
    List,
    Look { name: String, is_directory: bool },
    Remove,
    Make,
}

impl MsgpackWorker {
    /// Begins the attach. `chores` names what the gateway itself asks for, and must never come again.
    pub(crate) fn new(
        builders: Arc<[BuilderDir]>,
        ghosts: Vec<Ghost>,
        chores: String,
    ) -> Result<MsgpackWorker, Breach> {
        let mut worker = MsgpackWorker {
            output: VecDeque::new(),
            requests: 0,
            waiting: HashMap::new(),
            places: Places::default(),
            info: WorkerInfo::new(),
            deletes_leftovers: false,
            ready: false,
            builders,
            ghosts_left: ghosts.len(),
            ghosts,
            chores: HashMap::new(),
            chore_prefix: chores,
            chores_made: 0,
            found: Vec::new(),
            unwanted: Vec::new(),
            running: HashMap::new(),
            news: VecDeque::new(),
        };
        worker.request("print", [("message", "attached".into())], About::Nothing("print"))?;
        worker.request("get_worker_info", [], About::Info)?;
        Ok(worker)
    }

    fn request<const N: usize>(
        &mut self,
        op: &str,
        fields: [(&'static str, Value); N],
        about: About,
    ) -> Result<(), Breach> {
        let mut message = vec![("op", Value::from(op))];
        message.extend(fields);
        message.push(("seq_number", self.requests.into()));
        self.send(&Value::dict(message))?;
        self.waiting.insert(self.requests, about);
        self.requests += 1;
        Ok(())
    }

    fn respond(&mut self, ticket: Ticket, result: Value, failed: bool) -> Result<(), Breach> {
        let Some(number) = ticket.0 else { return Ok(()) };
        let mut message = vec![("op", "response".into()), ("seq_number", number.into()), ("result", result)];
        if failed {
            message.push(("is_exception", true.into()));
        }
        self.send(&Value::dict(message))
    }

    fn send(&mut self, message: &Value) -> Result<(), Breach> {
        let bytes = encode(message).map_err(|error| Breach::Malformed(error.to_string()))?;
        self.output.push_back(bytes);
        Ok(())
    }

    fn answered(&mut self, message: &Value) -> Result<(), Breach> {
        let number = message.get("seq_number").and_then(Value::as_int).and_then(|n| u64::try_from(n).ok());
        let Some(about) = number.and_then(|number| self.waiting.remove(&number)) else { return Ok(()) };
        let result = message.get("result").cloned().unwrap_or(Value::None);
        let failed = message.get("is_exception").map(|_| result.as_text().unwrap_or_default());
        match (about, failed) {
            (About::Info, None) => self.introduced(&result),
            (About::Info, Some(error)) => Err(Breach::Refuses { what: "to tell about itself", error }),
            (About::Settings, Some(error)) => Err(Breach::Refuses { what: "its settings", error }),
            (About::Settings, None) => self.look_around(),
            (About::Ghost, _) => {
                self.ghosts_left -= 1;
                if self.ghosts_left == 0 { self.send_settings() } else { Ok(()) }
            }
            (About::Ping, None) => {
                self.news.push_back(News::Pong);
                Ok(())
            }
            (About::Started(id), Some(error)) => self.completed(&id, Some(error)),
            (About::Nothing(op), Some(error)) => {
                tracing::debug!(op, error, "a stock worker answers with an error");
                Ok(())
            }
            (About::Ping | About::Started(_) | About::Nothing(_), _) => Ok(()),
        }
    }

    fn introduced(&mut self, info: &Value) -> Result<(), Breach> {
        self.places = Places::of(info);
        if self.places.basedir.is_empty() {
            let error = "it does not name its base directory".to_owned();
            return Err(Breach::Refuses { what: "to tell about itself", error });
        }
        let flag = info.get("delete_leftover_dirs");
        self.deletes_leftovers = flag.and_then(Value::as_int).is_some_and(|flag| flag != 0);
        let Value::Dict(pairs) = info else { return self.send_settings() };
        let known = pairs.iter().filter_map(|(key, value)| Some((key.as_text()?, value.to_json())));
        self.info = known.filter(|(key, _)| key != "environ").collect();
        if self.ghosts.is_empty() {
            return self.send_settings();
        }
        // It keeps running what it ran when its last connection broke: first of all that is told to stop.
        for ghost in self.ghosts.clone() {
            let why = "the connection that it belonged to is gone";
            let fields = [("command_id", Value::from(ghost.command)), ("why", why.into())];
            self.request("interrupt_command", fields, About::Ghost)?;
        }
        Ok(())
    }

    fn send_settings(&mut self) -> Result<(), Breach> {
        let settings = Settings::default();
        let args = Value::dict([
            ("buffer_size", Value::Int(settings.buffer_size as i128)),
            ("buffer_timeout", Value::Float(Duration::from_millis(settings.buffer_ms).as_secs_f64())),
            ("newline_re", NEWLINES.into()),
            ("max_line_length", Value::Int(settings.max_line_length as i128)),
        ]);
        self.request("set_worker_settings", [("args", args)], About::Settings)
    }

    fn look_around(&mut self) -> Result<(), Breach> {
        let path = self.places.basedir.clone();
        self.chore(Chore::List, "listdir", Value::dict([("path", path)]))
    }

    fn chore(&mut self, chore: Chore, name: &str, args: Value) -> Result<(), Breach> {
        self.chores_made += 1;
        let id = format!("{}-{}", self.chore_prefix, self.chores_made);
        self.chores.insert(id.clone(), chore);
        self.start_command(&id, name, args)
    }

    fn start_command(&mut self, id: &str, name: &str, args: Value) -> Result<(), Breach> {
        let fields = [("command_id", Value::from(id)), ("command_name", name.into()), ("args", args)];
        self.request("start_command", fields, About::Started(id.to_owned()))
    }

    fn wanted_dirs(&self) -> HashSet<String> {
        let dirs = self.builders.iter().map(|builder| builder.dir.clone());
        dirs.chain([INFO_DIR.to_owned()]).collect()
    }

    /// A chore has ended: on with the next one.
    fn chore_done(&mut self, chore: Chore) -> Result<(), Breach> {
        match chore {
            Chore::List if self.deletes_leftovers && !self.ready => {
                let wanted = self.wanted_dirs();
                let left: Vec<String> =
                    self.found.iter().filter(|name| !wanted.contains(*name)).cloned().collect();
                for name in left {
                    let path = self.places.join(&self.places.basedir, &name);
                    let look = Chore::Look { name, is_directory: false };
                    self.chore(look, "stat", Value::dict([("path", path)]))?;
                }
            }
            Chore::Look { name, is_directory: true } => self.unwanted.push(name),
            Chore::List | Chore::Look { .. } | Chore::Remove => {}
            Chore::Make => return self.directories_made(),
        }
        if !self.chores.is_empty() {
            return Ok(());
        }
        let unwanted = std::mem::take(&mut self.unwanted);
        if !unwanted.is_empty() {
            let args = self.paths(unwanted.iter().map(String::as_str));
            return self.chore(Chore::Remove, "rmdir", args);
        }
        let mut missing: Vec<String> = self.wanted_dirs().into_iter().collect();
        missing.retain(|dir| !self.found.contains(dir));
        missing.sort();
        if missing.is_empty() {
            return self.directories_made();
        }
        let args = self.paths(missing.iter().map(String::as_str));
        self.found.extend(missing);
        self.chore(Chore::Make, "mkdir", args)
    }

    fn paths<'a>(&self, names: impl Iterator<Item = &'a str>) -> Value {
        let paths = names.map(|name| Value::from(self.places.join(&self.places.basedir, name)));
        Value::dict([("paths", Value::List(paths.collect()))])
    }

    fn directories_made(&mut self) -> Result<(), Breach> {
        if std::mem::replace(&mut self.ready, true) {
            return Ok(());
        }
        let lingers =
            self.ghosts.iter().map(|ghost| Duration::from_secs_f64(ghost.lingers.clamp(0.0, 600.0)));
        let settle = lingers.max().map_or(Duration::ZERO, |longest| longest + LAST_BREATH);
        let info = std::mem::take(&mut self.info);
        self.news.push_back(News::Ready { info, settle });
        Ok(())
    }

    fn completed(&mut self, id: &str, error: Option<String>) -> Result<(), Breach> {
        if let Some(chore) = self.chores.remove(id) {
            if let Some(error) = error {
                tracing::warn!(error, "a stock worker can't prepare its directories");
            }
            return self.chore_done(chore);
        }
        if let Some(command) = self.running.remove(id) {
            self.news.push_back(News::Complete { command, error });
        }
        Ok(())
    }

    fn told(&mut self, op: &str, message: &Value) -> Result<(), Breach> {
        let number = message.get("seq_number").and_then(Value::as_int).and_then(|n| u64::try_from(n).ok());
        let Some(number) = number else {
            return Err(Breach::Malformed("a message without a number".into()));
        };
        let ticket = Ticket(Some(number));
        let id = message.get("command_id").and_then(Value::as_text).unwrap_or_default();
        let args = message.get("args");
        if op == "complete" {
            self.respond(ticket, Value::None, false)?;
            return self.completed(&id, args.and_then(Value::as_text));
        }
        if let Some(chore) = self.chores.get_mut(&id) {
            if op == "update" {
                note(chore, &mut self.found, &pairs(args));
            }
            return self.respond(ticket, Value::None, false);
        }
        let Some(command) = self.running.get(&id).copied() else { return self.late(op, ticket) };
        match op {
            "update" => self.news.push_back(News::Update { command, fields: pairs(args), ticket }),
            "update_upload_file_write" | "update_upload_directory_write" => {
                let bytes = args.cloned().and_then(Value::into_bytes).unwrap_or_default();
                self.news.push_back(News::Write { command, bytes, ticket });
            }
            "update_read_file" => {
                let length = message.get("length").and_then(Value::as_int);
                let length = length.and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
                self.news.push_back(News::Read { command, length, ticket });
            }
            "update_upload_file_utime" => {
                let time = |key: &str| message.get(key).and_then(Value::as_float);
                if let (Some(accessed), Some(modified)) = (time("access_time"), time("modified_time")) {
                    self.news.push_back(News::Times { command, accessed, modified });
                }
                return self.respond(ticket, Value::None, false);
            }
            "update_upload_file_close" | "update_upload_directory_unpack" | "update_read_file_close" => {
                return self.respond(ticket, Value::None, false);
            }
            _ => return self.respond(ticket, format!("Command {op} does not exist.").into(), true),
        }
        Ok(())
    }

    /// About a command that is over: answered, so that nobody waits.
    fn late(&mut self, op: &str, ticket: Ticket) -> Result<(), Breach> {
        let result = if op == "update_read_file" { Value::Bytes(Vec::new()) } else { Value::None };
        self.respond(ticket, result, false)
    }
}

impl Stock for MsgpackWorker {
    fn receive(&mut self, bytes: &[u8]) -> Result<(), Breach> {
        let message = decode(bytes).map_err(|error| Breach::Malformed(error.to_string()))?;
        match message.get("op").and_then(Value::as_text).as_deref() {
            Some("response") => self.answered(&message),
            Some(op) => self.told(op, &message),
            None => Err(Breach::Malformed("a message without an op".into())),
        }
    }

    fn news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    fn output(&mut self) -> Option<Vec<u8>> {
        self.output.pop_front()
    }

    fn accepted(&mut self) -> Result<(), Breach> {
        Ok(())
    }

    fn configure(&mut self, builders: &Arc<[BuilderDir]>) -> Result<(), Breach> {
        if self.builders == *builders {
            return Ok(());
        }
        self.builders = builders.clone();
        if self.ready && self.chores.is_empty() { self.look_around() } else { Ok(()) }
    }

    fn start(&mut self, id: CommandId, command: StockCommand) -> Result<(), Breach> {
        let (name, args) = for_msgpack(command, &self.places);
        self.running.insert(id.to_string(), id);
        self.start_command(&id.to_string(), name, args)
    }

    fn interrupt(&mut self, id: CommandId, why: &str) -> Result<(), Breach> {
        if !self.running.contains_key(&id.to_string()) {
            return Ok(());
        }
        let fields = [("command_id", Value::from(id.to_string())), ("why", why.into())];
        self.request("interrupt_command", fields, About::Nothing("interrupt_command"))
    }

    fn answer(&mut self, ticket: Ticket, answer: Answer) -> Result<(), Breach> {
        let result = match answer {
            Answer::Counted | Answer::Done => Value::None,
            Answer::Bytes(bytes) => Value::Bytes(bytes),
        };
        self.respond(ticket, result, false)
    }

    fn ping(&mut self, words: &str) -> Result<(), Breach> {
        self.request("print", [("message", words.into())], About::Ping)
    }

    /// Its commands would outlive it, and a second copy would run beside them one day. What they still tell is not heard: they
    /// are lost with the worker, as over PB.
    fn shut_down(&mut self) -> Result<(), Breach> {
        for id in std::mem::take(&mut self.running).into_keys() {
            let fields = [("command_id", Value::from(id)), ("why", "the worker is told to end".into())];
            self.request("interrupt_command", fields, About::Nothing("interrupt_command"))?;
        }
        self.request("shutdown", [], About::Nothing("shutdown"))
    }
}

/// The pairs of an update.
fn pairs(args: Option<&Value>) -> Vec<(String, Value)> {
    let updates = args.and_then(Value::elements).unwrap_or_default();
    let pair = |update: &Value| match update.elements()? {
        [key, value] => Some((key.as_text()?, value.clone())),
        _ => None,
    };
    updates.iter().filter_map(pair).collect()
}

/// What an update says about a chore.
fn note(chore: &mut Chore, found: &mut Vec<String>, fields: &[(String, Value)]) {
    /// The bits of a mode that tell the kind of a file, and those of a directory.
    const KIND: (i64, i64) = (0o170_000, 0o040_000);
    for (key, value) in fields {
        let first = value.elements().and_then(|values| values.first());
        match (&mut *chore, key.as_str()) {
            (Chore::List, "files") => {
                *found = value.elements().unwrap_or_default().iter().filter_map(Value::as_text).collect();
            }
            (Chore::Look { is_directory, .. }, "stat") => {
                let mode = first.and_then(Value::as_int).unwrap_or(0);
                *is_directory = mode & KIND.0 == KIND.1;
            }
            _ => {}
        }
    }
}
