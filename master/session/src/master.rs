//! The master's side of a session, without I/O: orders and acknowledgements out, numbered updates in.
//!
//! It outlives connections. An order stays until the worker acknowledges it, and is sent again on the next connection;
//! an update that comes again is dropped by its number.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::time::Instant;

use muster_core::{BuildId, CommandId, Epoch};

use crate::command::{StartCommand, UpdateBody};
use crate::error::{Disconnect, OrderError, ProtocolError};
use crate::event::MasterEvent;
use crate::link::{Machine, pop_front};
use crate::liveness::{Liveness, MIN_HEARTBEAT};
use crate::opening::Admitted;
use crate::wire::{
    self, CommandState, FromMaster, FromWorker, MAX_FRAME, Order, Settings, Terms, WINDOW, Welcome,
};

pub(crate) struct MasterSession {
    commands: BTreeMap<CommandId, Channel>,
    line: Option<Line>,
    lines: u64,
    /// The highest number of a dial that was answered.
    dialled: u64,
    events: VecDeque<MasterEvent>,
}

/// One connection.
struct Line {
    serial: u64,
    dial_no: u64,
    liveness: Liveness,
    /// Frames that belong to no channel, or to one that is already gone.
    control: VecDeque<FromMaster>,
    /// Channels with something to send.
    ready: BTreeSet<CommandId>,
    /// Whose turn it was.
    turn: Option<CommandId>,
    ending: Option<String>,
}

/// One command's two numbered directions.
struct Channel {
    epoch: Epoch,
    /// Encoded orders that are not acknowledged; the first one has the number `first`.
    orders: VecDeque<Vec<u8>>,
    first: u64,
    /// The last order sent on this line.
    sent: u64,
    /// Bytes in `orders`.
    waiting: usize,
    received: u64,
    acknowledged: u64,
    /// Sizes of the updates after `acknowledged`.
    unstored: VecDeque<usize>,
    unstored_bytes: usize,
    acknowledgement_due: bool,
    /// The number of the last update there is.
    end: Option<u64>,
}

impl Channel {
    fn new(epoch: Epoch, orders: u64, updates: u64) -> Channel {
        Channel {
            epoch,
            orders: VecDeque::new(),
            first: orders + 1,
            sent: orders,
            waiting: 0,
            received: updates,
            acknowledged: updates,
            unstored: VecDeque::new(),
            unstored_bytes: 0,
            acknowledgement_due: false,
            end: None,
        }
    }

    /// The number of the last order there is.
    fn last(&self) -> u64 {
        self.first + self.orders.len() as u64 - 1
    }

    fn drop_orders(&mut self, up_to: u64) {
        while self.first <= up_to {
            let Some(order) = self.orders.pop_front() else { break };
            self.waiting -= order.len();
            self.first += 1;
        }
    }

    /// Whether the worker has recorded anything of this command.
    fn arrived(&self) -> bool {
        self.first > 1 || self.received > 0
    }

    /// Whether another engine has led the command since this session last saw it.
    fn was_overtaken(&self, state: &CommandState) -> bool {
        state.epoch > self.epoch || state.orders > self.last() || state.acknowledged > self.acknowledged
    }

    /// Continues on a new connection, where the worker said what it holds.
    fn go_on(&mut self, state: &CommandState) -> FromMaster {
        self.drop_orders(state.orders);
        self.sent = self.first - 1;
        self.acknowledgement_due = false;
        FromMaster::Resume { command: state.command, epoch: self.epoch, updates: self.acknowledged }
    }

    fn has_to_send(&self) -> bool {
        self.acknowledgement_due || self.sent < self.last()
    }
}

impl MasterSession {
    pub(crate) fn new() -> MasterSession {
        MasterSession { commands: BTreeMap::new(), line: None, lines: 0, dialled: 0, events: VecDeque::new() }
    }

