//! The worker's side of a session, without I/O: numbered orders in, numbered updates out of the spool.
//!
//! It outlives connections, but not the process: a new life has a new boot id and begins without commands.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::time::Instant;

use muster_core::{CommandId, Epoch};

use crate::auth::{Nonce, Password, Side};
use crate::command::UpdateBody;
use crate::error::{Disconnect, ProtocolError};
use crate::event::WorkerEvent;
use crate::link::{Machine, pop_front};
use crate::liveness::{Liveness, MIN_HEARTBEAT, OPENING_TIMEOUT};
use crate::wire::{
    self, BootId, Claim, CommandState, FrameError, FromMaster, FromWorker, Hello, MAX_COMMANDS, Order,
    WINDOW, Welcome, WorkerInfo, versions,
};

/// Who a worker is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its name.
    pub worker: String,
    /// Its password.
    pub password: Password,
    /// This life of its process.
    pub boot_id: BootId,
    /// The highest generation of a cluster it has served; lower ones are refused.
    pub generation: u64,
}

pub(crate) struct WorkerSession {
    identity: Identity,
    commands: BTreeMap<CommandId, Channel>,
    line: Option<Line>,
    lines: u64,
    events: VecDeque<WorkerEvent>,
}

/// One connection.
struct Line {
    serial: u64,
    phase: Phase,
    hello: Hello,
    info: WorkerInfo,
    control: VecDeque<FromWorker>,
    /// Channels with something to send.
    ready: BTreeSet<CommandId>,
    /// Whose turn it was.
    turn: Option<CommandId>,
    ending: Option<String>,
}

/// How far the opening has come.
enum Phase {
    /// The hello is out.
    Challenge { until: Instant, begun: Instant },
    /// The claim is out.
    Welcome { until: Instant, begun: Instant, version: u32, nonce: Nonce },
    /// It is over.
    Up(Liveness),
}

/// One command's two numbered directions.
struct Channel {
    epoch: Epoch,
    received: u64,
    recorded: u64,
    acknowledgement_due: bool,
    /// The last update in the spool.
    offered: u64,
    /// Whether that one is the last there will be.
    ended: bool,
    stored: u64,
    /// The last update sent on this line.
    sent: u64,
    /// Numbers and sizes of what was sent on this line and is not acknowledged.
    in_flight: VecDeque<(u64, usize)>,
    in_flight_bytes: usize,
    /// On this line, the master has not said yet from where it goes on.
    held: bool,
}

impl Channel {
    fn new(epoch: Epoch) -> Channel {
        Channel {
            epoch,
            received: 0,
            recorded: 0,
            acknowledgement_due: false,
            offered: 0,
            ended: false,
            stored: 0,
            sent: 0,
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            held: false,
        }
    }

    fn state(&self, command: CommandId) -> CommandState {
        CommandState {
            command,
            epoch: self.epoch,
            orders: self.received,
            updates: self.offered,
            acknowledged: self.stored,
            ended: self.ended,
        }
    }

    fn may_send_update(&self) -> bool {
        !self.held && self.sent < self.offered && self.in_flight_bytes < WINDOW
    }

    fn rewind(&mut self, stored: u64) {
        self.sent = stored;
        self.in_flight.clear();
        self.in_flight_bytes = 0;
    }

    fn is_over(&self) -> bool {
        self.ended && self.stored == self.offered
    }

    /// A run with a higher epoch may take the command over, never one with a lower.
    fn raise_epoch(&mut self, command: CommandId, epoch: Epoch) -> Result<(), ProtocolError> {
        if epoch < self.epoch {
            return Err(ProtocolError::StaleEpoch { command, known: self.epoch, got: epoch });
        }
        self.epoch = epoch;
        Ok(())
    }
}

impl WorkerSession {
    pub(crate) fn new(identity: Identity) -> WorkerSession {
        WorkerSession { identity, commands: BTreeMap::new(), line: None, lines: 0, events: VecDeque::new() }
    }

    /// Puts a new connection in the place of any other. Returns its serial number.
    pub(crate) fn dial(&mut self, dial_no: u64, nonce: Nonce, info: WorkerInfo, now: Instant) -> u64 {
        self.lines += 1;
        let hello = Hello {
            versions: versions().to_vec(),
            worker: self.identity.worker.clone(),
            boot_id: self.identity.boot_id.clone(),
            dial_no,
            nonce,
        };
        for channel in self.commands.values_mut() {
            channel.held = true;
        }
        self.line = Some(Line {
            serial: self.lines,
            phase: Phase::Challenge { begun: now, until: now + OPENING_TIMEOUT },
            control: VecDeque::from([FromWorker::Hello(hello.clone())]),
            hello,
            info,
            ready: BTreeSet::new(),
            turn: None,
            ending: None,
        });
        self.lines
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.line.as_ref().is_some_and(Line::is_up)
    }

