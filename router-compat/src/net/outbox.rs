//! What waits to be sent to one peer: bounded by messages and bytes.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::codec::Frame;

/// Most bytes that the writer takes at once (256 KiB: large enough to make calls of the system rare).
const BATCH_BYTES: usize = 256 << 10;

/// The queue of one peer.
#[derive(Debug)]
pub struct Outbox {
    max_messages: usize,
    max_bytes: usize,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Frame>,
    bytes: usize,
    ping: bool,
    closing: bool,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It waits for the writer.
    Queued,
    /// It is gone: there was no room, or the connection is closing.
    Dropped,
    /// It had to be kept and there was no room: the connection is closing, and nothing that waited is sent.
    Overflowed,
}

/// What the writer has to do.
#[derive(Debug, Default)]
pub struct Batch {
    /// Messages, in order.
    pub frames: Vec<Frame>,
    /// Send a ping.
    pub ping: bool,
    /// Close after that.
    pub close: bool,
}

impl Outbox {
    /// An empty one.
    pub fn new(max_messages: usize, max_bytes: usize) -> Outbox {
        Outbox { max_messages, max_bytes, state: Mutex::default(), changed: Notify::new() }
    }

    /// Adds a message.
    pub fn push(&self, frame: Frame, droppable: bool) -> Fate {
        let mut state = self.state();
        if state.closing {
            return Fate::Dropped;
        }
        let full = state.queue.len() >= self.max_messages || state.bytes + frame.bytes.len() > self.max_bytes;
        let fate = match (full, droppable) {
            (false, _) => {
                state.bytes += frame.bytes.len();
                state.queue.push_back(frame);
                Fate::Queued
            }
            (true, true) => return Fate::Dropped,
            (true, false) => {
                state.queue.clear();
                state.closing = true;
                Fate::Overflowed
            }
        };
        drop(state);
        self.changed.notify_one();
        fate
    }

    /// Asks the writer for a ping.
    pub fn ping(&self) {
        self.state().ping = true;
        self.changed.notify_one();
    }

    /// Ends the connection after what waits.
    pub fn close(&self) {
        self.state().closing = true;
        self.changed.notify_one();
    }

    /// Waits for something to do. For one writer only.
    pub async fn next(&self) -> Batch {
        loop {
            let batch = self.take();
            if batch.ping || batch.close || !batch.frames.is_empty() {
                return batch;
            }
            self.changed.notified().await;
        }
    }

    fn take(&self) -> Batch {
        let mut state = self.state();
        let mut batch = Batch { ping: std::mem::take(&mut state.ping), ..Batch::default() };
        let mut bytes = 0;
        while bytes < BATCH_BYTES {
            let Some(frame) = state.queue.pop_front() else { break };
            bytes += frame.bytes.len();
            batch.frames.push(frame);
        }
        state.bytes = state.bytes.saturating_sub(bytes);
        batch.close = state.closing && state.queue.is_empty();
        batch
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Serialisation;

    fn frame(bytes: &'static [u8]) -> Frame {
        Frame { serialisation: Serialisation::Json, bytes: bytes.into() }
    }

    #[test]
    fn a_full_queue_drops_events_and_ends_on_answers() {
        let outbox = Outbox::new(2, 100);
        assert_eq!(outbox.push(frame(b"1"), true), Fate::Queued);
        assert_eq!(outbox.push(frame(b"2"), false), Fate::Queued);
        assert_eq!(outbox.push(frame(b"3"), true), Fate::Dropped);
        assert_eq!(outbox.take().frames, [frame(b"1"), frame(b"2")]);
        assert_eq!(outbox.push(frame(b"4"), true), Fate::Queued);
        assert_eq!(outbox.push(frame(&[b'x'; 100]), false), Fate::Overflowed);
        let rest = outbox.take();
        assert!(rest.close && rest.frames.is_empty());
    }

    #[test]
    fn what_waits_is_sent_before_the_end() {
        let outbox = Outbox::new(10, 100);
        outbox.push(frame(b"1"), true);
        outbox.close();
        assert_eq!(outbox.push(frame(b"2"), false), Fate::Dropped);
        let last = outbox.take();
        assert!(last.close && last.frames == [frame(b"1")]);
    }
}
