//! Plays a session's worker with a stock one: what the engine orders, the stock worker is told; what it tells becomes
//! numbered updates. No I/O but that of the spool.

use std::collections::{BTreeMap, HashMap, VecDeque};

use muster_core::{CommandId, lines::LineSplitter};
use muster_session::command::{Output, Stream};
use muster_session::wire::MAX_BLOCK;
use muster_session::{Order, UpdateBody, WorkerEvent, WorkerLink};

use crate::banana::MAX_STRING;
use crate::ghosts::{Ghosts, TakenOver};
use crate::spool::WorkerSpool;
use crate::stock::{Answer, Breach, News, Stock, Ticket};
use crate::translate::{StockCommand, Transfer, Translated, shortened, stock_command, translate};
use crate::value::Value;

/// Bytes of text in one update; half a frame of a session, as text may grow when it is cut into lines.
const TEXT_PART: usize = 256 * 1024;

/// The commands of one worker's life.
pub(crate) struct Player {
    link: WorkerLink,
    spool: WorkerSpool,
    commands: HashMap<CommandId, Held>,
    /// For workers whose commands outlive their connection.
    ghosts: Option<Ghosts>,
    /// Commands that begin once the ghosts have noted this number.
    waiting: VecDeque<(u64, CommandId, StockCommand)>,
}

/// A command that the session knows.
struct Held {
    /// The last order that came.
    orders: u64,
    splitters: BTreeMap<Stream, LineSplitter>,
    veils: Vec<(String, String)>,
    /// The names of the files that are followed.
    logfiles: Vec<String>,
    /// Bytes for the worker: their order's number, and what is left of them.
    chunks: VecDeque<(u64, Vec<u8>)>,
    eof: bool,
    is_download: bool,
    interrupted: bool,
    /// The worker waits for bytes.
    read: Option<(Ticket, usize)>,
    /// Calls that are answered once the engine has confirmed the update of this number.
    writes: VecDeque<(u64, Ticket)>,
    /// The worker has told its end.
    ended: bool,
}

impl Held {
    fn new(order: u64, command: &StockCommand) -> Held {
        Held {
            orders: order,
            splitters: BTreeMap::new(),
            veils: command.veils.clone(),
            logfiles: command.logfiles.clone(),
            chunks: VecDeque::new(),
            eof: false,
            is_download: command.transfer == Transfer::Download,
            interrupted: false,
            read: None,
            writes: VecDeque::new(),
            ended: false,
        }
    }

    /// The next bytes for the worker, and the order that is consumed by them; `None` when they have not come yet.
    fn next_bytes(&mut self, length: usize) -> Option<(Vec<u8>, Option<u64>)> {
        if self.interrupted || self.ended {
            return Some((Vec::new(), None));
        }
        let Some((number, bytes)) = self.chunks.front_mut() else {
            return self.eof.then(|| (Vec::new(), None));
        };
        let rest = bytes.split_off(length.clamp(1, MAX_STRING).min(bytes.len()));
        let (number, part) = (*number, std::mem::replace(bytes, rest));
        let consumed = bytes.is_empty();
        if consumed {
            self.chunks.pop_front();
        }
        Some((part, consumed.then_some(number)))
    }

    /// Nobody wants text of other files: each would become a log.
    fn is_asked_for(&self, stream: &Stream) -> bool {
        match stream {
            Stream::Log(name) => self.logfiles.contains(name),
            Stream::Stdout | Stream::Stderr | Stream::Header => true,
        }
    }

    /// Headers show command lines; secrets in them are covered for protocols that can't cover them.
    fn cover(&self, stream: &Stream, text: String) -> String {
        if *stream != Stream::Header {
            return text;
        }
        self.veils.iter().fold(text, |text, (real, shown)| text.replace(real, shown))
    }
}

impl Player {
    pub(crate) fn new(link: WorkerLink, spool: WorkerSpool, ghosts: Option<Ghosts>) -> Player {
        Player { link, spool, commands: HashMap::new(), ghosts, waiting: VecDeque::new() }
    }

