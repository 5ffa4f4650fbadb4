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

use muster_config::{
    ConfigError,
    snapshot::{BuilderConfig, Snapshot, StepConfig},
};
use muster_core::Results;

pub(crate) use self::upload::{clear_uploads, has_noted_uploads, noted_uploads};
use crate::effects::{Halt, StepContext, StepEnd};

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

/// Turns a step's early end into its result. What it would have run is said all the same.
pub(crate) async fn settle(context: &mut StepContext<'_>, end: StepEnd) -> Result<Results, Halt> {
    if !matches!(end, StepEnd::Halt(_)) {
        speak(context).await?;
    }
    context.settle(end)
}

async fn speak(context: &mut StepContext<'_>) -> Result<(), Halt> {
    if !context.is_silent() || !SPEAK_BY_COMMAND.contains(&context.config().kind.as_str()) {
        return Ok(());
    }
    let command = match context.arg("command").await {
        Ok(command) => command,
        Err(StepEnd::Halt(halt)) => return Err(halt.0),
        // What can't be rendered can't be said, but what stands before it.
        Err(_) => shell::words_before(context.config().arg("command")),
    };
    shell::announce(context, &command);
    Ok(())
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

/// What of the steps of a configuration can't be carried out although their kinds are known: patterns.
pub fn problems(snapshot: &Snapshot) -> Vec<ConfigError> {
    let steps = snapshot.builders.iter().flat_map(|b| b.factory.steps.iter().map(move |step| (b, step)));
    let of_step = |(builder, step): (&BuilderConfig, &StepConfig)| {
        let error = |text: String| ConfigError {
            text: format!("builder '{}': {text}", builder.name),
            source: step.source.clone(),
        };
        warnings::problems(step).into_iter().map(error).collect::<Vec<_>>()
    };
    steps.flat_map(of_step).collect()
}
