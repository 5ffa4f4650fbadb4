//! The steps: what each kind does, written against [`StepContext`] alone.

mod arguments;
mod download;
mod files;
mod git;
mod master_command;
mod properties;
mod shell;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod trigger;
mod upload;
mod warnings;

use muster_core::Results;

use crate::effects::{StepContext, StepEnd};

/// The kinds of steps that this engine runs; a configuration with others is refused.
pub const STEP_KINDS: &[&str] = &[
    "Assert",
    "CMake",
    "CopyDirectory",
    "DirectoryUpload",
    "FileDownload",
    "FileExists",
    "FileUpload",
    "Git",
    "GitHub",
    "JSONPropertiesDownload",
    "LogRenderable",
    "MakeDirectory",
    "MasterShellCommand",
    "MultipleFileUpload",
    "PerlModuleTest",
    "RemoveDirectory",
    "SetProperties",
    "SetPropertiesFromEnv",
    "SetProperty",
    "SetPropertyFromCommand",
    "ShellCommand",
    "ShellSequence",
    "StringDownload",
    "Test",
    "TreeSize",
    "Trigger",
    "WarningCountingShellCommand",
];

/// The kinds whose summary is their command.
const SPEAK_BY_COMMAND: &[&str] = &[
    "PerlModuleTest",
    "SetPropertyFromCommand",
    "ShellCommand",
    "Test",
    "TreeSize",
    "WarningCountingShellCommand",
];

/// Lets a step that does not run say what it would have run. As in Buildbot, it is rendered all the same.
pub(crate) async fn skip(context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
    if SPEAK_BY_COMMAND.contains(&context.config().kind.as_str()) {
        let command = context.arg("command").await?;
        shell::announce(context, &command);
    }
    Ok(Results::Skipped)
}

/// Runs a step by its kind.
pub(crate) async fn run(context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
    match context.config().kind.as_str() {
        "Assert" => properties::assert(context).await,
        "CMake" => shell::cmake(context).await,
        "CopyDirectory" => files::copy_directory(context).await,
        "DirectoryUpload" => upload::directory_upload(context).await,
        "FileDownload" => download::file_download(context).await,
        "FileExists" => files::file_exists(context).await,
        "FileUpload" => upload::file_upload(context).await,
        "Git" => git::git(context).await,
        "GitHub" => git::github(context).await,
        "JSONPropertiesDownload" => download::json_properties_download(context).await,
        "LogRenderable" => properties::log_renderable(context).await,
        "MakeDirectory" => files::make_directory(context).await,
        "MasterShellCommand" => master_command::master_shell_command(context).await,
        "MultipleFileUpload" => upload::multiple_file_upload(context).await,
        "PerlModuleTest" => warnings::perl_module_test(context).await,
        "RemoveDirectory" => files::remove_directory(context).await,
        "SetProperties" => properties::set_properties(context).await,
        "SetPropertiesFromEnv" => properties::set_properties_from_env(context).await,
        "SetProperty" => properties::set_property(context).await,
        "SetPropertyFromCommand" => shell::set_property_from_command(context).await,
        "ShellCommand" => shell::shell_command(context).await,
        "ShellSequence" => shell::shell_sequence(context).await,
        "StringDownload" => download::string_download(context).await,
        "Test" | "WarningCountingShellCommand" => warnings::warning_counting(context).await,
        "TreeSize" => shell::tree_size(context).await,
        "Trigger" => trigger::trigger(context).await,
        other => Err(StepEnd::Exception(format!("this version of Muster has no step {other}"))),
    }
}
