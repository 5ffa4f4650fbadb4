//! What one command has to say and has not spooled yet: text is cut into lines, gathered per stream, and handed on
//! when enough has come together, after a short time, or at once when something else than text follows.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use muster_core::{encoding::TextDecoder, lines::LineSplitter};
use muster_session::command::{Output, Stream, UpdateBody};
use muster_session::wire::{MAX_BLOCK, Settings};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// Bytes of one command that may wait here; then its pipes are not read and its files not sent until the spool takes
/// some. Four blocks of ordinary text keep a fast command busy.
const MAX_PENDING: usize = 256 * 1024;

/// Bytes of one text; longer ones (an environment in a header) are parted. Far below a frame.
const MAX_TEXT: usize = 64 * 1024;

/// What an item costs beside its text, so that many tiny items count as well.
const ITEM_OVERHEAD: usize = 20;

/// The smallest buffer that a master may ask for.
const MIN_BUFFER: usize = 1024;

/// See the module. Shared by the command, which fills it, and the pump, which empties it.
#[derive(Debug)]
pub(crate) struct Outbox {
    settings: watch::Receiver<Settings>,
    /// Of what programs write; `None` for UTF-8.
    encoding: Option<String>,
    pending: Mutex<Pending>,
    filled: Notify,
    emptied: Notify,
}

#[derive(Debug, Default)]
struct Pending {
    splitters: BTreeMap<Stream, LineSplitter>,
    /// Where the encoding is not UTF-8.
    decoders: BTreeMap<Stream, TextDecoder>,
    queue: VecDeque<UpdateBody>,
    /// Bytes in `queue`.
    bytes: usize,
    /// Bytes of the last item of `queue`, while it is text that may grow.
    growing: usize,
    /// When the oldest text came that was not handed on.
    since: Option<Instant>,
    /// How many items of `queue` are due now.
    due: usize,
    closed: bool,
}

impl Outbox {
    pub(crate) fn new(settings: watch::Receiver<Settings>, encoding: Option<String>) -> Arc<Self> {
        let pending = Mutex::new(Pending::default());
        Arc::new(Self { settings, encoding, pending, filled: Notify::new(), emptied: Notify::new() })
    }

    /// Takes what a program wrote to a stream, as it was read.
    pub(crate) fn write(&self, stream: Stream, bytes: &[u8]) {
        let max_line = self.settings.borrow().max_line_length;
        let mut pending = self.lock();
        let decoder = self.encoding.as_deref().and_then(TextDecoder::new);
        if let (Some(decoder), false) = (decoder, pending.decoders.contains_key(&stream)) {
            pending.decoders.insert(stream.clone(), decoder);
        }
        for piece in bytes.chunks(MAX_TEXT) {
            let Pending { splitters, decoders, .. } = &mut *pending;
            let splitter = splitters.entry(stream.clone()).or_insert_with(|| LineSplitter::new(max_line));
            let lines = match decoders.get_mut(&stream) {
                Some(decoder) => splitter.push(&decoder.push(piece, false)),
                None => splitter.push_bytes(piece),
            };
            pending.since.get_or_insert_with(Instant::now);
            self.push_text(&mut pending, &stream, lines);
        }
        drop(pending);
        self.filled.notify_one();
    }

    /// Takes finished text of the worker's own.
    pub(crate) fn text(&self, stream: Stream, text: &str) {
        let mut pending = self.lock();
        let mut rest = text;
        while !rest.is_empty() {
            let (piece, after) = split_text(rest);
            self.push_text(&mut pending, &stream, piece.to_owned());
            rest = after;
        }
        drop(pending);
        self.filled.notify_one();
    }

    /// Takes a line of the worker's own for the header stream.
    pub(crate) fn header(&self, text: &str) {
        self.text(Stream::Header, text);
    }

    /// Takes anything that is no text; everything so far becomes due.
    pub(crate) fn send(&self, body: UpdateBody) {
        let mut pending = self.lock();
        pending.bytes += cost(&body);
        pending.queue.push_back(body);
        pending.growing = 0;
        pending.due = pending.queue.len();
        drop(pending);
        self.filled.notify_one();
    }

