//! The output of commands on its way to the observers in the host: with a credit, and again from the stored log for whoever
//! goes on with the step.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use futures_util::future::join;
use muster_config::{StepOrder, Teller};
use muster_core::Log;
use muster_session::command::{Output, Stream};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::effects::{
    Effect, LineObserver, LogRef, Matching, Outcome, PerformOptions, SharedContext, StepEnd,
};

/// Bytes of lines that the host has not read yet; beyond that the worker waits.
const CREDIT: i64 = 1 << 20;
/// Pieces of output that wait to be told.
const PIECES: usize = 16;
/// Lines of a stored log that are read and told at a time.
const STORED_AT_A_TIME: i64 = 2000;

/// How much of the told lines the host has not read.
#[derive(Default)]
pub(super) struct Credit {
    unread: AtomicI64,
    closed: AtomicBool,
    changed: Notify,
}

impl Credit {
    /// The host has read so many bytes.
    pub(super) fn read(&self, bytes: u64) {
        self.unread.fetch_sub(i64::try_from(bytes).unwrap_or(i64::MAX), Ordering::Relaxed);
        self.changed.notify_waiters();
    }

    /// Nobody reads any more, and nobody waits for that.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.changed.notify_waiters();
    }

    async fn take(&self, bytes: usize) {
        loop {
            let changed = self.changed.notified();
            if self.unread.load(Ordering::Relaxed) < CREDIT || self.closed.load(Ordering::Relaxed) {
                break;
            }
            changed.await;
        }
        self.unread.fetch_add(i64::try_from(bytes).unwrap_or(i64::MAX), Ordering::Relaxed);
    }
}

/// The numbers of lines that logs have, by their slugs; logs that commands make themselves by their names.
type Counts = Arc<Mutex<HashMap<String, i64>>>;

/// What the commands of a step share about their lines.
pub(super) struct Feeding {
    pub(super) credit: Arc<Credit>,
    counts: Counts,
    /// The logs that an earlier execution left.
    stored: Arc<Vec<Log>>,
}

/// Some lines of one log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Range {
    /// Of a followed file; `None` for what the program writes itself.
    file: Option<String>,
    /// The log's slug, where it is known.
    slug: Option<String>,
    first: i64,
    count: i64,
}

impl Feeding {
    pub(super) fn new(logs: Vec<Log>) -> Feeding {
        let counts = logs.iter().map(|log| (log.slug.clone(), log.num_lines)).collect();
        Feeding { credit: Arc::default(), counts: Arc::new(Mutex::new(counts)), stored: Arc::new(logs) }
    }

    /// The step itself has written into a log.
    pub(super) fn wrote(&self, log: &LogRef, text: &str) {
        count(&self.counts, &log.slug, text.split_terminator('\n').count());
    }

    /// What goes along with a command whose lines the host wants to see.
    pub(super) fn of(&self, seq: u64, teller: Teller) -> Feed {
        Feed {
            seq,
            teller,
            credit: self.credit.clone(),
            counts: self.counts.clone(),
            stored: self.stored.clone(),
        }
    }
}

/// Counts lines; answers how many there were before.
fn count(counts: &Counts, slug: &str, lines: usize) -> i64 {
    let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
    let count = counts.entry(slug.to_owned()).or_default();
    let before = *count;
    *count += i64::try_from(lines).unwrap_or(i64::MAX);
    before
}

/// Tells the host the lines of one command.
pub(super) struct Feed {
    seq: u64,
    teller: Teller,
    credit: Arc<Credit>,
    counts: Counts,
    stored: Arc<Vec<Log>>,
}

impl Feed {
    /// Runs the command; its outcome, when the host was told all of its lines.
    pub(super) async fn observe(
        self,
        shared: &SharedContext<'_, '_>,
        effect: Effect,
    ) -> Result<Outcome, StepEnd> {
        let told = Arc::new(Mutex::new(Vec::new()));
        let mut places = Places::of(&effect, self.counts.clone(), told.clone());
        let (output, pieces) = mpsc::channel(PIECES);
        let options = PerformOptions {
            matching: Matching::ByOccurrence,
            observer: Some(&mut places),
            output: Some(output),
            cancel: CancellationToken::new(),
        };
        // The command is looked up first: it knows which lines an earlier execution has stored.
        let (outcome, told) =
            join(shared.perform_with(effect, options), self.tell(shared, told, pieces)).await;
        let outcome = outcome?;
        told?;
        Ok(outcome)
    }