    pub(crate) fn acknowledge(&mut self, command: CommandId, number: u64) {
        let Some(channel) = self.commands.get_mut(&command) else { return };
        debug_assert!(number <= channel.received, "{command}: order {number} was never received");
        let number = number.min(channel.received);
        if number > channel.recorded {
            channel.recorded = number;
            channel.acknowledgement_due = true;
            self.mark_ready(command);
        }
    }

    pub(crate) fn offer(&mut self, command: CommandId, number: u64, ended: bool) {
        // A command that was forgotten meanwhile.
        let Some(channel) = self.commands.get_mut(&command) else { return };
        debug_assert!(!channel.ended, "{command}: update {number} after the end");
        if channel.ended || number < channel.offered {
            return;
        }
        channel.offered = number;
        channel.ended = ended;
        self.mark_ready(command);
    }

    pub(crate) fn request_shutdown(&mut self) -> bool {
        let connected = self.is_connected();
        if connected {
            self.say(FromWorker::RequestShutdown);
        }
        connected
    }

    /// Ends the connection; with `over` the master need not wait for another one of this life.
    pub(crate) fn close(&mut self, reason: &str, over: bool) {
        self.say(FromWorker::Goodbye { reason: reason.to_owned(), over });
        if let Some(line) = &mut self.line {
            line.ending = Some(reason.to_owned());
        }
    }

    /// The next frame for the socket, as far as it needs nothing from the spool.
    pub(crate) fn poll_transmit(&mut self, now: Instant) -> Result<Option<Vec<u8>>, Disconnect> {
        let Some(line) = &mut self.line else { return Ok(None) };
        let frame = match pop_front(&mut line.control) {
            Some(frame) => Some(frame),
            None if line.ending.is_some() => None,
            None => line.due_acknowledgement(&mut self.commands),
        };
        let Some(frame) = frame else { return Ok(None) };
        line.spoke(now);
        Ok(Some(wire::encode(&frame)?))
    }

    /// The next update that the window lets through; load it and [supply](Self::supply) it.
    pub(crate) fn wanted(&mut self) -> Option<(CommandId, u64)> {
        let line = self.line.as_mut().filter(|line| line.ending.is_none() && line.is_up())?;
        loop {
            let command = line.next_ready()?;
            match self.commands.get(&command) {
                Some(channel) if channel.may_send_update() => {
                    line.turn = Some(command);
                    return Some((command, channel.sent + 1));
                }
                _ => line.ready.remove(&command),
            };
        }
    }

    /// Whether that update is still the next one of its command.
    pub(crate) fn wants(&self, command: CommandId, number: u64) -> bool {
        self.commands
            .get(&command)
            .is_some_and(|channel| channel.sent + 1 == number && channel.may_send_update())
    }

    /// The frame of an update that was wanted. `None` when it is not wanted any more.
    pub(crate) fn supply(
        &mut self,
        command: CommandId,
        number: u64,
        body: UpdateBody,
        now: Instant,
    ) -> Result<Option<Vec<u8>>, FrameError> {
        let wanted = self.wants(command, number);
        let (Some(line), Some(channel), true) = (&mut self.line, self.commands.get_mut(&command), wanted)
        else {
            return Ok(None);
        };
        let frame = wire::encode(&FromWorker::Update { command, number, body })?;
        channel.sent = number;
        channel.in_flight.push_back((number, frame.len()));
        channel.in_flight_bytes += frame.len();
        line.spoke(now);
        Ok(Some(frame))
    }

    fn mark_ready(&mut self, command: CommandId) {
        if let Some(line) = &mut self.line {
            line.ready.insert(command);
        }
    }

    fn say(&mut self, frame: FromWorker) {
        if let Some(line) = self.line.as_mut().filter(|line| line.ending.is_none()) {
            line.control.push_back(frame);
        }
    }

    fn challenged(&mut self, version: u32, nonce: Nonce, now: Instant) -> Result<(), ProtocolError> {
        let Some(line) = &mut self.line else { return Ok(()) };
        if !versions().contains(&version) {
            return Err(ProtocolError::Unexpected("a protocol version that was not offered"));
        }
        let proof = self.identity.password.proof(Side::Worker, &line.hello.transcript(version, nonce));
        let commands = self.commands.iter().map(|(&command, channel)| channel.state(command)).collect();
        let info = std::mem::take(&mut line.info);
        line.control.push_back(FromWorker::Claim(Claim { proof, info, commands }));
        line.phase = Phase::Welcome { begun: now, until: now + OPENING_TIMEOUT, version, nonce };
        Ok(())
    }

