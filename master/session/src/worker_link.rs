//! A worker's handle on its session with whatever master it reaches.

use std::io;
use std::sync::Arc;

use futures_channel::mpsc;
use futures_util::StreamExt;
use muster_core::CommandId;

use crate::auth::Nonce;
use crate::command::UpdateBody;
use crate::error::Disconnect;
use crate::event::WorkerEvent;
use crate::link::{self, Shared};
use crate::transport::Transport;
use crate::wire::WorkerInfo;
use crate::worker::{Identity, WorkerSession};

/// Where unacknowledged updates are kept: a worker's spool on disk.
pub trait Spool: Send + Sync {
    /// The update `number` of `command`. Called from the session's task, so it should take microseconds (a read from
    /// the page cache). Only numbers are asked for that were [offered](WorkerLink::offer) and not yet acknowledged.
    ///
    /// # Errors
    /// When it can't be read; the connection ends.
    fn load(&self, command: CommandId, number: u64) -> io::Result<UpdateBody>;
}

/// Where a session's events arrive. The queue is bounded: when nobody takes them, the socket is not read.
pub struct WorkerEvents(mpsc::Receiver<Box<WorkerEvent>>);

impl WorkerEvents {
    /// The next event; `None` once every [`WorkerLink`] is gone and all events were taken. Safe to cancel.
    pub async fn next(&mut self) -> Option<WorkerEvent> {
        self.0.next().await.map(|event| *event)
    }
}

/// One worker's session, over all its connections. Cheap to clone.
#[derive(Clone)]
pub struct WorkerLink {
    shared: Arc<Shared<WorkerSession>>,
}

impl WorkerLink {
    /// A session without commands and without a connection: what every new process begins with.
    pub fn new(identity: Identity) -> (WorkerLink, WorkerEvents) {
        let (shared, events) = Shared::new(WorkerSession::new(identity));
        (WorkerLink { shared: Arc::new(shared) }, WorkerEvents(events))
    }

    /// Whether a master has accepted this worker and the connection is up.
    pub fn is_connected(&self) -> bool {
        self.shared.read(WorkerSession::is_connected)
    }

    /// Opens the session over `transport` and drives it until the connection ends. `dial_no` must be higher than that
    /// of any earlier dial of this worker, in this process or an earlier one: count it durably first.
    ///
    /// One call at a time; a second one ends the first.
    pub async fn converse(
        &self,
        transport: Transport,
        dial_no: u64,
        info: WorkerInfo,
        spool: &dyn Spool,
    ) -> Disconnect {
        let serial = self.shared.change(|session| session.dial(dial_no, Nonce::fresh(), info, link::now()));
        link::drive(&self.shared, serial, transport, || self.next_frame(serial, spool)).await
    }

    fn next_frame(&self, serial: u64, spool: &dyn Spool) -> Result<Option<Vec<u8>>, Disconnect> {
        if let Some(frame) = self.shared.line(serial)?.poll_transmit(link::now())? {
            return Ok(Some(frame));
        }
        loop {
            let Some((command, number)) = self.shared.line(serial)?.wanted() else { return Ok(None) };
            // Without the lock: a disk may be slow.
            let loaded = spool.load(command, number);
            let mut session = self.shared.line(serial)?;
            match loaded {
                Ok(body) => {
                    if let Some(frame) = session.supply(command, number, body, link::now())? {
                        return Ok(Some(frame));
                    }
                }
                Err(error) if session.wants(command, number) => return Err(error.into()),
                // Meanwhile the master stored or forgot it, and it left the spool.
                Err(_) => {}
            }
        }
    }

    /// Tells that the orders of `command` up to `number` are durably recorded, or carried out.
    pub fn acknowledge(&self, command: CommandId, number: u64) {
        self.shared.change(|session| session.acknowledge(command, number));
    }

    /// Tells that the spool holds the updates of `command` up to `number`, counted from 1; `ended` when that one is
    /// [`UpdateBody::Complete`]. They are sent as the window allows, and again after a reconnect.
    pub fn offer(&self, command: CommandId, number: u64, ended: bool) {
        self.shared.change(|session| session.offer(command, number, ended));
    }

    /// Asks the master for a graceful stop. `false` when no connection is up: nobody has to be asked then.
    pub fn request_shutdown(&self) -> bool {
        self.shared.change(WorkerSession::request_shutdown)
    }

    /// Ends the connection with a word of farewell.
    pub fn close(&self, reason: &str) {
        self.shared.change(|session| session.close(reason, false));
    }

    /// The same, when this life of the worker ends with it: the master gives up its commands at once.
    pub fn finish(&self, reason: &str) {
        self.shared.change(|session| session.close(reason, true));
    }
}
