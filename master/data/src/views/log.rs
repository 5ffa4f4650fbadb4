//! Lines of logs: windows, ends and searches.

use std::{collections::VecDeque, ops::ControlFlow};

use muster_core::{LogId, LogKind};
use muster_store::{
    Error, Result,
    query::log_content::{self, Chunk},
};
use serde::Serialize;
use tokio::sync::Semaphore;

use crate::Data;

/// Lines of one window at most.
pub const MAX_WINDOW: i64 = 1_000;
/// Bytes of the lines of one window; it ends (or begins) where they are reached. As a page they become a few times as many.
const WINDOW_BYTES: usize = 1 << 20;
/// Bytes that are shown of one line; the raw log has the rest. A line that Buildbot or Muster wrote has at most 4 096
/// characters, which is fewer.
const LINE_BYTES: usize = 16 << 10;
/// Bytes that are listed of a line that was found.
const FOUND_BYTES: usize = 4 << 10;
/// Lines that one search looks at; a log that is longer is searched on from there by another.
pub const MAX_SEARCHED: i64 = 1_000_000;
/// Bytes that one search looks at, more or less.
const SEARCHED_BYTES: usize = 256 << 20;
/// Bytes of one line that a search looks at.
const SEARCHED_OF_LINE: usize = 1 << 20;
/// Matches that a search names; it counts on.
pub const MAX_MATCHES: usize = 200;
/// Chunks that are read at once, each of at most 64 kB as it is stored.
const CHUNKS: i64 = 16;
/// Readers that unpack at once; more wait: that is work for a core.
const UNPACK_AT_ONCE: usize = 2;

static UNPACKERS: Semaphore = Semaphore::const_new(UNPACK_AT_ONCE);

/// One line of a log.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TextLine {
    /// Its number, from 1.
    pub number: i64,
    /// `o` (output), `e` (errors) or `h` (header).
    pub stream: char,
    /// Without its newline, and not more of it than is shown.
    pub text: String,
    /// Bytes of it that are left out.
    pub left_out: usize,
}

/// Which lines stay when there are more bytes than a window has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The first ones.
    First,
    /// The last ones.
    Last,
}

/// A part of a log, by its lines (from 1).
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// The first line.
    pub from: i64,
    /// How many lines at most.
    pub count: i64,
    /// What stays of a part with too many bytes.
    pub keep: Keep,
}

impl Part {
    /// Lines that begin with `from`.
    pub fn from(from: i64, count: i64) -> Part {
        Part { from, count, keep: Keep::First }
    }

    /// Lines that end with `last`.
    pub fn up_to(last: i64, count: i64) -> Part {
        let count = count.clamp(1, MAX_WINDOW).min(last.max(1));
        Part { from: last - count + 1, count, keep: Keep::Last }
    }
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
    /// Bytes of lines.
    #[serde(skip)]
    looked_at: usize,
}

impl Data {
    /// A part of a log, as far as its bytes fit a window; at least one line of it, if it has any.
    pub async fn log_window(&self, log: LogId, kind: LogKind, part: Part) -> Result<Vec<TextLine>> {
        self.log_part(log, kind, part, (WINDOW_BYTES, LINE_BYTES)).await
    }

