//! Durable records of running commands, `DIR/commands/ID/`, by which a later life finds what an earlier one left.
//!
//! `command.json` is written by the worker when it accepts a command, `process.json` by the command's own process
//! before it becomes the user's program. Records need not survive a crash of the machine (no process does), so they
//! are written without waiting for the disk; they do survive the death of the worker at any moment.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use muster_core::CommandId;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::private;
use crate::process::{self, ProcessIdentity};

const COMMAND_FILE: &str = "command.json";
const PROCESS_FILE: &str = "process.json";
const SPOOL_FILE: &str = "spool";

/// Prefix of directories that were taken out of reach of their launchers, see [`Records::end_orphans`].
const TAKEN_PREFIX: &str = "taken-";

/// How long an orphan has to end after SIGTERM, and again after SIGKILL.
const ORPHAN_PATIENCE: Duration = Duration::from_secs(2);

/// What is known about a command before its process exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CommandRecord {
    /// The command's id.
    pub id: String,
    /// The life of the worker that accepted it.
    pub boot_id: String,
    /// What runs, as users may see it: secrets are already replaced.
    pub shown: String,
}

/// The folder of all records.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    dir: PathBuf,
}

impl Records {
    pub(crate) fn open(worker_dir: &Path) -> io::Result<Self> {
        let dir = worker_dir.join("commands");
        private::create_dir(&dir)?;
        Ok(Self { dir })
    }

    /// Where the record of a command is, or would be.
    pub(crate) fn dir(&self, id: CommandId) -> RecordDir {
        RecordDir { path: self.dir.join(id.to_string()) }
    }

    /// Ends every recorded process group of an earlier life and removes its records.
    ///
    /// A record is first moved aside: a launcher that is about to start then can't write its process file any more
    /// and gives up, so nothing slips in between reading and removing. Returns what was ended, for the log.
    pub(crate) async fn end_orphans(&self) -> io::Result<Vec<String>> {
        let mut ending = JoinSet::new();
        for entry in std::fs::read_dir(&self.dir)? {
            let taken = self.take(&entry?)?;
            ending.spawn(async move {
                let orphan = end_orphan(&taken).await?;
                remove_record(&taken)?;
                Ok::<_, io::Error>(orphan)
            });
        }
        let mut ended = Vec::new();
        while let Some(result) = ending.join_next().await {
            ended.extend(result??);
        }
        Ok(ended)
    }

    fn take(&self, entry: &std::fs::DirEntry) -> io::Result<PathBuf> {
        let name = entry.file_name();
        if name.to_string_lossy().starts_with(TAKEN_PREFIX) {
            return Ok(entry.path());
        }
        let taken = self.dir.join(format!("{TAKEN_PREFIX}{}", name.display()));
        std::fs::rename(entry.path(), &taken)?;
        Ok(taken)
    }
}

/// The directory of one command's record.
#[derive(Clone, Debug)]
pub(crate) struct RecordDir {
    path: PathBuf,
}

impl RecordDir {
    /// Writes the record of a new command; its directory also holds the spool.
    pub(crate) fn create(&self, id: CommandId, boot_id: &str, shown: String) -> io::Result<()> {
        private::create_dir(&self.path)?;
        let record = CommandRecord { id: id.to_string(), boot_id: boot_id.to_owned(), shown };
        write_whole(&self.path, COMMAND_FILE, &record)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn spool_path(&self) -> PathBuf {
        self.path.join(SPOOL_FILE)
    }

    /// Forgets the process: it has ended and was waited for, so nobody has to look for it any more.
    pub(crate) fn process_ended(&self) -> io::Result<()> {
        ignore_missing(std::fs::remove_file(self.path.join(PROCESS_FILE)))
    }

    pub(crate) fn remove(&self) -> io::Result<()> {
        remove_record(&self.path)
    }
}

/// Writes the process part of a record; called by the launcher. Fails if the record was taken away meanwhile.
pub(crate) fn write_process(record_dir: &Path, identity: &ProcessIdentity) -> io::Result<()> {
    write_whole(record_dir, PROCESS_FILE, identity)
}

/// Beside and renamed, so that a reader sees all of it or nothing.
fn write_whole<T: Serialize>(dir: &Path, name: &str, value: &T) -> io::Result<()> {
    let temporary = dir.join(format!("{name}.new"));
    private::write(&temporary, &serde_json::to_vec(value)?)?;
    std::fs::rename(temporary, dir.join(name))
}

async fn end_orphan(record: &Path) -> io::Result<Option<String>> {
    // A record without a readable process file was never started, or its process has ended.
    let Some(identity) = read_json::<ProcessIdentity>(&record.join(PROCESS_FILE)) else { return Ok(None) };
    if !identity.group_lives() {
        return Ok(None);
    }
    let shown = read_json::<CommandRecord>(&record.join(COMMAND_FILE)).map(|command| command.shown);
    let shown = shown.unwrap_or_else(|| "a command".into());
    if !process::end_group(&identity, ORPHAN_PATIENCE).await? {
        tracing::warn!("process group {} of an earlier life ({shown}) does not die", identity.pid);
    }
    Ok(Some(format!("{shown} (process group {})", identity.pid)))
}

fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Option<T> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

fn remove_record(path: &Path) -> io::Result<()> {
    let is_dir = std::fs::symlink_metadata(path).map(|found| found.is_dir()).unwrap_or(true);
    ignore_missing(if is_dir { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) })
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
