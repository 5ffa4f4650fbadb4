//! An engine's handle on one worker's session.

use std::sync::Arc;

use futures_channel::mpsc;
use futures_util::StreamExt;
use muster_core::{BuildId, CommandId, Epoch};

use crate::command::StartCommand;
use crate::error::{Disconnect, OrderError};
use crate::event::MasterEvent;
use crate::link::{self, Shared};
use crate::listen::Opening;
use crate::master::MasterSession;
use crate::wire::{BootId, CommandState, Order, Refusal, RefusalCode, Settings, Terms};

/// Whether this master may act at this moment.
pub type Gate = dyn Fn() -> bool + Send + Sync;

/// Where a session's events arrive. The queue is bounded: when nobody takes them, the worker's socket is not read.
pub struct MasterEvents(mpsc::Receiver<Box<MasterEvent>>);

impl MasterEvents {
    /// The next event; `None` once every [`MasterLink`] is gone and all events were taken. Safe to cancel.
    pub async fn next(&mut self) -> Option<MasterEvent> {
        self.0.next().await.map(|event| *event)
    }
}

/// One worker's session: orders go in here, whether or not a connection is up, and survive reconnects.
///
/// Cheap to clone. No method waits, except [`chunk`](MasterLink::chunk) and [`converse`](MasterLink::converse).
#[derive(Clone)]
pub struct MasterLink {
    worker: Arc<str>,
    boot_id: BootId,
    shared: Arc<Shared<MasterSession>>,
}

impl MasterLink {
    /// A session with one life of a worker. It has no connection yet.
    pub fn new(worker: &str, boot_id: BootId) -> (MasterLink, MasterEvents) {
        let (shared, events) = Shared::new(MasterSession::new());
        (MasterLink { worker: worker.into(), boot_id, shared: Arc::new(shared) }, MasterEvents(events))
    }

    /// The worker's name.
    pub fn worker(&self) -> &str {
        &self.worker
    }

    /// The life of the worker's process this session is with.
    pub fn boot_id(&self) -> &BootId {
        &self.boot_id
    }

    /// Whether a connection is up.
    pub fn is_connected(&self) -> bool {
        self.shared.read(MasterSession::is_connected)
    }

    /// Accepts `opening`, and drives its connection until it ends. Commit the session's row first. A connection that
    /// the session still has is closed at once ([`Disconnect::Superseded`] is what its call returns).
    ///
    /// An opening of another worker or boot id is refused and ends as [`Disconnect::WrongBoot`]: make a new session. One
    /// that is older than another that was accepted is refused and ends as [`Disconnect::Superseded`].
    pub async fn converse(&self, opening: Opening, terms: Terms) -> Disconnect {
        self.converse_while(opening, terms, &|| true).await
    }

    /// The same for a master that may lose the right to act. `gate` is asked before each frame whether it has it: while
    /// it has not, only heartbeats are sent and the rest waits, until [`wake`](MasterLink::wake) tells to ask again.
    pub async fn converse_while(&self, opening: Opening, terms: Terms, gate: &Gate) -> Disconnect {
        if opening.worker() != self.worker() || opening.boot_id() != &self.boot_id {
            let wrong =
                Disconnect::WrongBoot { session: self.boot_id.clone(), opening: opening.boot_id().clone() };
            let code = RefusalCode::Unavailable;
            Box::pin(opening.refuse(Refusal::new(code, wrong.to_string()))).await;
            return wrong;
        }
        let Opening { admitted, mut transport } = opening;
        let connected = self.shared.change(|session| session.connect(admitted, terms, link::now()));
        let Some(serial) = connected else {
            let (code, reason) =
                (RefusalCode::StaleDial, "a later connection of this worker is here".to_owned());
            Box::pin(transport.turn_away(Refusal::new(code, reason))).await;
            return Disconnect::Superseded;
        };
        let next = || self.shared.line(serial)?.poll_transmit(link::now(), gate());
        link::drive(&self.shared, serial, transport, next).await
    }

    /// Starts a command. Its intent must be committed.
    ///
    /// # Errors
    /// When the session knows the command already, or the arguments don't fit a frame.
    pub fn start(&self, command: CommandId, epoch: Epoch, order: StartCommand) -> Result<(), OrderError> {
        self.shared.change(|session| session.start(command, epoch, order))
    }

