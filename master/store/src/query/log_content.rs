//! Lines of logs: chunks, each with its own compression (`docs/compat/database.md`, "Logs").

use muster_core::LogId;

use crate::{Result, Row, Tx, chunks::decode, params};

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
        }
    }
}
