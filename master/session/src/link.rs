//! What drives a session's state machine over one connection: reads, writes and time, as three loops that share the
//! machine behind a lock.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_channel::mpsc;
use futures_util::{SinkExt, StreamExt};
use tokio::sync::watch;

use crate::error::Disconnect;
use crate::transport::{Incoming, Outgoing, Transport};

/// Events that wait for their consumer, and one more of each connection; with more of them the socket is not read. Each
/// holds at most one frame.
pub(crate) const EVENT_QUEUE: usize = 32;

/// How long farewell and closing may take; the peer finds out without them too.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

/// One side of a session: bytes and time in, bytes and events out.
pub(crate) trait Machine {
    /// What its owner is told.
    type Event;

    /// Of the connection it has.
    fn serial(&self) -> Option<u64>;
    fn handle_frame(&mut self, bytes: &[u8], now: Instant) -> Result<(), Disconnect>;
    fn has_events(&self) -> bool;
    fn poll_event(&mut self) -> Option<Self::Event>;
    fn poll_timeout(&self) -> Option<Instant>;
    fn handle_timeout(&mut self, now: Instant) -> Result<(), Disconnect>;
    /// Why this side ends the connection, once its last frame is out.
    fn ending(&self) -> Option<&str>;
    fn disconnected(&mut self, reason: &str);
    /// The frame that tells the peer about an error.
    fn farewell(reason: &str) -> Option<Vec<u8>>;
}

/// A machine, its consumers' queue, and a bell that rings at every change.
pub(crate) struct Shared<M: Machine> {
    machine: Mutex<M>,
    bell: watch::Sender<()>,
    /// Boxed: the queue of an idle worker, which has room for dozens of them, costs next to nothing then.
    events: mpsc::Sender<Box<M::Event>>,
}

impl<M: Machine> Shared<M> {
    pub(crate) fn new(machine: M) -> (Shared<M>, mpsc::Receiver<Box<M::Event>>) {
        let (events, receiver) = mpsc::channel(EVENT_QUEUE);
        (Shared { machine: Mutex::new(machine), bell: watch::Sender::new(()), events }, receiver)
    }

    /// Looks at the machine.
    pub(crate) fn read<R>(&self, look: impl FnOnce(&M) -> R) -> R {
        look(&self.lock())
    }

    /// Changes the machine, and rings the bell.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut M) -> R) -> R {
        let result = change(&mut self.lock());
        self.bell.send_replace(());
        result
    }

    /// Rings at every change after this call.
    pub(crate) fn subscribe(&self) -> watch::Receiver<()> {
        self.bell.subscribe()
    }

    /// No code panics while it holds the lock with the machine half changed; a poisoned lock is still good.
    fn lock(&self) -> MutexGuard<'_, M> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The machine, as long as its connection is still `serial`: what one connection has to say never goes out on
    /// another.
    pub(crate) fn line(&self, serial: u64) -> Result<MutexGuard<'_, M>, Disconnect> {
        let machine = self.lock();
        if machine.serial() == Some(serial) { Ok(machine) } else { Err(Disconnect::Superseded) }
    }

    /// Hands every waiting event to the consumer. An event leaves the machine only when there is room for it, and
    /// under the lock: so none is lost when this is cancelled, and two connections keep their order. `events` is the
    /// connection's own way to the queue.
    async fn deliver(&self, events: &mut mpsc::Sender<Box<M::Event>>) -> Result<(), Disconnect> {
        while self.read(M::has_events) {
            poll_fn(|context| events.poll_ready(context)).await.map_err(|_| Disconnect::NoReceiver)?;
            let mut machine = self.lock();
            if let Some(event) = machine.poll_event() {
                events.start_send(Box::new(event)).map_err(|_| Disconnect::NoReceiver)?;
            }
        }
        Ok(())
    }
}

/// The next one of a queue, which has no memory when it is empty: most workers are idle most of the time.
pub(crate) fn pop_front<T>(queue: &mut VecDeque<T>) -> Option<T> {
    let next = queue.pop_front();
    if queue.is_empty() {
        *queue = VecDeque::new();
    }
    next
}

