//! `SetPropertiesFromEnv`: variables of the worker's process as properties.

use muster_core::{LogKind, Results, render::py_repr};
use muster_session::{
    Command,
    command::{CommandLine, Shell},
};
use serde::Deserialize;

use crate::{
    effects::{CommandRequest, StepContext, StepEnd},
    steps::{
        arguments::{Rendered, Texts},
        kind::StepKind,
    },
};

/// Seconds that the worker may take to tell a variable.
const VARIABLE_TIMEOUT: f64 = 60.0;

/// `SetPropertiesFromEnv`
#[derive(Deserialize)]
pub(in crate::steps) struct SetPropertiesFromEnv {
    variables: Rendered<Texts>,
    source: Rendered<Option<String>>,
}

impl StepKind for SetPropertiesFromEnv {
    const NAME: &'static str = "SetPropertiesFromEnv";

    async fn run(&self, context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
        // A worker's environment is asked for where it is: workers don't send it along with themselves, because it may
        // hold what a master must not know.
        let Texts(variables) = self.variables.get(context).await?;
        let source = self.source.get(context).await?.unwrap_or_else(|| "WorkerEnvironment".to_owned());
        let mut told = Vec::new();
        for name in variables {
            let Some(value) = variable(context, &name).await? else { continue };
            told.push(format!("{name} = {}", py_repr(&value.as_str().into())));
            context.set_property(&name, value.into(), &source)?;
        }
        context.add_complete_log("properties", LogKind::Text, &told.join("\n"))?;
        Ok(Results::Success)
    }

    #[cfg(test)]
    fn example() -> serde_json::Value {
        serde_json::json!({"variables": ["HOME", "NONE"]})
    }
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
