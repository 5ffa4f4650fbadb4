//! Files from the worker to the master (`docs/compat/behaviour-5-steps.md` 5.8). What comes is written beside its target and
//! takes its place when it is whole.

mod place;
mod rests;
mod unpack;

use muster_core::{LogKind, Results};
use muster_session::{
    Command,
    command::{Compression, UploadDirectory, UploadFile},
    wire::{GATEWAY, MAX_BLOCK},
};
use serde_json::Value;

pub(crate) use self::rests::{clear_uploads, has_noted_uploads, noted_uploads};
use self::{
    place::{Placed, Target, Unpacked},
    unpack::Skipped,
};
use super::{
    arguments::{base_name, join},
    files::FileKind,
};
use crate::effects::{CommandRequest, CommandResult, LogRef, StepContext, StepEnd, Transfer};

/// Arguments that all uploads have.
struct UploadArguments {
    workdir: String,
    /// As configured; relative to the master's base directory.
    master_dest: String,
    max_size: Option<u64>,
    block_size: u32,
    mode: Option<u32>,
    keep_stamp: bool,
    compress: Option<Compression>,
    url: Option<String>,
    url_text: Option<String>,
}

impl UploadArguments {
    async fn read(context: &mut StepContext<'_>, block_size: u32) -> Result<UploadArguments, StepEnd> {
        let block_size = context.typed("blocksize", "a number").await?.unwrap_or(block_size);
        Ok(UploadArguments {
            workdir: context.workdir().await?,
            master_dest: context.required_text("masterdest").await?,
            max_size: context.typed("maxsize", "a number or None").await?,
            block_size: block_size.clamp(1, MAX_BLOCK as u32),
            mode: context.typed("mode", "an integer or None").await?,
            keep_stamp: context.flag("keepstamp", false).await?,
            compress: compression(context).await?,
            url: context.text("url").await?,
            url_text: context.text("urlText").await?,
        })
    }

    fn link(&self, context: &mut StepContext<'_>) {
        if let Some(url) = &self.url {
            let text = self.url_text.clone().unwrap_or_else(|| base_name(&self.master_dest).to_owned());
            context.add_url(&text, url);
        }
    }
}

/// How the stream is packed on its way. The files are the same either way, and not all workers know bzip2.
async fn compression(context: &mut StepContext<'_>) -> Result<Option<Compression>, StepEnd> {
    match context.text("compress").await?.as_deref() {
        None => Ok(None),
        Some("gz" | "bz2") => Ok(Some(Compression::Gz)),
        Some(other) => Err(context.unfit("compress", &other.into(), "one of None, 'gz', or 'bz2'")),
    }
}

/// `FileUpload`
pub(super) async fn file_upload(context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
    let source = context.required_text("workersrc").await?;
    let arguments = UploadArguments::read(context, 256 * 1024).await?;
    announce(context, &source).await?;
    let stdio = context.add_log("stdio", LogKind::Stdio)?;
    arguments.link(context);
    if !may_be_sent(context, &arguments, &source, FileKind::Regular, &stdio).await? {
        return Ok(Results::Failure);
    }
    upload_file(context, &arguments, &source, &arguments.master_dest, &stdio).await
}

/// `DirectoryUpload`
pub(super) async fn directory_upload(context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
    let source = context.required_text("workersrc").await?;
    let arguments = UploadArguments::read(context, 16 * 1024).await?;
    context.set_outcome(format!("uploading {}", base_name(&source)));
    let stdio = context.add_log("stdio", LogKind::Stdio)?;
    arguments.link(context);
    if !may_be_sent(context, &arguments, &source, FileKind::Directory, &stdio).await? {
        return Ok(Results::Failure);
    }
    upload_directory(context, &arguments, &source, &arguments.master_dest, &stdio).await
}