    fn welcomed(&mut self, welcome: Welcome, now: Instant) -> Result<(), ProtocolError> {
        let Some(line) = &mut self.line else { return Ok(()) };
        let Phase::Welcome { version, nonce, .. } = line.phase else {
            return Err(ProtocolError::Unexpected("a welcome"));
        };
        let Welcome { proof, terms } = welcome;
        if !self.identity.password.verifies(&proof, Side::Master, &line.hello.transcript(version, nonce)) {
            return Err(ProtocolError::FalseMaster);
        }
        if terms.generation < self.identity.generation {
            let known = self.identity.generation;
            return Err(ProtocolError::StaleGeneration { known, got: terms.generation });
        }
        self.identity.generation = terms.generation;
        line.phase = Phase::Up(Liveness::new(terms.heartbeat().max(MIN_HEARTBEAT), now));
        self.events.push_back(WorkerEvent::Connected { terms });
        Ok(())
    }

    fn ordered(
        &mut self,
        command: CommandId,
        epoch: Epoch,
        number: u64,
        order: Order,
    ) -> Result<(), ProtocolError> {
        let starts = matches!(order, Order::Start(_));
        if starts != (number == 1) {
            return Err(ProtocolError::Unexpected("a start other than as the first order"));
        }
        if !self.commands.contains_key(&command) {
            if !starts {
                return Err(ProtocolError::UnknownCommand(command));
            }
            if self.commands.len() >= MAX_COMMANDS {
                return Err(ProtocolError::TooManyCommands(MAX_COMMANDS));
            }
        }
        let channel = self.commands.entry(command).or_insert_with(|| Channel::new(epoch));
        channel.raise_epoch(command, epoch)?;
        if number <= channel.received {
            channel.acknowledgement_due |= number <= channel.recorded;
            self.mark_ready(command);
            return Ok(());
        }
        let expected = channel.received + 1;
        if number != expected {
            return Err(ProtocolError::Gap { command, expected, got: number });
        }
        channel.received = number;
        self.events.push_back(WorkerEvent::Order { command, epoch, number, order });
        Ok(())
    }

    fn resumed(&mut self, command: CommandId, epoch: Epoch, updates: u64) -> Result<(), ProtocolError> {
        let channel = self.commands.get_mut(&command).ok_or(ProtocolError::UnknownCommand(command))?;
        channel.raise_epoch(command, epoch)?;
        if updates < channel.stored {
            // What another master stored has left the spool; this one's database is older than that.
            return Err(ProtocolError::Gap { command, expected: channel.stored, got: updates });
        }
        channel.rewind(updates);
        channel.held = false;
        self.stored(command, updates)?;
        self.mark_ready(command);
        Ok(())
    }

    fn stored(&mut self, command: CommandId, number: u64) -> Result<(), ProtocolError> {
        // A command that is over already.
        let Some(channel) = self.commands.get_mut(&command) else { return Ok(()) };
        if number > channel.offered {
            return Err(ProtocolError::Acknowledgement { command, sent: channel.offered, got: number });
        }
        if number <= channel.stored {
            return Ok(());
        }
        channel.stored = number;
        channel.sent = channel.sent.max(number);
        while let Some(&(_, size)) = channel.in_flight.front().filter(|(sent, _)| *sent <= number) {
            channel.in_flight_bytes -= size;
            channel.in_flight.pop_front();
        }
        let over = channel.is_over();
        if over {
            self.commands.remove(&command);
        } else {
            self.mark_ready(command);
        }
        self.events.push_back(WorkerEvent::Stored { command, number, over });
        Ok(())
    }

    fn forgotten(&mut self, command: CommandId) {
        if self.commands.remove(&command).is_some() {
            self.events.push_back(WorkerEvent::Forget { command });
        }
    }

    fn handle_while_up(&mut self, frame: FromMaster) -> Result<(), Disconnect> {
        match frame {
            FromMaster::Order { command, epoch, number, order } => {
                self.ordered(command, epoch, number, order)?;
            }
            FromMaster::Resume { command, epoch, updates } => self.resumed(command, epoch, updates)?,
            FromMaster::AckUpdates { command, number } => self.stored(command, number)?,
            FromMaster::Forget { command } => self.forgotten(command),
            FromMaster::Heartbeat => {}
            FromMaster::Settings(settings) => self.events.push_back(WorkerEvent::Settings(settings)),
            FromMaster::Shutdown => self.events.push_back(WorkerEvent::Shutdown),
            FromMaster::Goodbye { reason, elsewhere } => return Err(farewell_of(reason, elsewhere)),
            FromMaster::Challenge { .. } | FromMaster::Welcome(_) | FromMaster::Refused(_) => {
                return Err(ProtocolError::Unexpected("an answer to an opening").into());
            }
        }
        Ok(())
    }
}

