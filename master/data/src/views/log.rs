//! Lines of logs: windows, ends and searches.

use muster_core::{LogId, LogKind};
use muster_store::{
    Error, Result,
    query::log_content::{self, Chunk},
};
use serde::Serialize;

use crate::Data;

/// Lines of one window at most.
pub const MAX_WINDOW: i64 = 1_000;
/// Lines that one search looks at; a log that is longer is searched on from there by another.
pub const MAX_SEARCHED: i64 = 1_000_000;
/// Matches that a search names; it counts on.
pub const MAX_MATCHES: usize = 200;
/// Chunks that are read at once, each of about 64 kB: what one request holds in memory.
const CHUNKS: i64 = 16;

/// One line of a log.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TextLine {
    /// Its number, from 1.
    pub number: i64,
    /// `o` (output), `e` (errors) or `h` (header).
    pub stream: char,
    /// Without its newline.
    pub text: String,
}

/// What to look for in a log.
#[derive(Clone, Debug)]
pub struct Search {
    /// Text to find, upper and lower case alike unless it has upper case.
    pub needle: String,
    /// The first line to look at, from 1.
    pub from: i64,
}

impl Search {
    fn finds(&self, text: &str) -> bool {
        match self.needle.chars().any(char::is_uppercase) {
            true => text.contains(&self.needle),
            false => text.to_lowercase().contains(&self.needle),
        }
    }
}

/// A line that was found.
pub type Match = TextLine;

/// What a search found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Found {
    /// Lines that match, all that were looked at.
    pub count: usize,
    /// The first of them.
    pub matches: Vec<Match>,
    /// Where a further search goes on, when this one stopped early.
    pub next: Option<i64>,
}

impl Data {
    /// At most `count` lines of a log from line `from` (counted from 1) on.
    pub async fn log_window(
        &self,
        log: LogId,
        kind: LogKind,
        from: i64,
        count: i64,
    ) -> Result<Vec<TextLine>> {
        let first = from.max(1) - 1;
        let last = first + count.clamp(1, MAX_WINDOW) - 1;
        let mut lines = Vec::new();
        let mut next = first;
        while next <= last {
            let chunks = self.log_chunks(log, next).await?;
            let Some(end) = chunks.last().map(|chunk| chunk.last_line) else { break };
            lines.extend(unpack(chunks, kind, next, last, |_| true).await?.matches);
            next = end + 1;
        }
        Ok(lines)
    }

    /// Lines of a log that match, at most [`MAX_SEARCHED`] looked at.
    pub async fn log_search(&self, log: LogId, kind: LogKind, search: Search) -> Result<Found> {
        let first = search.from.max(1) - 1;
        let last = first + MAX_SEARCHED - 1;
        let mut found = Found::default();
        let mut next = first;
        while next <= last {
            let chunks = self.log_chunks(log, next).await?;
            let Some(end) = chunks.last().map(|chunk| chunk.last_line) else { return Ok(found) };
            let search = search.clone();
            let part = unpack(chunks, kind, next, last, move |text| search.finds(text)).await?;
            found.count += part.count;
            let room = MAX_MATCHES - found.matches.len();
            found.matches.extend(part.matches.into_iter().take(room));
            next = end + 1;
        }
        found.next = Some(next + 1);
        Ok(found)
    }

    async fn log_chunks(&self, log: LogId, from: i64) -> Result<Vec<Chunk>> {
        self.db()
            .read("page_log", |tx| async move { log_content::chunks(&tx, log, from, CHUNKS).await })
            .await
    }
}

/// The lines of some chunks that `wanted` selects. Decompression is kept off the threads that serve everybody.
async fn unpack(
    chunks: Vec<Chunk>,
    kind: LogKind,
    first: i64,
    last: i64,
    wanted: impl Fn(&str) -> bool + Send + 'static,
) -> Result<Found> {
    let run = move || {
        let mut found = Found::default();
        for chunk in chunks {
            let from = chunk.first_line.max(first);
            if from > last {
                break;
            }
            let text = chunk.lines(from, last)?;
            let lines = text.strip_suffix('\n').unwrap_or(&text).split('\n').zip(from..);
            for line in
                lines.map(|(text, index)| text_line(kind, index + 1, text)).filter(|line| wanted(&line.text))
            {
                found.count += 1;
                if found.matches.len() < MAX_WINDOW as usize {
                    found.matches.push(line);
                }
            }
        }
        Ok(found)
    };
    let done = tokio::task::spawn_blocking(run).await;
    done.unwrap_or_else(|error| Err(Error::Data(format!("reading a log failed: {error}"))))
}

fn text_line(kind: LogKind, number: i64, text: &str) -> TextLine {
    let (stream, text) = match (kind, text.chars().next()) {
        (LogKind::Stdio, Some(stream @ ('o' | 'e' | 'h'))) => (stream, &text[1..]),
        _ => ('o', text),
    };
    TextLine { number, stream, text: text.to_owned() }
}
