//! What happens in a session, as each of its sides sees it.

use muster_core::{CommandId, Epoch};

use crate::command::UpdateBody;
use crate::wire::{CommandState, Order, Settings, Terms};

/// What happens in a session, as its engine sees it.
#[derive(Clone, Debug, PartialEq)]
pub enum MasterEvent {
    /// A connection is up; orders flow again.
    Connected {
        /// Of this connection.
        dial_no: u64,
        /// Commands that the worker holds and this session doesn't know. Each one waits until the engine
        /// [resumes](crate::MasterLink::resume) or [forgets](crate::MasterLink::forget) it.
        unclaimed: Vec<CommandState>,
    },
    /// The connection is gone; the session waits for the worker's next dial. Not sent when a newer one took over.
    Disconnected {
        /// Of the connection that is gone.
        dial_no: u64,
        /// In words.
        reason: String,
    },
    /// News about a command, each number once and in order. Store it, then [acknowledge](crate::MasterLink::acknowledge).
    Update {
        /// Which command.
        command: CommandId,
        /// From 1.
        number: u64,
        /// The news.
        body: UpdateBody,
    },
    /// The worker had recorded the command and doesn't know it any more: it will never end. The session drops it.
    Lost {
        /// Which command.
        command: CommandId,
    },
    /// The worker's operator wants it to stop: give it nothing new, then [`shutdown`](crate::MasterLink::shutdown).
    ShutdownRequested,
    /// This life of the worker has ended: it won't come back, and nothing more will be heard of its commands.
    Over,
}

/// What happens in a session, as the worker sees it.
#[derive(Clone, Debug, PartialEq)]
pub enum WorkerEvent {
    /// A master accepted this worker. Keep `terms.generation` durably.
    Connected {
        /// What it said.
        terms: Terms,
    },
    /// The connection is gone; commands go on.
    Disconnected {
        /// In words.
        reason: String,
    },
    /// An order, each number once and in order. Record it durably, then [acknowledge](crate::WorkerLink::acknowledge) it.
    Order {
        /// Which command.
        command: CommandId,
        /// Of the run that gives it.
        epoch: Epoch,
        /// From 1; 1 is always [`Order::Start`].
        number: u64,
        /// The order.
        order: Order,
    },
    /// Updates up to `number` are stored by the master and can leave the spool.
    Stored {
        /// Which command.
        command: CommandId,
        /// The highest one.
        number: u64,
        /// That was the last update: the session has dropped the command, nothing about it is needed any more.
        over: bool,
    },
    /// Nobody wants the command any more: end it and drop its updates. The session has dropped it.
    Forget {
        /// Which command.
        command: CommandId,
    },
    /// How output is gathered from now on.
    Settings(Settings),
    /// The master asks this process to end.
    Shutdown,
}