impl Line {
    fn spoke(&mut self, now: Instant) {
        if let Phase::Up(liveness) = &mut self.phase {
            liveness.spoke(now);
        }
    }

    fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Up(_))
    }

    /// Takes turns, so that one loud command does not keep the others waiting.
    fn next_ready(&self) -> Option<CommandId> {
        let after = self.turn.map_or(Bound::Unbounded, Bound::Excluded);
        self.ready.range((after, Bound::Unbounded)).next().or(self.ready.first()).copied()
    }

    fn due_acknowledgement(&self, commands: &mut BTreeMap<CommandId, Channel>) -> Option<FromWorker> {
        if !self.is_up() {
            return None;
        }
        self.ready.iter().find_map(|&command| {
            let channel = commands.get_mut(&command).filter(|channel| channel.acknowledgement_due)?;
            channel.acknowledgement_due = false;
            Some(FromWorker::AckOrders { command, number: channel.recorded })
        })
    }
}

fn farewell_of(reason: String, elsewhere: Vec<String>) -> Disconnect {
    match elsewhere.is_empty() {
        true => Disconnect::Goodbye(reason),
        false => Disconnect::Redirected { reason, elsewhere },
    }
}

impl Machine for WorkerSession {
    type Event = WorkerEvent;

    fn serial(&self) -> Option<u64> {
        self.line.as_ref().map(|line| line.serial)
    }

    fn handle_frame(&mut self, bytes: &[u8], now: Instant) -> Result<(), Disconnect> {
        let Some(line) = &mut self.line else { return Ok(()) };
        let frame = wire::decode(bytes).map_err(ProtocolError::from)?;
        match (&mut line.phase, frame) {
            (Phase::Up(liveness), frame) => {
                liveness.heard(now);
                self.handle_while_up(frame)?;
            }
            (_, FromMaster::Refused(refusal)) => return Err(Disconnect::Refused(refusal)),
            (_, FromMaster::Goodbye { reason, elsewhere }) => return Err(farewell_of(reason, elsewhere)),
            (Phase::Challenge { .. }, FromMaster::Challenge { version, nonce }) => {
                self.challenged(version, nonce, now)?;
            }
            (Phase::Welcome { .. }, FromMaster::Welcome(welcome)) => self.welcomed(welcome, now)?,
            _ => return Err(ProtocolError::Unexpected("this frame of an opening").into()),
        }
        Ok(())
    }

    fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    fn poll_event(&mut self) -> Option<WorkerEvent> {
        pop_front(&mut self.events)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.line.as_ref().map(|line| match &line.phase {
            Phase::Challenge { until, .. } | Phase::Welcome { until, .. } => *until,
            Phase::Up(liveness) => liveness.deadline(),
        })
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Disconnect> {
        let Some(line) = &mut self.line else { return Ok(()) };
        let liveness = match &mut line.phase {
            Phase::Up(liveness) => liveness,
            Phase::Challenge { until, begun } | Phase::Welcome { until, begun, .. } => {
                let silent = ProtocolError::Silent(now.duration_since(*begun));
                return if now >= *until { Err(silent.into()) } else { Ok(()) };
            }
        };
        if !self.events.is_empty() {
            // Nobody reads the socket while events wait for the worker, so nothing can be heard.
            liveness.heard(now);
        }
        if liveness.is_dead(now) {
            return Err(ProtocolError::Silent(liveness.silence(now)).into());
        }
        if liveness.must_speak(now) {
            liveness.spoke(now);
            if line.control.is_empty() {
                line.control.push_back(FromWorker::Heartbeat);
            }
        }
        Ok(())
    }

    fn ending(&self) -> Option<&str> {
        self.line.as_ref()?.ending.as_deref()
    }

    fn disconnected(&mut self, reason: &str) {
        let was_up = self.is_connected();
        self.line = None;
        if was_up {
            self.events.push_back(WorkerEvent::Disconnected { reason: reason.to_owned() });
        }
    }

    fn farewell(reason: &str) -> Option<Vec<u8>> {
        wire::encode(&FromWorker::Goodbye { reason: reason.to_owned(), over: false }).ok()
    }
}