/// Drives connection `serial` until it ends. `next_frame` gives what is to be sent on it.
pub(crate) async fn drive<M, F>(
    shared: &Shared<M>,
    serial: u64,
    transport: Transport,
    next_frame: F,
) -> Disconnect
where
    M: Machine,
    F: FnMut() -> Result<Option<Vec<u8>>, Disconnect>,
{
    let mut hang_up = HangUp { shared, serial, reason: "its task was dropped".into() };
    let Transport { mut incoming, mut outgoing, .. } = transport;
    let mut events = shared.events.clone();
    let end = tokio::select! {
        end = write(shared, serial, &mut outgoing, next_frame) => end,
        end = read(shared, serial, &mut incoming, &mut events) => end,
        end = watch_time(shared, serial) => end,
    };
    hang_up.reason = end.to_string();
    // Boxed: nothing of the end takes room in the thousands of connections that go on.
    Box::pin(part(&mut outgoing, &end, M::farewell(&hang_up.reason))).await;
    drop(hang_up);
    match Box::pin(shared.deliver(&mut events)).await {
        Ok(()) => end,
        Err(no_receiver) => no_receiver,
    }
}

/// Says why, where the peer can't know, and closes. A sink that failed must not be touched again.
async fn part(outgoing: &mut Outgoing, end: &Disconnect, farewell: Option<Vec<u8>>) {
    if matches!(end, Disconnect::Transport(_)) {
        return;
    }
    let tell = matches!(end, Disconnect::Protocol(_) | Disconnect::Superseded);
    let parting = async {
        if let Some(frame) = farewell.filter(|_| tell) {
            outgoing.send(frame).await?;
        }
        outgoing.close().await
    };
    // The connection is over either way; whether the peer still hears why makes no difference to this side.
    let _ = tokio::time::timeout(FAREWELL_TIMEOUT, parting).await;
}

/// Tells the machine that its connection is gone, even when the task that drove it was dropped.
struct HangUp<'a, M: Machine> {
    shared: &'a Shared<M>,
    serial: u64,
    reason: String,
}

impl<M: Machine> Drop for HangUp<'_, M> {
    fn drop(&mut self) {
        // A newer connection is not ended by the end of an older one.
        if let Ok(mut machine) = self.shared.line(self.serial) {
            machine.disconnected(&self.reason);
        }
    }
}

async fn write<M, F>(
    shared: &Shared<M>,
    serial: u64,
    outgoing: &mut Outgoing,
    mut next_frame: F,
) -> Disconnect
where
    M: Machine,
    F: FnMut() -> Result<Option<Vec<u8>>, Disconnect>,
{
    let mut bell = shared.subscribe();
    let outcome: Result<(), Disconnect> = async {
        loop {
            bell.borrow_and_update();
            while let Some(frame) = next_frame()? {
                outgoing.feed(frame).await?;
            }
            outgoing.flush().await?;
            if let Some(reason) = shared.line(serial)?.ending() {
                return Err(Disconnect::Ended(reason.to_owned()));
            }
            if bell.changed().await.is_err() {
                return Err(Disconnect::NoReceiver);
            }
        }
    }
    .await;
    outcome.err().unwrap_or(Disconnect::Closed)
}

async fn read<M: Machine>(
    shared: &Shared<M>,
    serial: u64,
    incoming: &mut Incoming,
    events: &mut mpsc::Sender<Box<M::Event>>,
) -> Disconnect {
    loop {
        if let Err(end) = shared.deliver(events).await {
            return end;
        }
        let frame = match incoming.next().await {
            None => return Disconnect::Closed,
            Some(Err(error)) => return error.into(),
            Some(Ok(frame)) => frame,
        };
        let handled = shared.line(serial).and_then(|mut machine| machine.handle_frame(&frame, now()));
        shared.bell.send_replace(());
        if let Err(end) = handled {
            return end;
        }
    }
}

async fn watch_time<M: Machine>(shared: &Shared<M>, serial: u64) -> Disconnect {
    let mut bell = shared.subscribe();
    loop {
        bell.borrow_and_update();
        let deadline = match shared.line(serial) {
            Ok(machine) => machine.poll_timeout(),
            Err(end) => return end,
        };
        let Some(deadline) = deadline else { return Disconnect::Superseded };
        tokio::select! {
            () = tokio::time::sleep_until(deadline.into()) => {}
            // The deadline may be nearer now: an opening has more time than the heartbeat after it.
            rung = bell.changed() => match rung {
                Ok(()) => continue,
                Err(_) => return Disconnect::NoReceiver,
            },
        }
        let handled = shared.line(serial).and_then(|mut machine| machine.handle_timeout(now()));
        shared.bell.send_replace(());
        if let Err(end) = handled {
            return end;
        }
    }
}

/// The runtime's clock, which tests may stop.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
