//! Small steps on the worker's files (`docs/compat/behaviour-5-steps.md` 5.8). Paths are relative to the builder's directory.

use muster_core::Results;
use muster_session::Command;

use crate::effects::{CommandRequest, CommandResult, StepContext, StepEnd};

/// Seconds without progress after which a copy is ended, unless the step says otherwise.
const COPY_TIMEOUT: f64 = 120.0;
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

/// `MakeDirectory`
pub(super) async fn make_directory(context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
    let dirs = context.texts("dir").await?;
    if dirs.is_empty() {
        return Err(context.unfit("dir", &serde_json::Value::Null, "a text or a list of texts"));
    }
    let result = silently(context, Command::Mkdir { dirs }).await?;
    if !result.succeeded() {
        context.set_outcome("Create failed.");
    }
    Ok(result.results())
}

/// `RemoveDirectory`
pub(super) async fn remove_directory(context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
    let dirs = vec![context.required_text("dir").await?];
    let result = silently(context, Command::Rmdir { dirs, timeout: None, max_time: None }).await?;
    if !result.succeeded() {
        context.set_outcome("Delete failed.");
    }
    Ok(result.results())
}

/// `CopyDirectory`
pub(super) async fn copy_directory(context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
    let from = context.required_text("src").await?;
    let to = context.required_text("dest").await?;
    let timeout = context.limit("timeout", Some(COPY_TIMEOUT)).await?;
    let max_time = context.limit("maxTime", None).await?;
    let words = format!("{from} to {to}");
    let result = silently(context, Command::Cpdir { from, to, timeout, max_time }).await?;
    context.set_outcome(match result.succeeded() {
        true => format!("Copied {words}"),
        false => format!("Copying {words} failed."),
    });
    Ok(result.results())
}

/// `FileExists`
pub(super) async fn file_exists(context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
    let file = context.required_text("file").await?;
    let result = silently(context, Command::Stat { file, workdir: None }).await?;
    if result.interrupted {
        return Ok(Results::Cancelled);
    }
    let (outcome, results) = match FileKind::of(&result) {
        None => ("File not found.", Results::Failure),
        Some(FileKind::Regular) => ("File found.", Results::Success),
        Some(_) => ("Not a file.", Results::Failure),
    };
    context.set_outcome(outcome);
    Ok(results)
}

async fn silently(context: &mut StepContext<'_>, command: Command) -> Result<CommandResult, StepEnd> {
    context.command(CommandRequest::new(command, None)).await
}
