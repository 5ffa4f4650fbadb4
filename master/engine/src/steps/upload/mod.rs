//! Files from the worker to the master (`docs/compat/behaviour-5-steps.md` 5.8). What comes is written beside its target and
//! takes its place when it is whole.

mod directory_upload;
mod file_upload;
mod multiple_file_upload;
mod place;
mod rests;
mod unpack;

use muster_core::Results;
use muster_session::{
    Command,
    command::{Compression, UploadDirectory, UploadFile},
    wire::{GATEWAY, MAX_BLOCK},
};
use serde::Deserialize;
use serde_json::Value;

pub(crate) use self::rests::{clear_uploads, has_noted_uploads, noted_uploads};
pub(super) use self::{
    directory_upload::DirectoryUpload, file_upload::FileUpload, multiple_file_upload::MultipleFileUpload,
};
use self::{
    place::{Placed, Target, Unpacked},
    unpack::Skipped,
};
use super::{
    arguments::{Argument, Flag, Misfit, Rendered},
    files::FileKind,
    paths::{base_name, join},
};
use crate::effects::{CommandRequest, CommandResult, LogRef, StepContext, StepEnd, Transfer};

/// Bytes of a block of directories, unless the step says otherwise.
const BLOCK_SIZE: u32 = 16 * 1024;

/// Arguments that all uploads have.
#[derive(Deserialize)]
struct UploadArguments {
    #[serde(rename = "masterdest")]
    master_dest: Rendered<String>,
    #[serde(rename = "maxsize")]
    max_size: Rendered<Option<u64>>,
    #[serde(rename = "blocksize")]
    block_size: Rendered<Option<u32>>,
    url: Rendered<Option<String>>,
    #[serde(rename = "urlText")]
    url_text: Rendered<Option<String>>,
}

/// What an upload takes over from the file on the worker.
#[derive(Deserialize)]
struct FileArguments {
    mode: Rendered<Option<u32>>,
    #[serde(rename = "keepstamp")]
    keep_stamp: Rendered<Flag<false>>,
}

/// How the stream is packed on its way. The files are the same either way, and not all workers know bzip2.
struct Packing;

impl Argument for Packing {
    fn read(value: Value) -> Result<Packing, Misfit> {
        match value.as_str() {
            Some("gz" | "bz2") => Ok(Packing),
            _ => Err(Misfit::not("one of None, 'gz', or 'bz2'", &value)),
        }
    }
}

/// The arguments of an upload for the running build.
struct Upload {
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
    /// `block_size` is for steps that don't say anything; `file` and `packing` for kinds that have them.
    async fn read(
        &self,
        context: &mut StepContext<'_>,
        block_size: u32,
        file: Option<&FileArguments>,
        packing: Option<&Rendered<Option<Packing>>>,
    ) -> Result<Upload, StepEnd> {
        let block_size = self.block_size.get(context).await?.unwrap_or(block_size);
        let workdir = context.workdir().await?;
        let master_dest = self.master_dest.get(context).await?;
        let max_size = self.max_size.get(context).await?;
        let (mut mode, mut keep_stamp, mut compress) = (None, false, None);
        if let Some(file) = file {
            mode = file.mode.get(context).await?;
            keep_stamp = file.keep_stamp.get(context).await?.0;
        }
        if let Some(packing) = packing {
            compress = packing.get(context).await?.map(|Packing| Compression::Gz);
        }
        Ok(Upload {
            workdir,
            master_dest,
            max_size,
            block_size: block_size.clamp(1, MAX_BLOCK as u32),
            mode,
            keep_stamp,
            compress,
            url: self.url.get(context).await?,
            url_text: self.url_text.get(context).await?,
        })
    }
}

impl Upload {
    fn link(&self, context: &mut StepContext<'_>) {
        if let Some(url) = &self.url {
            let text = self.url_text.clone().unwrap_or_else(|| base_name(&self.master_dest).to_owned());
            context.add_url(&text, url);
        }
    }
}

/// Asks a stock worker what a source is: it stands still, for all its builds, when it opens a FIFO. Muster's own worker
/// looks by itself.
async fn may_be_sent(
    context: &mut StepContext<'_>,
    upload: &Upload,
    source: &str,
    wanted: FileKind,
    stdio: &LogRef,
) -> Result<bool, StepEnd> {
    if context.worker_info(GATEWAY).is_none() {
        return Ok(true);
    }
    let stat = Command::Stat { file: source.to_owned(), workdir: Some(upload.workdir.clone()) };
    let found = not_cancelled(context.command(CommandRequest::new(stat, None)).await?)?;
    // What isn't there, or is something else that is harmless, the worker tells in its own words.
    let kind = match FileKind::of(&found) {
        Some(FileKind::Other(kind)) => kind,
        Some(FileKind::Directory) if wanted == FileKind::Regular => "a directory",
        _ => return Ok(true),
    };
    let what = if wanted == FileKind::Regular { "file" } else { "directory" };
    let path = join(&upload.workdir, source);
    context.write_stderr(stdio, &format!("Cannot open {what} '{path}' for upload: it is {kind}\n"))?;
    Ok(false)
}

async fn upload_file(
    context: &mut StepContext<'_>,
    upload: &Upload,
    source: &str,
    master_dest: &str,
    stdio: &LogRef,
) -> Result<Results, StepEnd> {
    let command = Command::UploadFile(UploadFile {
        workdir: upload.workdir.clone(),
        source: source.to_owned(),
        max_size: upload.max_size,
        block_size: upload.block_size,
        keep_stamp: upload.keep_stamp,
    });
    let target = Target::new(context, master_dest)?;
    let ended =
        place_file(context, upload, &target, master_dest, CommandRequest::new(command, Some(stdio))).await;
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
    upload: &Upload,
    target: &Target,
    master_dest: &str,
    request: CommandRequest,
) -> Result<Results, StepEnd> {
    target.begin().await?;
    let transfer = Transfer::Upload { path: target.part(), max_size: upload.max_size };
    let result = context.transfer_command(request, transfer).await?;
    let results = transferred(&result);
    if results != Results::Success {
        return Ok(results);
    }
    let stamp = result.times.filter(|_| upload.keep_stamp);
    let what = (master_dest, upload.mode, stamp);
    let placed: Placed =
        context.once("place_file", &what, async || target.place(upload.mode, stamp).await).await?;
    placed.map(|()| results).map_err(StepEnd::Exception)
}

async fn upload_directory(
    context: &mut StepContext<'_>,
    upload: &Upload,
    source: &str,
    master_dest: &str,
    stdio: &LogRef,
) -> Result<Results, StepEnd> {
    let command = Command::UploadDirectory(UploadDirectory {
        workdir: upload.workdir.clone(),
        source: source.to_owned(),
        max_size: upload.max_size,
        block_size: upload.block_size,
        compress: upload.compress,
    });
    let target = Target::new(context, master_dest)?;
    let ended = place_directory(context, upload, &target, master_dest, command, stdio).await;
    tidied(context, target, ended).await
}

async fn place_directory(
    context: &mut StepContext<'_>,
    upload: &Upload,
    target: &Target,
    master_dest: &str,
    command: Command,
    stdio: &LogRef,
) -> Result<Results, StepEnd> {
    target.begin().await?;
    let transfer = Transfer::Upload { path: target.part(), max_size: upload.max_size };
    let result = context.transfer_command(CommandRequest::new(command, Some(stdio)), transfer).await?;
    let results = transferred(&result);
    if results != Results::Success {
        return Ok(results);
    }
    let (gz, max_size) = (upload.compress.is_some(), upload.max_size);
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