    async fn tell(
        &self,
        shared: &SharedContext<'_, '_>,
        told: Arc<Mutex<Vec<Range>>>,
        mut pieces: mpsc::Receiver<Output>,
    ) -> Result<(), StepEnd> {
        let before = std::mem::take(&mut *told.lock().unwrap_or_else(PoisonError::into_inner));
        for range in before {
            self.tell_stored(shared, range).await?;
        }
        while let Some(Output { stream, text }) = pieces.recv().await {
            let (stream, file) = match stream {
                Stream::Stdout => ('o', None),
                Stream::Stderr => ('e', None),
                Stream::Header => ('h', None),
                Stream::Log(name) => ('o', Some(name)),
            };
            self.tell_lines(stream, file.as_deref(), text).await;
        }
        Ok(())
    }

    async fn tell_lines(&self, stream: char, file: Option<&str>, text: String) {
        self.credit.take(text.len()).await;
        let lines = json!({"seq": self.seq, "name": file, "stream": stream, "text": text});
        self.teller.tell(StepOrder::Lines(lines));
    }

    async fn tell_stored(&self, shared: &SharedContext<'_, '_>, range: Range) -> Result<(), StepEnd> {
        let Range { file, slug, mut first, mut count } = range;
        let is_it = |log: &&Log| match (&slug, &file) {
            (Some(slug), _) => log.slug == *slug,
            (None, Some(file)) => log.name == *file,
            (None, None) => false,
        };
        let Some(log) = self.stored.iter().find(is_it) else {
            return Err(StepEnd::Retry("can't be replayed: the log of a command is gone".to_owned()));
        };
        let data = shared.with(|context| context.core.data.clone());
        while count > 0 {
            let wanted = count.min(STORED_AT_A_TIME);
            let lines = data.log_lines(log, first, wanted).await;
            let lines = lines.map_err(|error| {
                StepEnd::Retry(format!("can't be replayed: a log can't be read: {error}"))
            })?;
            let mut pieces: Vec<(char, String)> = Vec::new();
            for line in lines.split_inclusive('\n') {
                let mut rest = line.chars();
                let stream = rest.next().unwrap_or('o');
                match pieces.last_mut() {
                    Some((same, text)) if *same == stream => text.push_str(rest.as_str()),
                    _ => pieces.push((stream, rest.as_str().to_owned())),
                }
            }
            for (stream, text) in pieces {
                self.tell_lines(stream, file.as_deref(), text).await;
            }
            (first, count) = (first + wanted, count - wanted);
        }
        Ok(())
    }
}

/// Notes where the lines of a command are stored, for whoever goes on with it.
struct Places {
    stdio: Option<String>,
    /// Slugs of logs that are there already, by the names of the files.
    files: HashMap<String, String>,
    counts: Counts,
    all: Vec<Range>,
    new: Vec<Range>,
    told: Arc<Mutex<Vec<Range>>>,
}

impl Places {
    fn of(effect: &Effect, counts: Counts, told: Arc<Mutex<Vec<Range>>>) -> Places {
        let (stdio, files) = match effect {
            Effect::Command(request) => {
                let files = request.logfiles.iter().map(|(name, log)| (name.clone(), log.slug.clone()));
                (request.stdio.as_ref().map(|log| log.slug.clone()), files.collect())
            }
            _ => (None, HashMap::new()),
        };
        Places { stdio, files, counts, all: Vec::new(), new: Vec::new(), told }
    }
}

fn add(ranges: &mut Vec<Range>, range: &Range) {
    match ranges.last_mut() {
        Some(last)
            if last.file == range.file
                && last.slug == range.slug
                && last.first + last.count == range.first =>
        {
            last.count += range.count;
        }
        _ => ranges.push(range.clone()),
    }
}

impl LineObserver for Places {
    fn line(&mut self, stream: &Stream, _line: &str) {
        let file = match stream {
            Stream::Log(name) => Some(name.clone()),
            _ => None,
        };
        let slug = match &file {
            Some(file) => self.files.get(file).cloned(),
            None => self.stdio.clone(),
        };
        let counted = match (&slug, &file) {
            (Some(slug), _) => slug.clone(),
            (None, Some(file)) => format!("file {file}"),
            // It is stored nowhere; the result keeps what the step wants of it.
            (None, None) => return,
        };
        let range = Range { file, slug, first: count(&self.counts, &counted, 1), count: 1 };
        add(&mut self.all, &range);
        add(&mut self.new, &range);
    }

    fn state(&self) -> Value {
        json!(self.all)
    }

    fn restore(&mut self, state: Value) {
        self.add(state);
    }

    fn news(&mut self) -> Value {
        match std::mem::take(&mut self.new) {
            new if new.is_empty() => Value::Null,
            new => json!(new),
        }
    }

    fn add(&mut self, news: Value) {
        let ranges: Vec<Range> = serde_json::from_value(news).unwrap_or_default();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        for range in ranges {
            add(&mut self.all, &range);
            add(&mut told, &range);
            // A log that the command made itself has no count yet.
            if range.slug.is_none()
                && let Some(file) = &range.file
            {
                let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
                counts.insert(format!("file {file}"), range.first + range.count);
            }
        }
    }
}
