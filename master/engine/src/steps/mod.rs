//! The steps: what each kind does, written against [`StepContext`] alone. A kind is one file that implements
//! [`StepKind`](kind::StepKind), and one line in [`registry`].

mod arguments;
mod command_line;
mod download;
mod files;
mod git;
mod kind;
mod master_shell_command;
mod paths;
mod properties;
mod python;
mod secrets;
mod shell;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod trigger;
mod upload;
mod warnings;

use std::sync::LazyLock;

use muster_config::{
    ConfigError,
    snapshot::{Snapshot, StepConfig},
};
use muster_core::Results;

pub(crate) use self::upload::{clear_uploads, has_noted_uploads, noted_uploads};
use self::{
    arguments::Decoded,
    kind::{Registry, Step},
};
use crate::effects::{Halt, StepContext, StepEnd};

static REGISTRY: LazyLock<Registry> = LazyLock::new(registry);

/// The kind of steps whose code is the configuration's own. It is no part of the registry: its arguments are the host's business.
pub(crate) const CUSTOM_KIND: &str = "python";

/// All kinds of steps.
fn registry() -> Registry {
    let mut steps = Registry::default();
    steps.register::<download::FileDownload>();
    steps.register::<download::JSONPropertiesDownload>();
    steps.register::<download::StringDownload>();
    steps.register::<files::CopyDirectory>();
    steps.register::<files::FileExists>();
    steps.register::<files::MakeDirectory>();
    steps.register::<files::RemoveDirectory>();
    steps.register::<git::Git>();
    steps.register::<git::GitCommit>();
    steps.register::<git::GitHub>();
    steps.register::<git::GitPush>();
    steps.register::<git::GitTag>();
    steps.register::<master_shell_command::MasterShellCommand>();
    steps.register::<properties::Assert>();
    steps.register::<properties::LogRenderable>();
    steps.register::<properties::SetProperties>();
    steps.register::<properties::SetPropertiesFromEnv>();
    steps.register::<properties::SetProperty>();
    steps.register::<secrets::DownloadSecretsToWorker>();
    steps.register::<secrets::RemoveWorkerFileSecret>();
    steps.register::<shell::CMake>();
    steps.register::<shell::SetPropertyFromCommand>();
    steps.register::<shell::ShellCommand>();
    steps.register::<shell::ShellSequence>();
    steps.register::<shell::TreeSize>();
    steps.register::<trigger::TriggerStep>();
    steps.register::<upload::DirectoryUpload>();
    steps.register::<upload::FileUpload>();
    steps.register::<upload::MultipleFileUpload>();
    steps.register::<warnings::PerlModuleTest>();
    steps.register::<warnings::Test>();
    steps.register::<warnings::WarningCountingShellCommand>();
    steps
}

/// The configured step with its arguments decoded. Unknown ones may come from another version of Muster.
fn decoded(config: &StepConfig) -> Option<Decoded<Box<dyn Step>>> {
    REGISTRY.get(&config.kind).map(|kind| kind.decode(config))
}

/// The configured step, to say what it would run.
fn described(config: &StepConfig) -> Option<Box<dyn Step>> {
    decoded(config)?.step
}

/// How often the effects of a kind have changed ([`StepKind::CHANGES`](kind::StepKind::CHANGES)); never, for one that is
/// unknown here.
pub(crate) fn changes(kind: &str) -> u32 {
    REGISTRY.get(kind).map_or(0, |kind| kind.changes)
}

/// Lets a step that does not run say what it would have run. As in Buildbot, it is rendered all the same.
pub(crate) async fn skip(context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
    if let Some(command) = described(context.config()).as_ref().and_then(|step| step.command()) {
        let command = context.render(command.renderable()).await?;
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
    if !context.is_silent() {
        return Ok(());
    }
    let step = described(context.config());
    let Some(command) = step.as_ref().and_then(|step| step.command()) else { return Ok(()) };
    let command = match context.render(command.renderable()).await {
        Ok(command) => command,
        Err(StepEnd::Halt(halt)) => return Err(halt.0),
        // What can't be rendered can't be said, but what stands before it.
        Err(_) => shell::words_before(command.renderable()),
    };
    shell::announce(context, &command);
    Ok(())
}

/// Runs a step by its kind.
pub(crate) async fn run(context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
    if context.config().kind == CUSTOM_KIND {
        return python::python(context).await;
    }
    let Some(Decoded { step, wrong, .. }) = decoded(context.config()) else {
        let kind = &context.config().kind;
        return Err(StepEnd::Exception(format!("this version of Muster has no step {kind}")));
    };
    match step {
        Some(step) if wrong.is_empty() => step.run(context).await,
        _ => Err(StepEnd::Exception(wrong.join("\n"))),
    }
}

/// What of the steps of a configuration can't be carried out: unknown kinds, unknown arguments, wrong values.
pub fn problems(snapshot: &Snapshot) -> Vec<ConfigError> {
    let steps = snapshot.builders.iter().flat_map(|b| b.factory.steps.iter().map(move |step| (b, step)));
    let of_step = |(builder, step): (&muster_config::snapshot::BuilderConfig, &StepConfig)| {
        let error = |text: String| ConfigError {
            text: format!("builder '{}': {text}", builder.name),
            source: step.source.clone(),
        };
        step_problems(step).into_iter().map(error).collect::<Vec<_>>()
    };
    steps.flat_map(of_step).collect()
}

fn step_problems(config: &StepConfig) -> Vec<String> {
    if config.kind == CUSTOM_KIND {
        return Vec::new();
    }
    let Some(Decoded { step, wrong, unknown, .. }) = decoded(config) else {
        return vec![format!("the step {} is not supported by Muster yet", config.kind)];
    };
    let unknown = unknown.iter().map(|name| format!("{} has no argument {name}", config.kind));
    let further = step.iter().flat_map(|step| step.problems());
    wrong.into_iter().chain(unknown).chain(further).collect()
}
