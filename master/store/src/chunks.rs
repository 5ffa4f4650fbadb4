//! Chunks of logs: whole lines, cut to size and compressed (`compat/database.md`, "Logs").

use std::io::Write;

use crate::{Error, Result};

/// Bytes of a chunk before compression; longer text becomes several.
pub const MAX_CHUNK: usize = 65_536;

/// How a chunk's content is stored; the numbers are Buildbot's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Compression {
    Raw = 0,
    Gz = 1,
    Bz2 = 2,
    Lz4 = 3,
    Zstd = 4,
    Br = 5,
}

impl Compression {
    /// The method that `logCompressionMethod` names, where this build can write it.
    pub fn for_writing(name: &str) -> Option<Compression> {
        match name {
            "raw" => Some(Compression::Raw),
            "gz" => Some(Compression::Gz),
            "zstd" => Some(Compression::Zstd),
            _ => None,
        }
    }
}

/// Lines that are ready to be stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunk {
    /// How many lines.
    pub lines: i64,
    /// Them, joined by newlines, without the last newline; compressed as the code says.
    pub content: Vec<u8>,
    /// The code of the compression.
    pub compressed: u8,
}

/// Cuts whole lines (each with its newline) into chunks. Compression is kept where it makes a chunk smaller.
///
/// A line that is longer than a chunk is cut at a character's end, as Buildbot does, when it doesn't fit compressed.
pub fn make(text: &str, method: Compression) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let cut = cut_point(rest);
        let (piece, after) = rest.split_at(cut);
        chunks.push(chunk(piece.strip_suffix('\n').unwrap_or(piece), method));
        rest = after;
    }
    chunks
}

/// Where the first chunk of `text` ends: behind the last newline that fits, or behind the first line when none does.
fn cut_point(text: &str) -> usize {
    // The chunk is stored without its last newline, so one byte more fits.
    if text.len() <= MAX_CHUNK + 1 {
        return text.len();
    }
    let window = &text.as_bytes()[..=MAX_CHUNK];
    let newline = window.iter().rposition(|byte| *byte == b'\n').or_else(|| text.find('\n'));
    newline.map_or(text.len(), |position| position + 1)
}

fn chunk(content: &str, method: Compression) -> Chunk {
    let lines = 1 + content.bytes().filter(|byte| *byte == b'\n').count() as i64;
    let raw = |content: &str| Chunk { lines, content: content.into(), compressed: Compression::Raw as u8 };
    match compress(content.as_bytes(), method) {
        Some(packed) if packed.len() < content.len() && packed.len() <= MAX_CHUNK => {
            Chunk { lines, content: packed, compressed: method as u8 }
        }
        _ if content.len() <= MAX_CHUNK => raw(content),
        _ => {
            tracing::warn!(bytes = content.len(), "a line of a log is too long and was cut to {MAX_CHUNK} bytes");
            let end = (0..MAX_CHUNK).rev().find(|end| content.is_char_boundary(*end)).unwrap_or(0);
            raw(&content[..end])
        }
    }
}

/// Below this many bytes compression saves nothing worth its time.
const MIN_COMPRESSED: usize = 256;

fn compress(content: &[u8], method: Compression) -> Option<Vec<u8>> {
    if content.len() < MIN_COMPRESSED {
        return None;
    }
    match method {
        Compression::Gz => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(content).ok()?;
            encoder.finish().ok()
        }
        Compression::Zstd => zstd::bulk::compress(content, 3).ok(),
        _ => None,
    }
}

/// The text of a stored chunk.
pub fn decode(content: &[u8], compressed: i64) -> Result<String> {
    let broken = |error: std::io::Error| Error::Data(format!("a chunk of a log can't be unpacked: {error}"));
    let bytes = match compressed {
        0 => content.to_vec(),
        1 => {
            let mut decoder = flate2::write::ZlibDecoder::new(Vec::new());
            decoder.write_all(content).map_err(broken)?;
            decoder.finish().map_err(broken)?
        }
        4 => zstd::stream::decode_all(content).map_err(broken)?,
        2 | 3 | 5 => {
            let name = ["bz2", "lz4", "", "br"][compressed as usize - 2];
            return Err(Error::Data(format!("this Muster can't read log chunks compressed with {name} yet")));
        }
        other => return Err(Error::Data(format!("a chunk of a log has the unknown compression {other}"))),
    };
    Ok(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text_of(chunks: &[Chunk]) -> String {
        chunks.iter().map(|chunk| decode(&chunk.content, chunk.compressed.into()).unwrap() + "\n").collect()
    }

    #[test]
    fn chunks_hold_whole_lines_and_stay_within_their_size() {
        let text: String = (0..5000).map(|n| format!("oline {n} of a log that goes on\n")).collect();
        for method in [Compression::Raw, Compression::Gz, Compression::Zstd] {
            let chunks = make(&text, method);
            assert!(chunks.len() > 1);
            assert!(chunks.iter().all(|chunk| chunk.content.len() <= MAX_CHUNK));
            assert_eq!(chunks.iter().map(|chunk| chunk.lines).sum::<i64>(), 5000);
            assert_eq!(text_of(&chunks), text);
        }
    }

    #[test]
    fn a_line_that_fits_nowhere_is_cut_at_a_character() {
        let mut noise = 1_u32;
        let line: String = std::iter::repeat_with(|| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from_u32(0x4e00 + (noise >> 16) % 20_000).unwrap_or('x')
        })
        .take(60_000)
        .collect();
        let chunks = make(&format!("{line}\nnext\n"), Compression::Zstd);
        let stored = decode(&chunks[0].content, chunks[0].compressed.into()).unwrap();
        assert!(line.starts_with(&stored) && stored.len() <= MAX_CHUNK);
        assert_eq!(chunks.iter().map(|chunk| chunk.lines).sum::<i64>(), 2);
    }

    proptest! {
        #[test]
        fn nothing_is_lost(lines in proptest::collection::vec("[a-zé ]{0,2000}", 0..200)) {
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let chunks = make(&text, Compression::Zstd);
            prop_assert_eq!(text_of(&chunks), text);
            prop_assert_eq!(chunks.iter().map(|chunk| chunk.lines).sum::<i64>(), lines.len() as i64);
        }
    }
}