/// `MultipleFileUpload`
pub(super) async fn multiple_file_upload(context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
    let mut sources = context.texts("workersrcs").await?;
    let arguments = UploadArguments::read(context, 16 * 1024).await?;
    let globs = context.flag("glob", false).await?;
    let stdio = context.add_log("stdio", LogKind::Stdio)?;
    if sources.is_empty() {
        return Ok(Results::Skipped);
    }
    if globs {
        sources = matches(context, &arguments, &sources, &stdio).await?;
    }
    let noun = if sources.len() == 1 { "file" } else { "files" };
    context.set_outcome(format!("uploading {} {noun}", sources.len()));
    let mut results = if sources.is_empty() { Results::Skipped } else { Results::Success };
    for source in &sources {
        results = upload_any(context, &arguments, source, &stdio).await?;
        if results != Results::Success {
            break;
        }
    }
    arguments.link(context);
    Ok(results)
}

/// Says what is uploaded, unless the configuration has words for it.
async fn announce(context: &mut StepContext<'_>, source: &str) -> Result<(), StepEnd> {
    let description = context.config().description.clone();
    let text = format!("uploading {}", base_name(source));
    if context.render(&description).await? == Value::Null {
        context.set_state(&text);
        context.set_summary(text);
    }
    Ok(())
}

async fn matches(
    context: &mut StepContext<'_>,
    arguments: &UploadArguments,
    patterns: &[String],
    stdio: &LogRef,
) -> Result<Vec<String>, StepEnd> {
    let mut found = Vec::new();
    for pattern in patterns {
        let pattern = join(&arguments.workdir, pattern);
        let request = CommandRequest::new(Command::Glob { pattern }, Some(stdio));
        let result = not_cancelled(context.command(request).await?)?;
        found.extend(result.files);
    }
    Ok(found)
}

/// Uploads a file or a directory, whichever it is, into the directory `masterdest`.
async fn upload_any(
    context: &mut StepContext<'_>,
    arguments: &UploadArguments,
    source: &str,
    stdio: &LogRef,
) -> Result<Results, StepEnd> {
    let name = base_name(source);
    if matches!(name, "" | "." | "..") {
        return Err(StepEnd::Exception(format!("'{source}' has no name to be uploaded under")));
    }
    let target = join(&arguments.master_dest, name);
    let stat = Command::Stat { file: source.to_owned(), workdir: Some(arguments.workdir.clone()) };
    let found = not_cancelled(context.command(CommandRequest::new(stat, Some(stdio))).await?)?;
    let trouble = match FileKind::of(&found) {
        Some(FileKind::Regular) => return upload_file(context, arguments, source, &target, stdio).await,
        Some(FileKind::Directory) => {
            return upload_directory(context, arguments, source, &target, stdio).await;
        }
        Some(FileKind::Other(_)) => format!("{source} is neither a regular file, nor a directory"),
        None => format!("File {}/{source} not available at worker", arguments.workdir),
    };
    context.add_complete_log("stderr", LogKind::Text, &trouble)?;
    Ok(Results::Failure)
}

/// Asks a stock worker what a source is: it stands still, for all its builds, when it opens a FIFO. Muster's own worker
/// looks by itself.
async fn may_be_sent(
    context: &mut StepContext<'_>,
    arguments: &UploadArguments,
    source: &str,
    wanted: FileKind,
    stdio: &LogRef,
) -> Result<bool, StepEnd> {
    if context.worker_info(GATEWAY).is_none() {
        return Ok(true);
    }
    let stat = Command::Stat { file: source.to_owned(), workdir: Some(arguments.workdir.clone()) };
    let found = not_cancelled(context.command(CommandRequest::new(stat, None)).await?)?;
    // What isn't there, or is something else that is harmless, the worker tells in its own words.
    let kind = match FileKind::of(&found) {
        Some(FileKind::Other(kind)) => kind,
        Some(FileKind::Directory) if wanted == FileKind::Regular => "a directory",
        _ => return Ok(true),
    };
    let what = if wanted == FileKind::Regular { "file" } else { "directory" };
    let path = join(&arguments.workdir, source);
    context.write_stderr(stdio, &format!("Cannot open {what} '{path}' for upload: it is {kind}\n"))?;
    Ok(false)
}