    /// Ends every stream: unfinished lines are finished.
    pub(crate) fn finish_streams(&self) {
        let mut pending = self.lock();
        let mut decoders = std::mem::take(&mut pending.decoders);
        for (stream, mut splitter) in std::mem::take(&mut pending.splitters) {
            let rest = decoders.get_mut(&stream).map(|decoder| decoder.push(b"", true)).unwrap_or_default();
            let lines =
                if rest.is_empty() { splitter.finish() } else { splitter.push(&rest) + &splitter.finish() };
            self.push_text(&mut pending, &stream, lines);
        }
        drop(pending);
        self.filled.notify_one();
    }

    /// Nothing more comes; what is here becomes due.
    pub(crate) fn close(&self) {
        let mut pending = self.lock();
        pending.closed = true;
        pending.due = pending.queue.len();
        drop(pending);
        self.filled.notify_one();
    }

    /// False while the command has to hold back.
    pub(crate) fn has_room(&self) -> bool {
        self.lock().bytes < MAX_PENDING
    }

    /// Waits until the command may go on.
    pub(crate) async fn room(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.has_room() {
                return;
            }
            emptied.await;
        }
    }

    /// The next update when it is due; `None` when the outbox is closed and empty. For one caller.
    pub(crate) async fn next(&self) -> Option<UpdateBody> {
        loop {
            let deadline = match self.take_due(Instant::now()) {
                Next::Update(update) => return Some(update),
                Next::Over => return None,
                Next::WaitUntil(deadline) => deadline,
            };
            match deadline {
                None => self.filled.notified().await,
                Some(deadline) => {
                    // Whichever comes first; both lead to another look.
                    let _ = tokio::time::timeout_at(deadline, self.filled.notified()).await;
                }
            }
        }
    }

    fn take_due(&self, now: Instant) -> Next {
        let (buffer_size, delay) = self.limits();
        let mut pending = self.lock();
        let ripe_at = pending.since.map(|since| since + delay);
        if pending.due == 0 && ripe_at.is_some_and(|ripe_at| now >= ripe_at) {
            self.take_tails(&mut pending);
            pending.due = pending.queue.len();
            pending.since = None;
        }
        if pending.due == 0 && pending.bytes >= buffer_size {
            pending.due = pending.queue.len();
        }
        if pending.due == 0 {
            return if pending.closed { Next::Over } else { Next::WaitUntil(ripe_at) };
        }
        let Some(update) = pending.queue.pop_front() else { return Next::Over };
        pending.due -= 1;
        pending.bytes -= cost(&update);
        if pending.queue.is_empty() {
            pending.growing = 0;
            // Tails still wait for their time.
            if pending.splitters.values().all(|splitter| splitter.tail().is_empty()) {
                pending.since = None;
            }
        }
        drop(pending);
        self.emptied.notify_waiters();
        Next::Update(update)
    }

    /// Sends unfinished lines too, so that a progress display is seen while it grows.
    fn take_tails(&self, pending: &mut Pending) {
        let tails: Vec<(Stream, String)> = pending
            .splitters
            .iter_mut()
            .map(|(stream, splitter)| (stream.clone(), splitter.take_tail()))
            .collect();
        for (stream, tail) in tails {
            self.push_text(pending, &stream, tail);
        }
    }

    fn push_text(&self, pending: &mut Pending, stream: &Stream, text: String) {
        if text.is_empty() {
            return;
        }
        pending.since.get_or_insert_with(Instant::now);
        let (buffer_size, _) = self.limits();
        let added = text.len();
        if pending.growing > 0
            && pending.growing + added + ITEM_OVERHEAD <= buffer_size
            && let Some(UpdateBody::Output(items)) = pending.queue.back_mut()
        {
            let grown = match items.last_mut() {
                Some(last) if last.stream == *stream => {
                    last.text.push_str(&text);
                    added
                }
                _ => {
                    items.push(Output { stream: stream.clone(), text });
                    added + ITEM_OVERHEAD
                }
            };
            pending.growing += grown;
            pending.bytes += grown;
            return;
        }
        let cost = added + ITEM_OVERHEAD;
        pending.queue.push_back(UpdateBody::Output(vec![Output { stream: stream.clone(), text }]));
        pending.growing = cost;
        pending.bytes += cost;
    }

    fn limits(&self) -> (usize, Duration) {
        let settings = self.settings.borrow();
        (settings.buffer_size.clamp(MIN_BUFFER, MAX_BLOCK), Duration::from_millis(settings.buffer_ms))
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        // Nothing in here is left half done by a panic.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// At most [`MAX_TEXT`] bytes of whole characters, and the rest.
fn split_text(text: &str) -> (&str, &str) {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.split_at(end)
}

enum Next {
    Update(UpdateBody),
    Over,
    WaitUntil(Option<Instant>),
}

fn cost(body: &UpdateBody) -> usize {
    match body {
        UpdateBody::Output(items) => items.iter().map(|item| item.text.len() + ITEM_OVERHEAD).sum(),
        UpdateBody::Chunk(bytes) => bytes.len() + ITEM_OVERHEAD,
        UpdateBody::Files(names) => names.iter().map(|name| name.len() + ITEM_OVERHEAD).sum(),
        _ => ITEM_OVERHEAD,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox(buffer_size: usize, buffer_ms: u64) -> Arc<Outbox> {
        let settings = Settings { buffer_size, buffer_ms, max_line_length: 4096 };
        // The last value stays readable after the sender is gone.
        Outbox::new(watch::channel(settings).1, None)
    }

    fn output(stream: Stream, text: &str) -> Output {
        Output { stream, text: text.into() }
    }

    #[tokio::test(start_paused = true)]
    async fn lines_of_a_stream_are_merged_and_wait_a_moment() {
        let outbox = outbox(64 * 1024, 200);
        let start = Instant::now();
        outbox.write(Stream::Stdout, b"a\n");
        outbox.write(Stream::Stdout, b"b\nunfin");
        outbox.write(Stream::Stderr, b"e\n");
        let expected = vec![
            output(Stream::Stdout, "a\nb\n"),
            output(Stream::Stderr, "e\n"),
            output(Stream::Stdout, "unfin"),
        ];
        assert_eq!(outbox.next().await, Some(UpdateBody::Output(expected)));
        assert_eq!(start.elapsed(), Duration::from_millis(200));
        outbox.write(Stream::Stdout, b"ished\n");
        let expected = vec![output(Stream::Stdout, "ished\n")];
        assert_eq!(outbox.next().await, Some(UpdateBody::Output(expected)));
        assert_eq!(start.elapsed(), Duration::from_millis(400));
    }

    #[tokio::test(start_paused = true)]
    async fn anything_else_makes_text_due_and_keeps_the_order() {
        let outbox = outbox(64 * 1024, 60_000);
        let start = Instant::now();
        outbox.write(Stream::Stdout, b"a\n");
        outbox.send(UpdateBody::Rc(0));
        outbox.header("after\n");
        outbox.close();
        assert_eq!(outbox.next().await, Some(UpdateBody::Output(vec![output(Stream::Stdout, "a\n")])));
        assert_eq!(outbox.next().await, Some(UpdateBody::Rc(0)));
        assert_eq!(outbox.next().await, Some(UpdateBody::Output(vec![output(Stream::Header, "after\n")])));
        assert_eq!(outbox.next().await, None);
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_buffer_does_not_wait_and_updates_stay_small() {
        let outbox = outbox(2048, 60_000);
        for _ in 0..300 {
            outbox.write(Stream::Stdout, b"0123456789\n");
        }
        let mut text = String::new();
        while let Ok(Some(UpdateBody::Output(items))) =
            tokio::time::timeout(Duration::from_secs(1), outbox.next()).await
        {
            assert!(items.iter().map(|item| item.text.len()).sum::<usize>() <= 2048);
            text.extend(items.into_iter().map(|item| item.text));
        }
        assert_eq!(text, "0123456789\n".repeat(300));
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_outbox_says_so_until_it_is_emptied() {
        let outbox = outbox(64 * 1024, 200);
        while outbox.has_room() {
            outbox.write(Stream::Stdout, &[b'\n'; 32 * 1024]);
        }
        let waiting = outbox.clone();
        let waiter = tokio::spawn(async move { waiting.room().await });
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        while !outbox.has_room() {
            outbox.next().await.unwrap();
        }
        waiter.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_header_is_parted_between_characters() {
        let outbox = outbox(64 * 1024, 200);
        let text = "ä".repeat(100_000);
        outbox.header(&text);
        outbox.close();
        let mut joined = String::new();
        while let Some(UpdateBody::Output(items)) = outbox.next().await {
            joined.extend(items.into_iter().map(|item| item.text));
        }
        assert_eq!(joined, text);
    }
}
