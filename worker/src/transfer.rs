//! Files between worker and master: uploads as numbered chunks, downloads written beside and renamed.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use muster_session::command::{DownloadFile, Stream, UpdateBody, UploadDirectory, UploadFile};
use muster_session::wire::MAX_BLOCK;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::archive;
use crate::context::{CommandIo, Outcome};
use crate::files::{describe, expand_home, open_regular, refuse_special};

/// Blocks of a directory that may wait between the packing thread and the spool.
const PACKED_BLOCKS: usize = 4;

/// Exit code of a failed or cut transfer.
const FAILED: i64 = 1;

/// Sends one file.
pub(crate) async fn upload_file(base: &Path, args: UploadFile, io: &CommandIo) -> Outcome {
    let path = base.join(&args.workdir).join(expand_home(&args.source));
    io.outbox.header(&format!("sending {}\n", path.display()));
    let mut file = match open_regular(&path) {
        Ok(file) => tokio::fs::File::from_std(file),
        Err(error) => return fail(io, &format!("Cannot open file '{}' for upload", path.display()), &error),
    };
    let mut cut = Cut::new(args.max_size);
    let mut block = vec![0; block_bytes(args.block_size)];
    loop {
        let wanted = cut.allowed(block.len());
        if wanted == 0 {
            return truncated(io, &path);
        }
        match file.read(&mut block[..wanted]).await {
            Ok(0) => break,
            Ok(count) => {
                cut.took(count);
                if !send_chunk(io, block[..count].to_vec()).await {
                    return Outcome::rc(FAILED);
                }
            }
            Err(error) => {
                return fail(io, &format!("Cannot read file '{}' for upload", path.display()), &error);
            }
        }
    }
    if args.keep_stamp
        && let Ok(found) = file.metadata().await
    {
        let seconds = |time: io::Result<SystemTime>| {
            time.ok()
                .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
                .map_or(0.0, |since| since.as_secs_f64())
        };
        let (accessed, modified) = (seconds(found.accessed()), seconds(found.modified()));
        io.outbox.send(UpdateBody::Times { accessed, modified });
    }
    Outcome::rc(0)
}

/// Sends a directory as a tar stream that is packed while it is sent.
pub(crate) async fn upload_directory(base: &Path, args: UploadDirectory, io: &CommandIo) -> Outcome {
    let path = base.join(&args.workdir).join(expand_home(&args.source));
    io.outbox.header(&format!("sending {}\n", path.display()));
    let what = format!("Cannot read directory '{}' for upload", path.display());
    if let Err(error) = fs::read_dir(&path) {
        return fail(io, &what, &error);
    }
    let (blocks, mut packed) = mpsc::channel(PACKED_BLOCKS);
    let block_bytes = block_bytes(args.block_size);
    let source = path.clone();
    let packing =
        tokio::task::spawn_blocking(move || archive::pack(&source, args.compress, block_bytes, &blocks));
    let mut cut = Cut::new(args.max_size);
    while let Some(mut block) = packed.recv().await {
        let allowed = cut.allowed(block.len());
        let whole = allowed == block.len();
        block.truncate(allowed);
        cut.took(allowed);
        // Leaving drops the receiver, which ends the packing thread at its next block.
        if !send_chunk(io, block).await {
            return Outcome::rc(FAILED);
        }
        if !whole {
            return truncated(io, &path);
        }
    }
    match packing.await {
        Ok(Ok(left_out)) => {
            left_out.into_iter().for_each(|said| io.outbox.text(Stream::Stderr, &format!("{said}\n")));
            Outcome::rc(0)
        }
        Ok(Err(error)) => fail(io, &what, &error),
        Err(error) => Outcome::broken(format!("packing {} broke: {error}", path.display())),
    }
}