    /// Puts a new connection in the place of any other. Returns its serial number; `None` when a later dial was answered
    /// meanwhile: what this one said about the worker's commands is no longer true.
    pub(crate) fn connect(&mut self, admitted: Admitted, terms: Terms, now: Instant) -> Option<u64> {
        if admitted.hello.dial_no < self.dialled {
            return None;
        }
        self.dialled = admitted.hello.dial_no;
        self.lines += 1;
        let heartbeat = terms.heartbeat().max(MIN_HEARTBEAT);
        let mut line = Line {
            serial: self.lines,
            dial_no: admitted.hello.dial_no,
            liveness: Liveness::new(heartbeat, now),
            control: VecDeque::new(),
            ready: BTreeSet::new(),
            turn: None,
            ending: None,
        };
        line.control.push_back(FromMaster::Welcome(Welcome { proof: admitted.proof, terms }));
        let mut held: BTreeMap<CommandId, CommandState> =
            admitted.claim.commands.into_iter().map(|state| (state.command, state)).collect();
        self.commands
            .retain(|command, channel| held.get(command).is_none_or(|state| !channel.was_overtaken(state)));
        let mut lost = Vec::new();
        for (&command, channel) in &mut self.commands {
            match held.remove(&command) {
                Some(state) => line.control.push_back(channel.go_on(&state)),
                None if channel.arrived() => lost.push(command),
                None => channel.sent = 0,
            }
            if channel.has_to_send() {
                line.ready.insert(command);
            }
        }
        let dial_no = line.dial_no;
        self.line = Some(line);
        self.events.push_back(MasterEvent::Connected { dial_no, unclaimed: held.into_values().collect() });
        for command in lost {
            self.drop_channel(command);
            self.events.push_back(MasterEvent::Lost { command });
        }
        Some(self.lines)
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.line.is_some()
    }

    /// Gives the next order of a command a number and keeps it until it is acknowledged.
    pub(crate) fn order(&mut self, command: CommandId, order: Order) -> Result<(), OrderError> {
        let channel = self.commands.get_mut(&command).ok_or(OrderError::NotRunning(command))?;
        let number = channel.last() + 1;
        let frame = FromMaster::Order { command, epoch: channel.epoch, number, order };
        let frame = wire::encode(&frame).map_err(|error| OrderError::TooLong { command, error })?;
        channel.waiting += frame.len();
        channel.orders.push_back(frame);
        self.mark_ready(command);
        Ok(())
    }

    pub(crate) fn start(
        &mut self,
        command: CommandId,
        epoch: Epoch,
        order: StartCommand,
    ) -> Result<(), OrderError> {
        self.open_channel(command, Channel::new(epoch, 0, 0))?;
        self.order(command, Order::Start(Box::new(order))).inspect_err(|_| self.drop_channel(command))
    }

    pub(crate) fn resume(
        &mut self,
        state: &CommandState,
        epoch: Epoch,
        updates: u64,
    ) -> Result<(), OrderError> {
        let command = state.command;
        self.open_channel(command, Channel::new(epoch, state.orders, updates))?;
        self.say(FromMaster::Resume { command, epoch, updates });
        Ok(())
    }

    /// Whether the window has room for one more chunk.
    pub(crate) fn has_room(&self, command: CommandId) -> Result<bool, OrderError> {
        let channel = self.commands.get(&command).ok_or(OrderError::NotRunning(command))?;
        Ok(channel.waiting < WINDOW)
    }

    pub(crate) fn acknowledge(&mut self, command: CommandId, number: u64) {
        let Some(channel) = self.commands.get_mut(&command) else { return };
        debug_assert!(number <= channel.received, "{command}: {number} was never received");
        let number = number.min(channel.received);
        while channel.acknowledged < number {
            channel.acknowledged += 1;
            channel.unstored_bytes -= channel.unstored.pop_front().unwrap_or(0);
            channel.acknowledgement_due = true;
        }
        if channel.end == Some(number) {
            self.drop_channel(command);
            self.say(FromMaster::AckUpdates { command, number });
        } else if channel.acknowledgement_due {
            self.mark_ready(command);
        }
    }

    pub(crate) fn let_go(&mut self, of: impl Fn(BuildId) -> bool) -> bool {
        let gone: Vec<CommandId> =
            self.commands.keys().filter(|command| of(command.build)).copied().collect();
        for command in &gone {
            self.drop_channel(*command);
        }
        !gone.is_empty()
    }

