//! Small steps on the worker's files (`docs/compat/behaviour-5-steps.md` 5.8). Paths are relative to the builder's directory.

mod copy_directory;
mod file_exists;
mod make_directory;
mod remove_directory;

use muster_session::Command;

pub(super) use self::{
    copy_directory::CopyDirectory, file_exists::FileExists, make_directory::MakeDirectory,
    remove_directory::RemoveDirectory,
};
use crate::effects::{CommandRequest, CommandResult, StepContext, StepEnd};

/// The bits of a mode that say what a file is, and the regular file among them.
const KIND_OF_FILE: i64 = 0o170_000;
const REGULAR_FILE: i64 = 0o100_000;
const DIRECTORY: i64 = 0o040_000;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    Regular,
    Directory,
    /// A FIFO, a device or a socket, by its name.
    Other(&'static str),
}

impl FileKind {
    /// What `stat` found; `None` when there is nothing.
    pub(super) fn of(result: &CommandResult) -> Option<FileKind> {
        let mode = result.stat.filter(|_| result.succeeded())?[0];
        Some(match mode & KIND_OF_FILE {
            REGULAR_FILE => FileKind::Regular,
            DIRECTORY => FileKind::Directory,
            _ => FileKind::Other(muster_core::files::kind_of(u32::try_from(mode).unwrap_or_default())),
        })
    }
}

async fn silently(context: &mut StepContext<'_>, command: Command) -> Result<CommandResult, StepEnd> {
    context.command(CommandRequest::new(command, None)).await
}
