//! What a run has done and not yet written.

use std::collections::BTreeMap;

use muster_core::CommandId;
use muster_data::RunWrite;
use muster_store::{
    chunks::{self, Compression},
    runs::JournalRow,
};

use crate::sessions::Slot;

/// Above this many bytes, log text is compressed on a thread of its own.
const COMPRESS_ELSEWHERE: usize = 16 * 1024;

/// Writes, text of logs, and what is acknowledged when both are committed.
#[derive(Default)]
pub(crate) struct Gathered {
    writes: Vec<RunWrite>,
    /// Whole lines for logs, by (step, slug), with their markers.
    text: BTreeMap<(u32, String), String>,
    text_bytes: usize,
    acknowledge: BTreeMap<CommandId, (Slot, u64)>,
}

impl Gathered {
    /// Adds a write. A journal row replaces an older state of itself.
    pub(crate) fn write(&mut self, write: RunWrite) {
        if let RunWrite::Journal(row) = &write
            && let Some(older) = self.writes.iter_mut().rev().find_map(|write| same_row(write, row))
        {
            *older = row.clone();
            return;
        }
        self.writes.push(write);
    }

    /// Adds whole lines to a log.
    pub(crate) fn append(&mut self, step: u32, slug: &str, lines: &str) {
        self.text_bytes += lines.len();
        match self.text.get_mut(&(step, slug.to_owned())) {
            Some(text) => text.push_str(lines),
            None => {
                self.text.insert((step, slug.to_owned()), lines.to_owned());
            }
        }
    }

    /// A worker's update is acknowledged when this is committed.
    pub(crate) fn acknowledge(&mut self, slot: &Slot, command: CommandId, number: u64) {
        self.acknowledge.insert(command, (slot.clone(), number));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.text.is_empty() && self.acknowledge.is_empty()
    }

    /// Bytes of log text.
    pub(crate) fn text_bytes(&self) -> usize {
        self.text_bytes
    }

    /// Adds what was gathered later.
    pub(crate) fn merge(&mut self, later: Gathered) {
        if self.is_empty() {
            *self = later;
            return;
        }
        for write in later.writes {
            self.write(write);
        }
        for (log, text) in later.text {
            match self.text.get_mut(&log) {
                Some(known) => known.push_str(&text),
                None => {
                    self.text.insert(log, text);
                }
            }
        }
        self.text_bytes += later.text_bytes;
        self.acknowledge.extend(later.acknowledge);
    }

    /// Cuts and compresses the text: what is left are writes, and what to acknowledge after them.
    pub(crate) async fn packed(mut self, method: Compression) -> (Vec<RunWrite>, Acknowledgements) {
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
        (self.writes, Acknowledgements(self.acknowledge))
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
        let position = self.writes.iter().position(end).unwrap_or(self.writes.len());
        self.writes.insert(position, append);
    }
}

/// What workers sent, to be acknowledged after the commit that stores it, and never before.
#[derive(Default)]
pub(crate) struct Acknowledgements(BTreeMap<CommandId, (Slot, u64)>);

impl Acknowledgements {
    pub(crate) fn merge(&mut self, later: Acknowledgements) {
        self.0.extend(later.0);
    }

    pub(crate) fn send(self) {
        for (command, (slot, number)) in self.0 {
            slot.acknowledge(command, number);
        }
    }
}

fn same_row<'a>(write: &'a mut RunWrite, row: &JournalRow) -> Option<&'a mut JournalRow> {
    match write {
        RunWrite::Journal(older)
            if (older.step, older.ordinal, older.part) == (row.step, row.ordinal, row.part) =>
        {
            Some(older)
        }
        _ => None,
    }
}
