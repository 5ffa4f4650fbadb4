//! Steps that work on values alone (`docs/compat/behaviour-5-steps.md` 5.8).

use muster_core::{
    LogKind, Results,
    render::{pretty, py_repr},
};
use muster_session::{
    Command,
    command::{CommandLine, Shell},
};
use serde_json::{Map, Value};

use crate::effects::{CommandRequest, StepContext, StepEnd, truth};

/// Seconds that the worker may take to tell a variable.
const VARIABLE_TIMEOUT: f64 = 60.0;

/// `SetProperty`
pub(super) async fn set_property(context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
    let name = context.required_text("property").await?;
    let value = context.arg("value").await?;
    let source = context.name().to_owned();
    context.set_property(&name, value, &source)?;
    Ok(Results::Success)
}

/// `SetProperties`
pub(super) async fn set_properties(context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
    let properties: Map<String, Value> =
        context.typed("properties", "a dictionary").await?.unwrap_or_default();
    let source = context.name().to_owned();
    for (name, value) in properties {
        context.set_property(&name, value, &source)?;
    }
    Ok(Results::Success)
}

/// `Assert`
pub(super) async fn assert(context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
    let check = context.arg("check").await?;
    Ok(if truth(&check) { Results::Success } else { Results::Failure })
}

/// `LogRenderable`
pub(super) async fn log_renderable(context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
    let content = context.arg("content").await?;
    context.add_complete_log("Output", LogKind::Text, &pretty(&content))?;
    Ok(Results::Success)
}

/// `SetPropertiesFromEnv`. A worker's environment is asked for where it is: workers don't send it along with
/// themselves, because it may hold what a master must not know.
pub(super) async fn set_properties_from_env(context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
    let variables = context.texts("variables").await?;
    let source = context.text("source").await?.unwrap_or_else(|| "WorkerEnvironment".to_owned());
    let mut told = Vec::new();
    for name in variables {
        let Some(value) = variable(context, &name).await? else { continue };
        told.push(format!("{name} = {}", py_repr(&value.as_str().into())));
        context.set_property(&name, value.into(), &source)?;
    }
    context.add_complete_log("properties", LogKind::Text, &told.join("\n"))?;
    Ok(Results::Success)
}

/// The value of a variable of the worker's process; `None` when it is empty or not set.
async fn variable(context: &mut StepContext<'_>, name: &str) -> Result<Option<String>, StepEnd> {
    let shell = Shell {
        workdir: String::new(),
        command: CommandLine::Argv(vec!["printenv".into(), name.into()]),
        timeout: Some(VARIABLE_TIMEOUT),
        log_environ: false,
        ..Shell::default()
    };
    let request = CommandRequest::new(Command::Shell(shell), None).collecting_stdout();
    let result = context.command(request).await?;
    if result.interrupted {
        return Err(StepEnd::Cancelled);
    }
    let value = result.stdout.strip_suffix('\n').unwrap_or(&result.stdout);
    Ok((result.succeeded() && !value.is_empty()).then(|| value.to_owned()))
}
