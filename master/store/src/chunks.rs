//! Chunks of logs: whole lines, cut to size and compressed (`docs/compat/database.md`, "Logs").

use std::io::{self, Read, Write};

use crate::{Error, Result};

/// Bytes of a chunk before compression; longer text becomes several.
pub const MAX_CHUNK: usize = 65_536;

/// Bytes that a stored chunk may unpack to. What Buildbot and Muster write stays far below; more is refused, because a
/// few damaged bytes could ask for any amount of memory.
const MAX_UNPACKED: u64 = 64 << 20;

/// Bytes of a chunk that are read a part at a time; what is behind them is not shown. A few damaged bytes could ask for any
/// amount of time.
const MAX_READ: u64 = 256 << 20;

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
    /// The method that `logCompressionMethod` names.
    pub fn for_writing(name: &str) -> Option<Compression> {
        match name {
            "raw" => Some(Compression::Raw),
            "gz" => Some(Compression::Gz),
            "bz2" => Some(Compression::Bz2),
            "lz4" => Some(Compression::Lz4),
            "zstd" => Some(Compression::Zstd),
            "br" => Some(Compression::Br),
            _ => None,
        }
    }

    fn from_code(code: i64) -> Option<Compression> {
        use Compression::{Br, Bz2, Gz, Lz4, Raw, Zstd};
        [Raw, Gz, Bz2, Lz4, Zstd, Br].into_iter().find(|method| *method as i64 == code)
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

pub(crate) fn chunk(content: &str, method: Compression) -> Chunk {
    let lines = 1 + content.bytes().filter(|byte| *byte == b'\n').count() as i64;
    let raw = |content: &str| Chunk { lines, content: content.into(), compressed: Compression::Raw as u8 };
    match compress(content.as_bytes(), method) {
        Some(packed) if packed.len() < content.len() && packed.len() <= MAX_CHUNK => {
            Chunk { lines, content: packed, compressed: method as u8 }
        }
        _ if content.len() <= MAX_CHUNK => raw(content),
        _ => {
            tracing::warn!(
                bytes = content.len(),
                "a line of a log is too long and was cut to {MAX_CHUNK} bytes"
            );
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
    pack(content, method)
        .inspect_err(|error| tracing::warn!(%error, "a chunk of a log is stored as it is"))
        .ok()
}

/// Levels are chosen for speed: what they leave, the regrouping after a log's end wins back.
fn pack(content: &[u8], method: Compression) -> io::Result<Vec<u8>> {
    match method {
        Compression::Raw => Ok(content.to_vec()),
        Compression::Gz => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(content)?;
            encoder.finish()
        }
        Compression::Bz2 => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
            encoder.write_all(content)?;
            encoder.finish()
        }
        // Buildbot's form: the length, then one block.
        Compression::Lz4 => Ok(lz4_flex::compress_prepend_size(content)),
        Compression::Zstd => zstd::bulk::compress(content, 3),
        Compression::Br => {
            let params = brotli::enc::BrotliEncoderParams {
                quality: 5,
                size_hint: content.len(),
                ..Default::default()
            };
            let mut packed = Vec::new();
            brotli::BrotliCompress(&mut &content[..], &mut packed, &params)?;
            Ok(packed)
        }
    }
}

/// The text of a stored chunk.
pub fn decode(content: &[u8], compressed: i64) -> Result<String> {
    let method = Compression::from_code(compressed)
        .ok_or_else(|| Error::Data(format!("a chunk of a log has the unknown compression {compressed}")))?;
    let bytes = unpack(content, method)
        .map_err(|error| Error::Data(format!("a chunk of a log can't be unpacked ({method:?}): {error}")))?;
    Ok(String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// The bytes of a stored chunk, unpacked while they are read; at most [`MAX_READ`] of them.
pub(crate) fn reader(content: &[u8], compressed: i64) -> Result<Box<dyn Read + '_>> {
    let method = Compression::from_code(compressed)
        .ok_or_else(|| Error::Data(format!("a chunk of a log has the unknown compression {compressed}")))?;
    let bad =
        |error: io::Error| Error::Data(format!("a chunk of a log can't be unpacked ({method:?}): {error}"));
    Ok(match method {
        Compression::Raw => Box::new(content),
        // These come as one block.
        Compression::Lz4 => Box::new(io::Cursor::new(unpack(content, method).map_err(bad)?)),
        Compression::Gz => Box::new(flate2::read::ZlibDecoder::new(content).take(MAX_READ)),
        Compression::Bz2 => Box::new(bzip2::read::BzDecoder::new(content).take(MAX_READ)),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::new(content).map_err(bad)?.take(MAX_READ)),
        Compression::Br => Box::new(brotli::Decompressor::new(content, 4096).take(MAX_READ)),
    })
}

fn unpack(content: &[u8], method: Compression) -> io::Result<Vec<u8>> {
    match method {
        Compression::Raw => Ok(content.to_vec()),
        Compression::Gz => read_bounded(flate2::read::ZlibDecoder::new(content)),
        Compression::Bz2 => read_bounded(bzip2::read::BzDecoder::new(content)),
        Compression::Lz4 => {
            let (size, block) = lz4_flex::block::uncompressed_size(content).map_err(io::Error::other)?;
            if size as u64 > MAX_UNPACKED {
                return Err(too_long());
            }
            lz4_flex::block::decompress(block, size).map_err(io::Error::other)
        }
        Compression::Zstd => read_bounded(zstd::stream::read::Decoder::new(content)?),
        Compression::Br => read_bounded(brotli::Decompressor::new(content, 4096)),
    }
}

fn read_bounded(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(MAX_UNPACKED + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_UNPACKED { Err(too_long()) } else { Ok(bytes) }
}

fn too_long() -> io::Error {
    io::Error::other(format!("it unpacks to more than {MAX_UNPACKED} bytes"))
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
        for method in ["raw", "gz", "bz2", "lz4", "zstd", "br"] {
            let chunks = make(&text, Compression::for_writing(method).unwrap());
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

    #[test]
    fn what_unpacks_to_too_much_is_refused() {
        let mut lie = lz4_flex::compress_prepend_size(b"short");
        lie[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        let error = decode(&lie, Compression::Lz4 as i64).unwrap_err().to_string();
        assert!(error.contains("more than"), "{error}");
        let long = vec![b'a'; MAX_UNPACKED as usize + 1];
        for method in [Compression::Gz, Compression::Zstd] {
            assert!(decode(&pack(&long, method).unwrap(), method as i64).is_err());
        }
    }

    #[test]
    fn damage_is_told_and_not_believed() {
        for code in [1, 2, 3, 4, 5, 6] {
            assert!(decode(b"no compressed text at all", code).is_err(), "{code}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn nothing_is_lost(lines in proptest::collection::vec("[a-zé ]{0,2000}", 0..80)) {
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let chunks = make(&text, Compression::Zstd);
            prop_assert_eq!(text_of(&chunks), text);
            prop_assert_eq!(chunks.iter().map(|chunk| chunk.lines).sum::<i64>(), lines.len() as i64);
        }
    }
}
