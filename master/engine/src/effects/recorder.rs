//! What a run has done and not yet written: gathered, then committed in one fenced transaction.
//!
//! Writes are behind the work that makes them. They must be durable before the next effect that the world can see, so
//! whoever is about to cause one calls [`Recorder::flush`] first. What a worker sent is acknowledged after the commit
//! that stored what came with it, never before.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use muster_core::{CommandId, RequestId};
use muster_data::{Data, RunWrite};
use muster_store::{
    Error,
    chunks::{self, Compression},
    runs::{JournalRow, RunKey},
};
use tokio_util::sync::CancellationToken;

use crate::sessions::Slot;

/// Text of logs that is gathered before it is committed even though nothing else asks for it.
pub(crate) const MAX_GATHERED: usize = 512 * 1024;
/// Longest time that output waits for its commit.
pub(crate) const GATHER_TIME: Duration = Duration::from_millis(30);
/// Waits between attempts while the database refuses: first and longest.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(15));
/// Above this many bytes, log text is compressed on a thread of its own.
const COMPRESS_ELSEWHERE: usize = 64 * 1024;

/// Why a run can't be written about any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Halt {
    /// Another master owns it: drop everything, touch nothing.
    Fenced,
    /// This master goes: rows and journal stay for who goes on.
    Leaving,
}

/// Gathers the writes of one run.
pub(crate) struct Recorder {
    data: Data,
    key: RunKey,
    request: RequestId,
    compression: Compression,
    leaving: CancellationToken,
    pending: Vec<RunWrite>,
    /// Whole lines for logs, by (step, slug), with their markers.
    text: BTreeMap<(u32, String), String>,
    text_bytes: usize,
    acknowledge: BTreeMap<CommandId, (Slot, u64)>,
    /// Values that must not show up in logs, longest first, and what stands for them.
    secrets: Vec<(String, String)>,
}

impl Recorder {
    pub(crate) fn new(
        data: Data,
        key: RunKey,
        request: RequestId,
        compression: Compression,
        leaving: CancellationToken,
    ) -> Recorder {
        Recorder {
            data,
            key,
            request,
            compression,
            leaving,
            pending: Vec::new(),
            text: BTreeMap::new(),
            text_bytes: 0,
            acknowledge: BTreeMap::new(),
            secrets: Vec::new(),
        }
    }

    /// Adds a write. A journal row replaces an older state of itself that is not committed yet.
    pub(crate) fn write(&mut self, write: RunWrite) {
        if let RunWrite::Journal(row) = &write
            && let Some(older) = self.pending.iter_mut().rev().find_map(|write| same_row(write, row))
        {
            *older = row.clone();
            return;
        }
        self.pending.push(write);
    }

    /// Adds whole lines (each with its newline, and its marker in a log of stdio) to a log.
    pub(crate) fn append(&mut self, step: u32, slug: &str, lines: &str) {
        let concealed = self.concealed(lines);
        let lines = concealed.as_ref();
        self.text_bytes += lines.len();
        match self.text.get_mut(&(step, slug.to_owned())) {
            Some(text) => text.push_str(lines),
            None => {
                self.text.insert((step, slug.to_owned()), lines.to_owned());
            }
        }
    }

    /// From now on `<name>` stands for this value in logs and summaries. A blank value is no secret.
    pub(crate) fn conceal(&mut self, value: &str, name: &str) {
        let known = self.secrets.iter().any(|(secret, _)| secret == value);
        if value.trim().is_empty() || known {
            return;
        }
        self.secrets.push((value.to_owned(), format!("<{name}>")));
        self.secrets.sort_by_key(|(secret, _)| std::cmp::Reverse(secret.len()));
    }

    /// Text as people may see it.
    pub(crate) fn concealed<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.secrets.iter().fold(Cow::Borrowed(text), |text, (secret, stand_in)| {
            match text.contains(secret) {
                true => Cow::Owned(text.replace(secret, stand_in)),
                false => text,
            }
        })
    }

    /// Acknowledges a worker's update with the next commit.
    pub(crate) fn acknowledge(&mut self, slot: &Slot, command: CommandId, number: u64) {
        self.acknowledge.insert(command, (slot.clone(), number));
    }

    /// Whether so much text is gathered that it should be committed now.
    pub(crate) fn is_full(&self) -> bool {
        self.text_bytes >= MAX_GATHERED
    }

    /// Whether there is anything to commit or acknowledge.
    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.text.is_empty() && self.acknowledge.is_empty()
    }

    /// Commits everything gathered, then acknowledges. A database that refuses is asked again until it accepts, or
    /// until this master goes: what workers sent stays with them meanwhile.
    pub(crate) async fn flush(&mut self) -> Result<(), Halt> {
        if self.is_empty() {
            return Ok(());
        }
        self.chunk_text().await;
        let mut wait = RETRY.0;
        loop {
            tokio::select! {
                biased;
                () = self.data.trust().held() => {}
                () = self.leaving.cancelled() => return Err(Halt::Leaving),
            }
            match self.data.commit_run(&self.key, self.request, &self.pending).await {
                Ok(()) => break,
                Err(Error::Fenced(build)) => {
                    tracing::warn!(%build, "the run has another owner now; this master lets go of it");
                    return Err(Halt::Fenced);
                }
                Err(error) => {
                    tracing::error!(build = %self.key.build, %error, "can't write about a build; trying again");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => wait = (wait * 2).min(RETRY.1),
                () = self.leaving.cancelled() => return Err(Halt::Leaving),
            }
        }
        self.pending.clear();
        for (command, (slot, number)) in std::mem::take(&mut self.acknowledge) {
            slot.acknowledge(command, number);
        }
        Ok(())
    }

    async fn chunk_text(&mut self) {
        let method = self.compression;
        for ((step, slug), text) in std::mem::take(&mut self.text) {
            let chunks = if text.len() < COMPRESS_ELSEWHERE {
                chunks::make(&text, method)
            } else {
                let made = tokio::task::spawn_blocking(move || chunks::make(&text, method)).await;
                made.expect("cutting text into chunks doesn't panic")
            };
            // A log must exist before it is appended to, and be finished after: appends stand before later writes.
            self.insert_append(RunWrite::LogAppended { step, slug, chunks });
        }
        self.text_bytes = 0;
    }

    /// Puts an append behind the creation of its log and before the end of its step.
    fn insert_append(&mut self, append: RunWrite) {
        let end = |write: &RunWrite| match (write, &append) {
            (RunWrite::StepFinished { step, .. }, RunWrite::LogAppended { step: mine, .. }) => step == mine,
            (
                RunWrite::LogFinished { step, slug },
                RunWrite::LogAppended { step: mine, slug: my_slug, .. },
            ) => step == mine && slug == my_slug,
            (RunWrite::BuildFinished { .. }, _) => true,
            _ => false,
        };
        let position = self.pending.iter().position(end).unwrap_or(self.pending.len());
        self.pending.insert(position, append);
    }
}

fn same_row<'a>(write: &'a mut RunWrite, row: &JournalRow) -> Option<&'a mut JournalRow> {
    match write {
        RunWrite::Journal(older) if older.step == row.step && older.ordinal == row.ordinal => Some(older),
        _ => None,
    }
}