    pub(crate) fn abandon(&mut self, build: BuildId) {
        let left: Vec<CommandId> =
            self.commands.keys().filter(|command| command.build == build).copied().collect();
        left.into_iter().for_each(|command| self.forget(command));
    }

    pub(crate) fn forget(&mut self, command: CommandId) {
        self.drop_channel(command);
        self.say(FromMaster::Forget { command });
    }

    pub(crate) fn settings(&mut self, settings: Settings) {
        self.say(FromMaster::Settings(settings));
    }

    pub(crate) fn shutdown(&mut self) {
        self.say(FromMaster::Shutdown);
    }

    /// Ends the connection; the worker is to go to one of the others.
    pub(crate) fn redirect(&mut self, reason: &str, elsewhere: Vec<String>) {
        self.say(FromMaster::Goodbye { reason: reason.to_owned(), elsewhere });
        if let Some(line) = &mut self.line {
            line.ending = Some(reason.to_owned());
        }
    }

    pub(crate) fn close(&mut self, reason: &str) {
        self.redirect(reason, Vec::new());
    }

    /// The next frame for the socket. After [`close`](Self::close) nothing follows the farewell. A master that may not
    /// act says that it is alive and no more; what it has to say waits.
    pub(crate) fn poll_transmit(
        &mut self,
        now: Instant,
        may_act: bool,
    ) -> Result<Option<Vec<u8>>, Disconnect> {
        let Some(line) = &mut self.line else { return Ok(None) };
        if !may_act {
            let first_heartbeat = line.control.iter().position(|frame| *frame == FromMaster::Heartbeat);
            let heartbeat = first_heartbeat.and_then(|index| line.control.remove(index));
            return heartbeat.map(|frame| wire::encode(&frame)).transpose().map_err(Disconnect::from);
        }
        let frame = match pop_front(&mut line.control) {
            Some(frame) => Some(wire::encode(&frame)?),
            None if line.ending.is_some() => None,
            None => line.next_of_channels(&mut self.commands)?,
        };
        if frame.is_some() {
            line.liveness.spoke(now);
        }
        Ok(frame)
    }

    fn open_channel(&mut self, command: CommandId, channel: Channel) -> Result<(), OrderError> {
        if self.commands.contains_key(&command) {
            return Err(OrderError::AlreadyStarted(command));
        }
        self.commands.insert(command, channel);
        Ok(())
    }

    fn drop_channel(&mut self, command: CommandId) {
        self.commands.remove(&command);
        if let Some(line) = &mut self.line {
            line.ready.remove(&command);
        }
    }

    fn mark_ready(&mut self, command: CommandId) {
        if let Some(line) = &mut self.line {
            line.ready.insert(command);
        }
    }

    /// Sends something on this connection only.
    fn say(&mut self, frame: FromMaster) {
        if let Some(line) = self.line.as_mut().filter(|line| line.ending.is_none()) {
            line.control.push_back(frame);
        }
    }

    fn update(
        &mut self,
        command: CommandId,
        number: u64,
        body: UpdateBody,
        size: usize,
    ) -> Result<(), ProtocolError> {
        // A command that was forgotten while its updates were on their way.
        let Some(channel) = self.commands.get_mut(&command) else { return Ok(()) };
        if number <= channel.received {
            return Ok(());
        }
        if channel.end.is_some() {
            return Err(ProtocolError::AfterEnd(command));
        }
        let expected = channel.received + 1;
        if number != expected {
            return Err(ProtocolError::Gap { command, expected, got: number });
        }
        channel.unstored_bytes += size;
        if channel.unstored_bytes > WINDOW + MAX_FRAME {
            return Err(ProtocolError::WindowExceeded(command));
        }
        channel.unstored.push_back(size);
        channel.received = number;
        if matches!(body, UpdateBody::Complete { .. }) {
            channel.end = Some(number);
        }
        self.events.push_back(MasterEvent::Update { command, number, body });
        Ok(())
    }

