//! A directory as a tar stream of bounded blocks.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use flate2::write::GzEncoder;
use muster_session::command::Compression;
use tokio::sync::mpsc;

use crate::files::open_regular;

/// Directories that may lie in each other; deeper trees are refused instead of exhausting the stack.
const MAX_DEPTH: usize = 256;

/// Files that were left out and are named; the others are counted.
const MAX_NAMED: usize = 20;

/// Packs `dir` and sends the stream in blocks of `block_bytes`. Blocks; meant for a thread that may. Answers what was left
/// out because it is nothing elsewhere: FIFOs, devices, sockets.
///
/// # Errors
/// When something can't be read, or nobody takes the blocks any more.
pub(crate) fn pack(
    dir: &Path,
    compress: Option<Compression>,
    block_bytes: usize,
    blocks: &mpsc::Sender<Vec<u8>>,
) -> io::Result<Vec<String>> {
    let mut left_out = LeftOut::default();
    let writer = BlockWriter { blocks, block_bytes, pending: Vec::with_capacity(block_bytes) };
    let writer = match compress {
        None => pack_into(dir, writer, &mut left_out)?,
        Some(Compression::Gz) => {
            let packer = GzEncoder::new(writer, flate2::Compression::default());
            pack_into(dir, packer, &mut left_out)?.finish()?
        }
        Some(Compression::Bz2) => {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "this worker does not pack with bz2; use compress='gz'",
            ));
        }
    };
    writer.finish()?;
    Ok(left_out.into_words())
}

#[derive(Default)]
struct LeftOut {
    named: Vec<String>,
    more: usize,
}

impl LeftOut {
    fn note(&mut self, path: &Path, kind: &str) {
        if self.named.len() < MAX_NAMED {
            self.named.push(format!("{} is left out: it is {kind}", path.display()));
        } else {
            self.more += 1;
        }
    }

    fn into_words(mut self) -> Vec<String> {
        if self.more > 0 {
            self.named.push(format!("{} more are left out", self.more));
        }
        self.named
    }
}

fn pack_into<W: Write>(dir: &Path, writer: W, left_out: &mut LeftOut) -> io::Result<W> {
    let mut archive = tar::Builder::new(writer);
    archive.follow_symlinks(false);
    append_dir(&mut archive, (dir, Path::new("")), 0, left_out)?;
    archive.into_inner()
}

fn append_dir<W: Write>(
    archive: &mut tar::Builder<W>,
    (dir, name): (&Path, &Path),
    depth: usize,
    left_out: &mut LeftOut,
) -> io::Result<()> {
    if depth > MAX_DEPTH {
        return Err(io::Error::other(format!("{} lies deeper than {MAX_DEPTH} directories", dir.display())));
    }
    let mut entries = fs::read_dir(dir)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (entry.path(), name.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            archive.append_dir(&name, &path)?;
            append_dir(archive, (&path, &name), depth + 1, left_out)?;
        } else if kind.is_file() {
            append_file(archive, &path, &name)?;
        } else if kind.is_symlink() {
            archive.append_path_with_name(&path, &name)?;
        } else {
            left_out.note(&path, muster_core::files::kind_of(entry.metadata()?.mode()));
        }
    }
    Ok(())
}

/// Exactly as many bytes as the header says, even while somebody writes to the file.
fn append_file<W: Write>(archive: &mut tar::Builder<W>, path: &Path, name: &Path) -> io::Result<()> {
    let file = open_regular(path)?;
    let found = file.metadata()?;
    let mut header = tar::Header::new_gnu();
    header.set_metadata(&found);
    let exact = file.take(found.len()).chain(io::repeat(0)).take(found.len());
    archive.append_data(&mut header, name, exact)
}

/// Cuts a stream into blocks and waits for their receiver.
struct BlockWriter<'a> {
    blocks: &'a mpsc::Sender<Vec<u8>>,
    block_bytes: usize,
    pending: Vec<u8>,
}

impl BlockWriter<'_> {
    fn send(&mut self) -> io::Result<()> {
        let block = std::mem::replace(&mut self.pending, Vec::with_capacity(self.block_bytes));
        self.blocks.blocking_send(block).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn finish(mut self) -> io::Result<()> {
        if self.pending.is_empty() { Ok(()) } else { self.send() }
    }
}

impl Write for BlockWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(self.block_bytes - self.pending.len());
        self.pending.extend_from_slice(&bytes[..count]);
        if self.pending.len() == self.block_bytes {
            self.send()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(dir: &Path, compress: Option<Compression>, block_bytes: usize) -> Vec<Vec<u8>> {
        let (sender, mut receiver) = mpsc::channel(1000);
        let left_out = pack(dir, compress, block_bytes, &sender).unwrap();
        assert_eq!(left_out.len(), 2, "{left_out:?}");
        assert!(left_out[0].ends_with("fifo is left out: it is a FIFO"), "{left_out:?}");
        drop(sender);
        std::iter::from_fn(|| receiver.blocking_recv()).collect()
    }

    #[test]
    fn a_tree_survives_packing() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/empty")).unwrap();
        fs::write(dir.path().join("a/file"), vec![7; 3000]).unwrap();
        std::os::unix::fs::symlink("file", dir.path().join("a/link")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, dir.path().join("fifo"), rustix::fs::Mode::RUSR).unwrap();
        let long = "n".repeat(200);
        fs::write(dir.path().join(&long), "x").unwrap();

        for compress in [None, Some(Compression::Gz)] {
            let blocks = packed(dir.path(), compress, 1000);
            assert!(blocks.iter().rev().skip(1).all(|block| block.len() == 1000));
            let bytes = blocks.concat();
            let reader: Box<dyn Read> = match compress {
                None => Box::new(&bytes[..]),
                Some(_) => Box::new(flate2::read::GzDecoder::new(&bytes[..])),
            };
            let out = tempfile::tempdir().unwrap();
            tar::Archive::new(reader).unpack(out.path()).unwrap();
            assert_eq!(fs::read(out.path().join("a/file")).unwrap(), vec![7; 3000]);
            assert_eq!(fs::read_link(out.path().join("a/link")).unwrap(), Path::new("file"));
            assert!(out.path().join("a/empty").is_dir());
            assert!(out.path().join(&long).is_file());
            assert!(!out.path().join("socket").exists());
        }
    }
}