/// Writes one file from the chunks that the master sends. The target appears whole or not at all.
pub(crate) async fn download_file(base: &Path, args: DownloadFile, io: &mut CommandIo) -> Outcome {
    let path = base.join(&args.workdir).join(expand_home(&args.destination));
    let what = format!("Cannot open file '{}' for download", path.display());
    let mut target = match Target::create(&path, args.mode) {
        Ok(target) => target,
        Err(error) => return fail(io, &what, &error),
    };
    let mut cut = Cut::new(args.max_size);
    loop {
        let chunk = tokio::select! {
            chunk = io.chunks.recv() => chunk,
            _ = io.stop.requested() => None,
        };
        let Some(chunk) = chunk else { return Outcome::rc(FAILED) };
        let allowed = cut.allowed(chunk.bytes.len());
        if let Err(error) = target.write(&chunk.bytes[..allowed]).await {
            return fail(io, &format!("Cannot write file '{}'", path.display()), &error);
        }
        cut.took(allowed);
        io.acknowledge(chunk.number);
        if allowed < chunk.bytes.len() {
            return match target.finish().await {
                Ok(()) => truncated(io, &path),
                Err(error) => fail(io, &what, &error),
            };
        }
        if chunk.eof {
            return match target.finish().await {
                Ok(()) => Outcome::rc(0),
                Err(error) => fail(io, &what, &error),
            };
        }
    }
}

/// How many bytes may still be transferred.
struct Cut {
    left: Option<u64>,
}

impl Cut {
    fn new(max_size: Option<u64>) -> Self {
        Self { left: max_size }
    }

    fn allowed(&self, wanted: usize) -> usize {
        match self.left {
            Some(left) => wanted.min(usize::try_from(left).unwrap_or(usize::MAX)),
            None => wanted,
        }
    }

    fn took(&mut self, count: usize) {
        if let Some(left) = &mut self.left {
            *left -= count as u64;
        }
    }
}

fn block_bytes(wanted: u32) -> usize {
    (wanted as usize).clamp(1, MAX_BLOCK)
}

/// False if the command was stopped meanwhile.
async fn send_chunk(io: &CommandIo, bytes: Vec<u8>) -> bool {
    if bytes.is_empty() {
        return true;
    }
    tokio::select! {
        () = io.outbox.room() => {}
        _ = io.stop.requested() => return false,
    }
    io.outbox.send(UpdateBody::Chunk(bytes));
    true
}

fn fail(io: &CommandIo, what: &str, error: &io::Error) -> Outcome {
    io.outbox.text(Stream::Stderr, &format!("{what}: {}\n", describe(error)));
    Outcome::rc(FAILED)
}

fn truncated(io: &CommandIo, path: &Path) -> Outcome {
    let text = format!("Maximum filesize reached, truncating file '{}'\n", path.display());
    io.outbox.text(Stream::Stderr, &text);
    Outcome::rc(FAILED)
}

/// A file being written beside the one it shall become.
struct Target {
    path: PathBuf,
    temporary: PathBuf,
    file: tokio::fs::File,
    mode: Option<u32>,
    finished: bool,
}

impl Target {
    fn create(path: &Path, mode: Option<u32>) -> io::Result<Self> {
        // Through symbolic links, as if the file itself were opened.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        match fs::metadata(&path) {
            // It would be replaced by a file, whatever it is.
            Ok(found) => refuse_special(&found)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(rustix::io::Errno::INVAL.into());
        };
        fs::create_dir_all(parent)?;
        let kept = fs::metadata(&path).ok().map(|found| found.permissions().mode() & 0o7777);
        let mode = mode.map(|mode| mode & 0o7777).or(kept);
        let temporary = parent.join(format!(".{}.{}.part", name.display(), uuid::Uuid::new_v4().simple()));
        let file =
            OpenOptions::new().write(true).create_new(true).mode(mode.unwrap_or(0o666)).open(&temporary)?;
        Ok(Self { path, temporary, file: tokio::fs::File::from_std(file), mode, finished: false })
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes).await?;
        // Errors of a write show up here.
        self.file.flush().await
    }

    async fn finish(mut self) -> io::Result<()> {
        if let Some(mode) = self.mode {
            self.file.set_permissions(fs::Permissions::from_mode(mode)).await?;
        }
        fs::rename(&self.temporary, &self.path)?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if !self.finished
            && let Err(error) = fs::remove_file(&self.temporary)
        {
            tracing::warn!("can't remove {}: {error}", self.temporary.display());
        }
    }
}