    fn orders_acknowledged(&mut self, command: CommandId, number: u64) -> Result<(), ProtocolError> {
        // A command that ended or was forgotten meanwhile.
        let Some(channel) = self.commands.get_mut(&command) else { return Ok(()) };
        if number > channel.last() {
            return Err(ProtocolError::Acknowledgement { command, sent: channel.last(), got: number });
        }
        channel.drop_orders(number);
        channel.sent = channel.sent.max(channel.first - 1);
        Ok(())
    }
}

impl Line {
    /// Takes turns, so that one long download does not keep the others waiting.
    fn next_of_channels(
        &mut self,
        commands: &mut BTreeMap<CommandId, Channel>,
    ) -> Result<Option<Vec<u8>>, Disconnect> {
        let after = self.turn.map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.ready.range((after, Bound::Unbounded)).next().or(self.ready.first()).copied();
        let Some((command, channel)) = next.and_then(|command| Some((command, commands.get_mut(&command)?)))
        else {
            return Ok(None);
        };
        self.turn = Some(command);
        let frame = if channel.acknowledgement_due {
            channel.acknowledgement_due = false;
            Some(wire::encode(&FromMaster::AckUpdates { command, number: channel.acknowledged })?)
        } else {
            let unsent = channel.orders.get((channel.sent + 1 - channel.first) as usize).cloned();
            channel.sent += u64::from(unsent.is_some());
            unsent
        };
        if !channel.has_to_send() {
            self.ready.remove(&command);
        }
        Ok(frame)
    }
}

impl Machine for MasterSession {
    type Event = MasterEvent;

    fn serial(&self) -> Option<u64> {
        self.line.as_ref().map(|line| line.serial)
    }

    fn handle_frame(&mut self, bytes: &[u8], now: Instant) -> Result<(), Disconnect> {
        let Some(line) = &mut self.line else { return Ok(()) };
        line.liveness.heard(now);
        let frame = wire::decode(bytes).map_err(ProtocolError::from)?;
        match frame {
            FromWorker::Update { command, number, body } => {
                self.update(command, number, body, bytes.len())?;
            }
            FromWorker::AckOrders { command, number } => self.orders_acknowledged(command, number)?,
            FromWorker::Heartbeat => {}
            FromWorker::RequestShutdown => self.events.push_back(MasterEvent::ShutdownRequested),
            FromWorker::Goodbye { reason, over } => {
                if over {
                    self.events.push_back(MasterEvent::Over);
                }
                return Err(Disconnect::Goodbye(reason));
            }
            FromWorker::Hello(_) | FromWorker::Claim(_) => {
                return Err(ProtocolError::Unexpected("an opening").into());
            }
        }
        Ok(())
    }

    fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    fn poll_event(&mut self) -> Option<MasterEvent> {
        pop_front(&mut self.events)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.line.as_ref().map(|line| line.liveness.deadline())
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Disconnect> {
        let Some(line) = &mut self.line else { return Ok(()) };
        if !self.events.is_empty() {
            // Nobody reads the socket while events wait for the engine, so nothing can be heard.
            line.liveness.heard(now);
        }
        if line.liveness.is_dead(now) {
            return Err(ProtocolError::Silent(line.liveness.silence(now)).into());
        }
        if line.liveness.must_speak(now) {
            line.liveness.spoke(now);
            // In front: what waits behind it may have to wait until this master may act.
            if !line.control.contains(&FromMaster::Heartbeat) {
                line.control.push_front(FromMaster::Heartbeat);
            }
        }
        Ok(())
    }

    fn ending(&self) -> Option<&str> {
        self.line.as_ref()?.ending.as_deref()
    }

    fn disconnected(&mut self, reason: &str) {
        if let Some(line) = self.line.take() {
            let (dial_no, reason) = (line.dial_no, reason.to_owned());
            self.events.push_back(MasterEvent::Disconnected { dial_no, reason });
        }
    }

    fn farewell(reason: &str) -> Option<Vec<u8>> {
        wire::encode(&FromMaster::Goodbye { reason: reason.to_owned(), elsewhere: Vec::new() }).ok()
    }
}