    /// An engine has taken the worker: what an earlier connection left is dead by now.
    pub(crate) fn is_taken(&mut self) {
        if let Some(ghosts) = &mut self.ghosts {
            ghosts.laid();
        }
    }

    /// Whether [`note`](Player::note) has something to do.
    pub(crate) fn is_behind(&self) -> bool {
        self.ghosts.as_ref().is_some_and(Ghosts::is_behind)
    }

    /// Notes what the worker runs. Safe to cancel.
    pub(crate) async fn note(&mut self) -> Result<(), TakenOver> {
        match &mut self.ghosts {
            Some(ghosts) => ghosts.note().await,
            None => Ok(()),
        }
    }

    /// Starts the commands that are noted by now.
    pub(crate) fn has_noted(&mut self, stock: &mut dyn Stock) -> Result<(), Breach> {
        while let (Some(ghosts), Some((version, ..))) = (&self.ghosts, self.waiting.front())
            && ghosts.has_noted(*version)
            && let Some((_, id, command)) = self.waiting.pop_front()
        {
            stock.start(id, command)?;
        }
        Ok(())
    }

    /// Takes a command back that has not begun.
    fn is_withdrawn(&mut self, id: CommandId) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|(_, waiting, _)| *waiting != id);
        let withdrawn = self.waiting.len() < before;
        if let Some(ghosts) = self.ghosts.as_mut().filter(|_| withdrawn) {
            ghosts.end(&id.to_string());
        }
        withdrawn
    }

    /// Whether a command of the session has not ended on the worker.
    pub(crate) fn is_busy(&self) -> bool {
        self.commands.values().any(|held| !held.ended)
    }

    /// Something happened in the session.
    pub(crate) fn ordered(&mut self, event: WorkerEvent, stock: &mut dyn Stock) -> Result<(), Breach> {
        match event {
            WorkerEvent::Order { command, number, order, .. } => {
                self.take_order(command, number, order, stock)
            }
            WorkerEvent::Stored { command, number, over } => self.stored(command, number, over, stock),
            WorkerEvent::Forget { command } => {
                self.spool.forget(command);
                let held = self.commands.remove(&command);
                match held.filter(|held| !held.ended) {
                    None => Ok(()),
                    Some(_) if self.is_withdrawn(command) => Ok(()),
                    Some(held) => {
                        stock.interrupt(command, "nobody waits for it any more")?;
                        let_go(held, stock)
                    }
                }
            }
            WorkerEvent::Shutdown => stock.shut_down(),
            WorkerEvent::Connected { .. } | WorkerEvent::Disconnected { .. } | WorkerEvent::Settings(_) => {
                Ok(())
            }
        }
    }

    fn take_order(
        &mut self,
        id: CommandId,
        number: u64,
        order: Order,
        stock: &mut dyn Stock,
    ) -> Result<(), Breach> {
        match order {
            Order::Start(start) => {
                let command = stock_command(&start);
                self.commands.insert(id, Held::new(number, &command));
                self.link.acknowledge(id, number);
                let Some(ghosts) = &mut self.ghosts else { return stock.start(id, command) };
                // Without a durable note of it, a second copy could run beside it one day.
                let version = ghosts.begin(id.to_string(), command.lingers);
                self.waiting.push_back((version, id, command));
                Ok(())
            }
            Order::Interrupt { why } => {
                let Some(held) = self.commands.get_mut(&id) else { return Ok(()) };
                held.orders = number;
                held.interrupted = true;
                held.chunks.clear();
                self.link.acknowledge(id, number);
                let has_ended = held.ended;
                if self.is_withdrawn(id) {
                    return self.complete(id, Some(format!("interrupted before it began: {why}")), stock);
                }
                if !has_ended {
                    stock.interrupt(id, &why)?;
                }
                self.feed(id, stock)
            }
            Order::Chunk { bytes, eof } => {
                let Some(held) = self.commands.get_mut(&id) else { return Ok(()) };
                held.orders = number;
                held.eof |= eof;
                if bytes.is_empty() || held.ended || held.interrupted || !held.is_download {
                    self.link.acknowledge(id, number);
                } else {
                    held.chunks.push_back((number, bytes));
                }
                self.feed(id, stock)
            }
        }
    }

    /// Answers a waiting read, when there is something to answer.
    fn feed(&mut self, id: CommandId, stock: &mut dyn Stock) -> Result<(), Breach> {
        let Some(held) = self.commands.get_mut(&id) else { return Ok(()) };
        let Some((ticket, length)) = held.read else { return Ok(()) };
        let Some((bytes, consumed)) = held.next_bytes(length) else { return Ok(()) };
        held.read = None;
        if let Some(number) = consumed {
            self.link.acknowledge(id, number);
        }
        stock.answer(ticket, Answer::Bytes(bytes))
    }

    fn stored(
        &mut self,
        id: CommandId,
        number: u64,
        over: bool,
        stock: &mut dyn Stock,
    ) -> Result<(), Breach> {
        self.spool.confirm(id, number);
        if let Some(held) = self.commands.get_mut(&id) {
            while let Some((_, ticket)) = held.writes.front().filter(|(update, _)| *update <= number) {
                stock.answer(*ticket, Answer::Done)?;
                held.writes.pop_front();
            }
        }
        if over {
            self.spool.forget(id);
            self.commands.remove(&id);
        }
        Ok(())
    }

    /// The stock worker said something about a command. Late words are answered as any others.
    pub(crate) fn told(&mut self, news: News, stock: &mut dyn Stock) -> Result<(), Breach> {
        match news {
            News::Update { command, fields, ticket } => {
                self.update(command, &fields, stock)?;
                stock.answer(ticket, Answer::Counted)
            }
            News::Complete { command, error } => {
                if let Some(ghosts) = &mut self.ghosts {
                    ghosts.end(&command.to_string());
                }
                self.complete(command, error, stock)
            }
            News::Write { command, bytes, ticket } => self.write(command, bytes, ticket, stock),
            News::Read { command, length, ticket } => {
                let Some(held) = self.commands.get_mut(&command).filter(|held| !held.ended) else {
                    return stock.answer(ticket, Answer::Bytes(Vec::new()));
                };
                held.read = Some((ticket, length));
                self.feed(command, stock)
            }
            News::Times { command, accessed, modified } => {
                self.offer(command, UpdateBody::Times { accessed, modified }, stock).map(drop)
            }
            News::Ready { .. } | News::Pong | News::WantsShutdown => Ok(()),
        }
    }

    fn update(
        &mut self,
        id: CommandId,
        fields: &[(String, Value)],
        stock: &mut dyn Stock,
    ) -> Result<(), Breach> {
        let mut outputs: Vec<Output> = Vec::new();
        for translated in fields.iter().flat_map(|(key, value)| translate(key, value)) {
            match translated {
                Translated::Text(stream, text) => {
                    let Some(held) = self.commands.get_mut(&id) else { return Ok(()) };
                    if !held.is_asked_for(&stream) {
                        continue;
                    }
                    let text = held.cover(&stream, text);
                    let lines = held.splitters.entry(stream.clone()).or_default().push(&text);
                    gather(&mut outputs, stream, lines);
                }
                Translated::Body(body) => {
                    self.offer_output(id, std::mem::take(&mut outputs), stock)?;
                    self.offer(id, body, stock)?;
                }
            }
        }
        self.offer_output(id, outputs, stock)
    }

    fn complete(
        &mut self,
        id: CommandId,
        error: Option<String>,
        stock: &mut dyn Stock,
    ) -> Result<(), Breach> {
        let Some(held) = self.commands.get_mut(&id).filter(|held| !held.ended) else { return Ok(()) };
        let mut outputs = Vec::new();
        for (stream, mut splitter) in std::mem::take(&mut held.splitters) {
            gather(&mut outputs, stream, splitter.finish());
        }
        let (orders, read) = (held.orders, held.read.take());
        if let Some((ticket, _)) = read {
            stock.answer(ticket, Answer::Bytes(Vec::new()))?;
        }
        self.offer_output(id, outputs, stock)?;
        self.link.acknowledge(id, orders);
        self.offer(id, UpdateBody::Complete { error: error.map(shortened) }, stock)?;
        if let Some(held) = self.commands.get_mut(&id) {
            held.ended = true;
            held.chunks.clear();
        }
        Ok(())
    }

    /// A block of an upload: answered when the engine has it, so that the worker is never faster than the master.
    fn write(
        &mut self,
        id: CommandId,
        bytes: Vec<u8>,
        ticket: Ticket,
        stock: &mut dyn Stock,
    ) -> Result<(), Breach> {
        let mut last = None;
        for part in bytes.chunks(MAX_BLOCK) {
            last = self.offer(id, UpdateBody::Chunk(part.to_vec()), stock)?;
        }
        match (last, self.commands.get_mut(&id)) {
            (Some(number), Some(held)) => {
                held.writes.push_back((number, ticket));
                Ok(())
            }
            _ => stock.answer(ticket, Answer::Done),
        }
    }

    fn offer_output(
        &mut self,
        id: CommandId,
        outputs: Vec<Output>,
        stock: &mut dyn Stock,
    ) -> Result<(), Breach> {
        for output in outputs {
            for part in parts(&output.text) {
                let output = Output { stream: output.stream.clone(), text: part.to_owned() };
                self.offer(id, UpdateBody::Output(vec![output]), stock)?;
            }
        }
        Ok(())
    }

    /// Keeps an update until it is confirmed; answers its number. A command whose updates can't be kept is ended.
    fn offer(
        &mut self,
        id: CommandId,
        body: UpdateBody,
        stock: &mut dyn Stock,
    ) -> Result<Option<u64>, Breach> {
        let Some(held) = self.commands.get_mut(&id).filter(|held| !held.ended) else { return Ok(None) };
        let is_end = matches!(body, UpdateBody::Complete { .. });
        match self.spool.append(id, body) {
            Ok(number) => {
                self.link.offer(id, number, is_end);
                Ok(Some(number))
            }
            Err(error) => {
                tracing::error!(command = %id, "a command is ended: {error}");
                held.ended = true;
                let end = UpdateBody::Complete { error: Some(error.to_string()) };
                if let Ok(number) = self.spool.append(id, end) {
                    self.link.offer(id, number, true);
                }
                stock.interrupt(id, "its output can't be kept")?;
                Ok(None)
            }
        }
    }
}

/// The engine has given a command up: its calls still want answers.
fn let_go(mut held: Held, stock: &mut dyn Stock) -> Result<(), Breach> {
    for (_, ticket) in held.writes.drain(..) {
        stock.answer(ticket, Answer::Done)?;
    }
    match held.read {
        Some((ticket, _)) => stock.answer(ticket, Answer::Bytes(Vec::new())),
        None => Ok(()),
    }
}

/// Neighbours of the same stream become one.
fn gather(outputs: &mut Vec<Output>, stream: Stream, text: String) {
    match outputs.last_mut() {
        _ if text.is_empty() => {}
        Some(last) if last.stream == stream => last.text.push_str(&text),
        _ => outputs.push(Output { stream, text }),
    }
}

/// Pieces of at most [`TEXT_PART`] bytes, cut after a line end; no line is longer than that.
fn parts(mut text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    while text.len() > TEXT_PART {
        let end = text.as_bytes()[..TEXT_PART]
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(text.len(), |at| at + 1);
        let (part, rest) = text.split_at(end);
        parts.push(part);
        text = rest;
    }
    if !text.is_empty() {
        parts.push(text);
    }
    parts
}