    /// The same with other bounds: bytes in all, and of each line.
    pub(super) async fn log_part(
        &self,
        log: LogId,
        kind: LogKind,
        part: Part,
        (bytes, of_line): (usize, usize),
    ) -> Result<Vec<TextLine>> {
        let first = part.from.max(1) - 1;
        let last = first.saturating_add(part.count.clamp(1, MAX_WINDOW) - 1);
        let mut window = Window { keep: part.keep, room: bytes, lines: VecDeque::new(), is_full: false };
        let mut next = first;
        while next <= last && !window.is_full {
            let chunks = self.log_chunks(log, next).await?;
            let Some(end) = chunks.last().map(|chunk| chunk.last_line) else { break };
            let most = of_line + 1;
            window = unpack(chunks, next, last, most, window, move |window, number, text, length| {
                window.add(text_line(kind, number, text, length, of_line))
            })
            .await?;
            next = end + 1;
        }
        Ok(window.lines.into())
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
            found =
                unpack(chunks, next, last, SEARCHED_OF_LINE, found, move |found, number, text, length| {
                    found.looked_at += length;
                    if search.finds(without_stream(kind, text).1) {
                        found.count += 1;
                        if found.matches.len() < MAX_MATCHES {
                            found.matches.push(text_line(kind, number, text, length, FOUND_BYTES));
                        }
                    }
                    ControlFlow::Continue(())
                })
                .await?;
            next = end + 1;
            if found.looked_at > SEARCHED_BYTES {
                break;
            }
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

/// Lines that are shown together.
struct Window {
    keep: Keep,
    /// Bytes that it has room for; each line takes one more than its text.
    room: usize,
    lines: VecDeque<TextLine>,
    is_full: bool,
}

impl Window {
    fn add(&mut self, line: TextLine) -> ControlFlow<()> {
        let size = |line: &TextLine| line.text.len() + 1;
        while size(&line) > self.room && !self.lines.is_empty() {
            if self.keep == Keep::First {
                self.is_full = true;
                return ControlFlow::Break(());
            }
            self.room += self.lines.pop_front().as_ref().map_or(0, size);
        }
        self.room = self.room.saturating_sub(size(&line));
        self.lines.push_back(line);
        ControlFlow::Continue(())
    }
}

/// Shows the lines of some chunks to `look`: at most `most` bytes of each, and its length. Decompression is kept off the threads that serve everybody.
async fn unpack<T: Send + 'static>(
    chunks: Vec<Chunk>,
    first: i64,
    last: i64,
    most: usize,
    mut state: T,
    mut look: impl FnMut(&mut T, i64, &str, usize) -> ControlFlow<()> + Send + 'static,
) -> Result<T> {
    let _turn = UNPACKERS.acquire().await;
    let run = move || {
        for chunk in chunks {
            let mut flow = ControlFlow::Continue(());
            chunk.each_line(first, last, most, |index, text, length| {
                flow = look(&mut state, index + 1, text, length);
                flow
            })?;
            if flow.is_break() {
                break;
            }
        }
        Ok(state)
    };
    let done = tokio::task::spawn_blocking(run).await;
    done.unwrap_or_else(|error| Err(Error::Data(format!("reading a log failed: {error}"))))
}

/// A line by its beginning; in all it has `length` bytes.
fn text_line(kind: LogKind, number: i64, text: &str, length: usize, most: usize) -> TextLine {
    let (stream, line) = without_stream(kind, text);
    let shown = beginning(line, most);
    let length = length - (text.len() - line.len());
    TextLine { number, stream, text: shown.to_owned(), left_out: length.saturating_sub(shown.len()) }
}

/// The letter of a line's stream, and the line without it.
fn without_stream(kind: LogKind, text: &str) -> (char, &str) {
    match (kind, text.chars().next()) {
        (LogKind::Stdio, Some(stream @ ('o' | 'e' | 'h'))) => (stream, &text[1..]),
        _ => ('o', text),
    }
}

/// At most so many bytes of a text, and whole characters.
fn beginning(text: &str, most: usize) -> &str {
    match text.len() <= most {
        true => text,
        false => &text[..(0..=most).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(keep: Keep, room: usize, lines: &[(i64, &str)]) -> (Vec<i64>, bool) {
        let mut window = Window { keep, room, lines: VecDeque::new(), is_full: false };
        for (number, text) in lines {
            if window.add(text_line(LogKind::Text, *number, text, text.len(), 6)).is_break() {
                break;
            }
        }
        (window.lines.iter().map(|line| line.number).collect(), window.is_full)
    }

    #[test]
    fn a_window_ends_where_its_bytes_are_reached_and_always_has_a_line() {
        let lines = [(1, "abc"), (2, "defg"), (3, "h"), (4, "ijk")];
        assert_eq!(window(Keep::First, 11, &lines), (vec![1, 2, 3], true));
        assert_eq!(window(Keep::Last, 11, &lines), (vec![2, 3, 4], false));
        assert_eq!(window(Keep::First, 100, &lines), (vec![1, 2, 3, 4], false));
        assert_eq!(window(Keep::First, 2, &lines), (vec![1], true));
        assert_eq!(window(Keep::Last, 2, &lines), (vec![4], false));
    }

    #[test]
    fn a_long_line_is_shown_up_to_a_whole_character() {
        let line = text_line(LogKind::Stdio, 1, "eab\u{e9}\u{e9}", 7, 5);
        assert_eq!((line.stream, line.text.as_str(), line.left_out), ('e', "ab\u{e9}", 2));
        assert_eq!(text_line(LogKind::Text, 1, "whole", 5, 5).left_out, 0);
    }
}