    /// Goes on with a command of [`MasterEvent::Connected::unclaimed`], under the run's (new) epoch. Updates after
    /// `updates`, the last one that is stored, follow. When the stored one was the command's end, nothing would follow:
    /// [forget](MasterLink::forget) such a command instead.
    ///
    /// # Errors
    /// When the session knows the command already, which is harmless: two connections in a row may have said that it
    /// is unclaimed.
    pub fn resume(&self, state: &CommandState, epoch: Epoch, updates: u64) -> Result<(), OrderError> {
        self.shared.change(|session| session.resume(state, epoch, updates))
    }

    /// Asks a command to end early. Updates go on until its [`UpdateBody::Complete`].
    ///
    /// # Errors
    /// When the command is not running, which is harmless.
    pub fn interrupt(&self, command: CommandId, why: &str) -> Result<(), OrderError> {
        let order = Order::Interrupt { why: why.to_owned() };
        self.shared.change(|session| session.order(command, order))
    }

    /// Sends the next bytes of a download, at most [`MAX_BLOCK`](crate::wire::MAX_BLOCK) of them, as soon as the
    /// command's window has room. When it is cancelled, nothing was sent.
    ///
    /// # Errors
    /// When the command has ended, or was lost or forgotten meanwhile.
    pub async fn chunk(&self, command: CommandId, bytes: Vec<u8>, eof: bool) -> Result<(), OrderError> {
        let mut bell = self.shared.subscribe();
        loop {
            bell.borrow_and_update();
            if self.shared.read(|session| session.has_room(command))? {
                return self.shared.change(|session| session.order(command, Order::Chunk { bytes, eof }));
            }
            // This link holds the bell, so it can't be gone.
            if bell.changed().await.is_err() {
                return Err(OrderError::NotRunning(command));
            }
        }
    }

    /// Tells the worker that all updates of `command` up to `number` are stored. Call it after the commit.
    /// With the number of [`UpdateBody::Complete`] the command is over, on both sides.
    pub fn acknowledge(&self, command: CommandId, number: u64) {
        self.shared.change(|session| session.acknowledge(command, number));
    }

    /// Gives up a command: the worker ends it and drops its updates. Without a connection nobody can be told; then
    /// the command is [unclaimed](MasterEvent::Connected::unclaimed) at the next one.
    pub fn forget(&self, command: CommandId) {
        self.shared.change(|session| session.forget(command));
    }

    /// [Forgets](MasterLink::forget) whatever is left of a build's commands. The build must be over, for everybody: a
    /// command that the worker was made to forget can't be told from one that never arrived.
    pub fn abandon(&self, build: BuildId) {
        self.shared.change(|session| session.abandon(build));
    }

    /// Drops all that is on its way to or from commands of these builds, and tells the worker nothing: another engine
    /// leads them, or led them since. The next connection names what the worker has of them as
    /// [unclaimed](MasterEvent::Connected::unclaimed). Answers whether there was anything.
    pub fn let_go(&self, of: impl Fn(BuildId) -> bool) -> bool {
        self.shared.change(|session| session.let_go(of))
    }

    /// Changes how the worker gathers output, on this connection; the next one's [`Terms`] say it again.
    pub fn settings(&self, settings: Settings) {
        self.shared.change(|session| session.settings(settings));
    }

    /// Asks the worker's process to end. Without a connection nobody can be asked.
    pub fn shutdown(&self) {
        self.shared.change(MasterSession::shutdown);
    }

    /// The answer of the gate may have changed.
    pub fn wake(&self) {
        self.shared.change(|_| ());
    }

    /// Ends the connection and sends the worker to one of the others (`ws://host:port`). Later connections are still
    /// welcome: it may not reach them.
    pub fn redirect(&self, reason: &str, elsewhere: Vec<String>) {
        self.shared.change(|session| session.redirect(reason, elsewhere));
    }

    /// Ends the connection with a word of farewell; the worker dials again. Later connections are still welcome.
    pub fn close(&self, reason: &str) {
        self.shared.change(|session| session.close(reason));
    }
}
