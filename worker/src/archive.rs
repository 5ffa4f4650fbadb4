//! A directory as a tar stream of bounded blocks.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use flate2::write::GzEncoder;
use muster_session::command::Compression;
use tokio::sync::mpsc;

/// Directories that may lie in each other; deeper trees are refused instead of exhausting the stack.
const MAX_DEPTH: usize = 256;

/// Packs `dir` and sends the stream in blocks of `block_bytes`. Blocks; meant for a thread that may.
///
/// # Errors
/// When something can't be read, or nobody takes the blocks any more.
pub(crate) fn pack(
    dir: &Path,
    compress: Option<Compression>,
    block_bytes: usize,
    blocks: &mpsc::Sender<Vec<u8>>,
) -> io::Result<()> {
    let writer = BlockWriter { blocks, block_bytes, pending: Vec::with_capacity(block_bytes) };
    let writer = match compress {
        None => pack_into(dir, writer)?,
        Some(Compression::Gz) => {
            pack_into(dir, GzEncoder::new(writer, flate2::Compression::default()))?.finish()?
        }
        Some(Compression::Bz2) => {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "this worker does not pack with bz2; use compress='gz'",
            ));
        }
    };
    writer.finish()
}

fn pack_into<W: Write>(dir: &Path, writer: W) -> io::Result<W> {
    let mut archive = tar::Builder::new(writer);
    archive.follow_symlinks(false);
    append_dir(&mut archive, dir, Path::new(""), 0)?;
    archive.into_inner()
}

fn append_dir<W: Write>(
    archive: &mut tar::Builder<W>,
    dir: &Path,
    name: &Path,
    depth: usize,
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
            append_dir(archive, &path, &name, depth + 1)?;
        } else if kind.is_file() {
            append_file(archive, &path, &name)?;
        } else if !kind.is_socket() {
            // Sockets mean nothing elsewhere; links and devices are packed as what they are.
            archive.append_path_with_name(&path, &name)?;
        }
    }
    Ok(())
}

/// Exactly as many bytes as the header says, even while somebody writes to the file.
fn append_file<W: Write>(archive: &mut tar::Builder<W>, path: &Path, name: &Path) -> io::Result<()> {
    let file = File::open(path)?;
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
        pack(dir, compress, block_bytes, &sender).unwrap();
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