async fn upload_file(
    context: &mut StepContext<'_>,
    arguments: &UploadArguments,
    source: &str,
    master_dest: &str,
    stdio: &LogRef,
) -> Result<Results, StepEnd> {
    let command = Command::UploadFile(UploadFile {
        workdir: arguments.workdir.clone(),
        source: source.to_owned(),
        max_size: arguments.max_size,
        block_size: arguments.block_size,
        keep_stamp: arguments.keep_stamp,
    });
    let target = Target::new(context, master_dest)?;
    let ended =
        place_file(context, arguments, &target, master_dest, CommandRequest::new(command, Some(stdio))).await;
    tidied(context, target, ended).await
}

/// Removes what is left of an upload, however it ended. Only who goes on with the run still needs it; where nobody does,
/// it is removed later.
async fn tidied(
    context: &StepContext<'_>,
    target: Target,
    ended: Result<Results, StepEnd>,
) -> Result<Results, StepEnd> {
    if !matches!(ended, Err(StepEnd::Halt(_))) && !context.is_killed() {
        target.discard().await;
    }
    ended
}

async fn place_file(
    context: &mut StepContext<'_>,
    arguments: &UploadArguments,
    target: &Target,
    master_dest: &str,
    request: CommandRequest,
) -> Result<Results, StepEnd> {
    target.begin().await?;
    let transfer = Transfer::Upload { path: target.part(), max_size: arguments.max_size };
    let result = context.transfer_command(request, transfer).await?;
    let results = transferred(&result);
    if results != Results::Success {
        return Ok(results);
    }
    let stamp = result.times.filter(|_| arguments.keep_stamp);
    let what = (master_dest, arguments.mode, stamp);
    let placed: Placed =
        context.once("place_file", &what, async || target.place(arguments.mode, stamp).await).await?;
    placed.map(|()| results).map_err(StepEnd::Exception)
}

async fn upload_directory(
    context: &mut StepContext<'_>,
    arguments: &UploadArguments,
    source: &str,
    master_dest: &str,
    stdio: &LogRef,
) -> Result<Results, StepEnd> {
    let command = Command::UploadDirectory(UploadDirectory {
        workdir: arguments.workdir.clone(),
        source: source.to_owned(),
        max_size: arguments.max_size,
        block_size: arguments.block_size,
        compress: arguments.compress,
    });
    let target = Target::new(context, master_dest)?;
    let ended = place_directory(context, arguments, &target, master_dest, command, stdio).await;
    tidied(context, target, ended).await
}

async fn place_directory(
    context: &mut StepContext<'_>,
    arguments: &UploadArguments,
    target: &Target,
    master_dest: &str,
    command: Command,
    stdio: &LogRef,
) -> Result<Results, StepEnd> {
    target.begin().await?;
    let transfer = Transfer::Upload { path: target.part(), max_size: arguments.max_size };
    let result = context.transfer_command(CommandRequest::new(command, Some(stdio)), transfer).await?;
    let results = transferred(&result);
    if results != Results::Success {
        return Ok(results);
    }
    let (gz, max_size) = (arguments.compress.is_some(), arguments.max_size);
    let unpacked: Unpacked =
        context.once("unpack", &master_dest, async || target.unpack(gz, max_size).await).await?;
    match unpacked {
        Unpacked::Ok(skipped) => {
            let Skipped { named, more } = skipped.unwrap_or_default();
            for said in named {
                context.write_stderr(stdio, &format!("{said}\n"))?;
            }
            if more > 0 {
                context.write_stderr(stdio, &format!("{more} more are left out\n"))?;
            }
            Ok(results)
        }
        Unpacked::TooLarge(reason) => {
            context.write_stderr(stdio, &format!("Maximum size reached when unpacked: {reason}\n"))?;
            Ok(Results::Failure)
        }
        Unpacked::Err(reason) => Err(StepEnd::Exception(reason)),
    }
}

/// A transfer without an exit code is a success, too.
pub(super) fn transferred(result: &CommandResult) -> Results {
    if result.interrupted {
        return Results::Cancelled;
    }
    if result.rc.is_none_or(|rc| rc == 0) { Results::Success } else { Results::Failure }
}

fn not_cancelled(result: CommandResult) -> Result<CommandResult, StepEnd> {
    if result.interrupted { Err(StepEnd::Cancelled) } else { Ok(result) }
}
