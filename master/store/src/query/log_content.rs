//! Lines of logs: chunks, each with its own compression (`docs/compat/database.md`, "Logs").

use std::{
    borrow::Cow,
    io::{self, BufRead, BufReader},
    ops::ControlFlow,
};

use muster_core::LogId;

use crate::{
    Error, Result, Row, Tx,
    chunks::{decode, reader},
    params,
};

/// Bytes that are unpacked at a time.
const PART: usize = 64 << 10;

/// Some neighbouring lines, as stored.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The first of its lines, from 0.
    pub first_line: i64,
    /// The last of its lines.
    pub last_line: i64,
    content: Vec<u8>,
    codec: i64,
}

fn from_row(row: &Row) -> Result<Chunk> {
    Ok(Chunk { first_line: row.int(0)?, last_line: row.int(1)?, content: row.bytes(2)?, codec: row.int(3)? })
}

/// The chunks of a log that hold lines from `first` on, at most `limit` chunks.
pub async fn chunks(tx: &Tx, log: LogId, first: i64, limit: i64) -> Result<Vec<Chunk>> {
    let rows = tx
        .query(
            "SELECT first_line, last_line, content, compressed FROM logchunks \
             WHERE logid = ? AND last_line >= ? ORDER BY first_line LIMIT ?",
            params![log, first, limit],
        )
        .await?;
    rows.iter().map(from_row).collect()
}

impl Chunk {
    /// Shows its lines from `first` to `last` (both inclusive) until `look` has enough: each with its number, its beginning (at
    /// most `most` bytes, without a newline), and how many bytes the whole line has. It is unpacked a part at a time, so a
    /// long line takes no more memory than its beginning. Call it outside the transaction.
    pub fn each_line(
        &self,
        first: i64,
        last: i64,
        most: usize,
        mut look: impl FnMut(i64, &str, usize) -> ControlFlow<()>,
    ) -> Result<()> {
        let mut reader = BufReader::with_capacity(PART, reader(&self.content, self.codec)?);
        let bad = |error: io::Error| Error::Data(format!("a chunk of a log can't be unpacked: {error}"));
        let wanted = first.max(self.first_line)..=last.min(self.last_line);
        let (mut number, mut begin, mut length) = (self.first_line, Vec::new(), 0);
        while number <= *wanted.end() {
            let part = reader.fill_buf().map_err(bad)?;
            let newline = part.iter().position(|byte| *byte == b'\n');
            let taken = newline.unwrap_or(part.len());
            if wanted.contains(&number) {
                let room = most.saturating_sub(begin.len()).min(taken);
                begin.extend_from_slice(&part[..room]);
            }
            length += taken;
            let is_end = part.is_empty();
            let used = taken + usize::from(newline.is_some());
            reader.consume(used);
            if newline.is_none() && !is_end {
                continue;
            }
            if wanted.contains(&number) && look(number, &whole_characters(&begin, length), length).is_break()
            {
                break;
            }
            if is_end {
                break;
            }
            number += 1;
            begin.clear();
            length = 0;
        }
        Ok(())
    }

    /// Its lines from `first` to `last` (both inclusive), each with its newline. Decompresses: call it outside the
    /// transaction.
    pub fn lines(&self, first: i64, last: i64) -> Result<String> {
        let text = decode(&self.content, self.codec)?;
        let skip = usize::try_from(first - self.first_line).unwrap_or(0);
        let end = last.min(self.last_line) - self.first_line + 1;
        let take = usize::try_from(end).unwrap_or(0).saturating_sub(skip);
        let mut lines = String::with_capacity(text.len() + 1);
        for line in text.split('\n').skip(skip).take(take) {
            lines.push_str(line);
            lines.push('\n');
        }
        Ok(lines)
    }
}

/// The text of a line's beginning. A character that was cut at its end is left out.
fn whole_characters(begin: &[u8], length: usize) -> Cow<'_, str> {
    let end = match std::str::from_utf8(begin) {
        Err(error) if begin.len() < length && error.error_len().is_none() => error.valid_up_to(),
        _ => begin.len(),
    };
    String::from_utf8_lossy(&begin[..end])
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn chunk(codec: i64, content: Vec<u8>) -> Chunk {
        Chunk { first_line: 10, last_line: 12, content, codec }
    }

    #[test]
    fn lines_are_cut_from_the_chunk_in_every_codec() {
        let text = b"oten\noeleven\notwelve";
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        zlib.write_all(text).unwrap();
        let stored = [
            chunk(0, text.to_vec()),
            chunk(1, zlib.finish().unwrap()),
            chunk(4, zstd::stream::encode_all(&text[..], 9).unwrap()),
        ];
        for chunk in stored {
            assert_eq!(chunk.lines(0, 99).unwrap(), "oten\noeleven\notwelve\n");
            assert_eq!(chunk.lines(11, 11).unwrap(), "oeleven\n");
            assert_eq!(chunk.lines(13, 14).unwrap(), "");
            let mut seen = Vec::new();
            let look = |number, line: &str, length| {
                seen.push((number, line.to_owned(), length));
                ControlFlow::Continue(())
            };
            chunk.each_line(11, 99, 5, look).unwrap();
            assert_eq!(seen, [(11, "oelev".to_owned(), 7), (12, "otwel".to_owned(), 7)]);
        }
    }

    #[test]
    fn a_long_line_is_not_unpacked_as_a_whole_and_ends_with_a_whole_character() {
        let text = format!("{}\n\no{}é", "x".repeat(300_000), "y".repeat(9));
        let packed = zstd::stream::encode_all(text.as_bytes(), 9).unwrap();
        let mut seen = Vec::new();
        let look = |number, line: &str, length| {
            seen.push((number, line.len(), length));
            ControlFlow::Continue(())
        };
        chunk(4, packed.clone()).each_line(0, 99, 11, look).unwrap();
        assert_eq!(seen, [(10, 11, 300_000), (11, 0, 0), (12, 10, 12)]);
        let mut looks = 0;
        let stop = |_, _: &str, _| {
            looks += 1;
            ControlFlow::Break(())
        };
        chunk(4, packed[..packed.len() / 2].to_vec()).each_line(12, 12, 9, stop).unwrap_err();
        assert_eq!(looks, 0, "damage is told");
    }
}
