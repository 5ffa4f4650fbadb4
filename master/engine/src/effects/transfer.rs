//! The file that moves along with a command: what the worker sends is written, what it asks for is read.

use std::{
    io::{self, Cursor, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use muster_core::CommandId;
use muster_session::wire::MAX_BLOCK;
use tokio::io::AsyncWriteExt;

use super::command::{CommandResult, MAX_COLLECTED, Transfer};
use crate::sessions::Slot;

/// `open` doesn't wait for the other end of a FIFO.
const O_NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();

/// Where the bytes from the worker go.
pub(super) enum Sink {
    None,
    File { file: tokio::fs::File, written: u64, max_size: Option<u64> },
    Memory(Vec<u8>),
}

/// Where the bytes for the worker come from.
pub(super) type Source = Option<Box<dyn Read + Send>>;

/// Opens this side's end.
pub(super) async fn open(transfer: Transfer) -> Result<(Sink, Source), String> {
    match transfer {
        Transfer::None => Ok((Sink::None, None)),
        Transfer::Collect => Ok((Sink::Memory(Vec::new()), None)),
        Transfer::DownloadText(text) => Ok((Sink::None, Some(Box::new(Cursor::new(text.into_bytes()))))),
        Transfer::DownloadFile(path) => match open_to_send(&path).await {
            Ok(file) => Ok((Sink::None, Some(Box::new(file)))),
            Err(error) => Err(format!("can't read {} on the master: {error}", path.display())),
        },
        Transfer::Upload { path, max_size } => {
            let unwritable = |error| format!("can't write {} on the master: {error}", path.display());
            if let Some(parent) = path.parent() {
                tokio::fs::create_dir_all(parent).await.map_err(unwritable)?;
            }
            let file = tokio::fs::File::create(&path).await.map_err(unwritable)?;
            Ok((Sink::File { file, written: 0, max_size }, None))
        }
    }
}

/// The device that is always empty: a file of the master like others.
const NULL: &str = "/dev/null";

/// Opens a file of the master that is to be sent. Whatever may never end, or end only when somebody else writes, is
/// refused without waiting for it.
pub(crate) async fn open_to_send(path: &Path) -> io::Result<std::fs::File> {
    let path = path.to_owned();
    let opening = tokio::task::spawn_blocking(move || {
        // Some devices act when they are opened.
        refuse_special(&path, &std::fs::metadata(&path)?)?;
        let file = std::fs::File::options().read(true).custom_flags(O_NONBLOCK).open(&path)?;
        refuse_special(&path, &file.metadata()?)?;
        Ok(file)
    });
    opening.await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

fn refuse_special(path: &Path, found: &std::fs::Metadata) -> io::Result<()> {
    if found.is_file() || path == Path::new(NULL) {
        return Ok(());
    }
    let kind = muster_core::files::kind_of(found.mode());
    Err(io::Error::other(format!("it is {kind}, not a regular file")))
}

impl Sink {
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        match self {
            Sink::None => Err("the worker sends a file that nobody asked for".to_owned()),
            Sink::Memory(content) if content.len() + bytes.len() > MAX_COLLECTED => {
                Err(format!("the file is longer than {MAX_COLLECTED} bytes"))
            }
            Sink::Memory(content) => {
                content.extend_from_slice(bytes);
                Ok(())
            }
            Sink::File { file, written, max_size } => {
                *written += bytes.len() as u64;
                if max_size.is_some_and(|max| *written > max) {
                    return Err("the worker sends more than the largest size allowed".to_owned());
                }
                file.write_all(bytes).await.map_err(|error| unwritable(&error))
            }
        }
    }

    /// Makes what came durable: the command's end is recorded after it.
    pub(super) async fn finish(&mut self, result: &mut CommandResult) -> Result<(), String> {
        match self {
            Sink::None => {}
            Sink::Memory(content) => {
                result.content = Some(String::from_utf8_lossy(&std::mem::take(content)).into_owned());
            }
            Sink::File { file, .. } => {
                file.flush().await.map_err(|error| unwritable(&error))?;
                file.sync_all().await.map_err(|error| unwritable(&error))?;
            }
        }
        Ok(())
    }
}

fn unwritable(error: &std::io::Error) -> String {
    format!("can't write on the master: {error}")
}

/// Sends a download's bytes as fast as the worker's window takes them.
pub(super) async fn feed(slot: Slot, id: CommandId, source: Source) -> Result<(), String> {
    let Some(mut source) = source else { return std::future::pending().await };
    loop {
        // The reader travels to a thread that may wait for the disk, and comes back with a block.
        let read = tokio::task::spawn_blocking(move || {
            let mut block = Vec::new();
            let outcome = source.by_ref().take(MAX_BLOCK as u64).read_to_end(&mut block);
            outcome.map(|_| (source, block))
        });
        let (back, block) = read
            .await
            .map_err(|error| format!("reading on the master broke: {error}"))?
            .map_err(|error| format!("can't read on the master: {error}"))?;
        source = back;
        let eof = block.is_empty();
        match slot.chunk(id, block, eof).await {
            Ok(()) if eof => return Ok(()),
            Ok(()) => {}
            // The command has ended already; its own end says why.
            Err(_) => return Ok(()),
        }
    }
}
