//! `SetPropertyFromCommand`: properties of what a command writes.

use muster_core::{LogKind, Results, render::py_repr};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Collect, ShellArguments};
use crate::{
    effects::{CommandResult, StepContext, StepEnd},
    steps::{
        arguments::{Flag, Function, Misfit, Rendered},
        command_line::CommandText,
        kind::StepKind,
    },
};

/// Where the step says that its properties come from.
const SOURCE: &str = "SetPropertyFromCommand Step";

/// `SetPropertyFromCommand`
#[derive(Deserialize)]
pub(in crate::steps) struct SetPropertyFromCommand {
    #[serde(rename = "..shell")]
    shell: ShellArguments,
    command: Rendered<CommandText>,
    property: Rendered<Option<String>>,
    extract_fn: Option<Function>,
    strip: Rendered<Flag<true>>,
    #[serde(rename = "includeStdout")]
    include_stdout: Rendered<Flag<true>>,
    #[serde(rename = "includeStderr")]
    include_stderr: Rendered<Flag<false>>,
}

impl StepKind for SetPropertyFromCommand {
    const NAME: &'static str = "SetPropertyFromCommand";

    fn command(&self) -> Option<&Rendered<CommandText>> {
        Some(&self.command)
    }

    async fn run(&self, context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
        let runner = self.shell.read(context).await?;
        let extract = self.extract_fn.as_ref();
        let collect = Collect {
            stdout: self.include_stdout.get(context).await?.0,
            stderr: extract.is_some() || self.include_stderr.get(context).await?.0,
        };
        let command = self.command.get(context).await?.announced(context);
        let stdio = context.add_log("stdio", LogKind::Stdio)?;
        let result = runner.run(context, command, &stdio, collect, None).await?;
        let results = runner.results(&result);
        if result.interrupted {
            return Ok(results);
        }
        let failed = results.worst(Results::Failure) == results;
        let changes = match extract {
            Some(function) => extracted(context, function, &result).await?,
            None if failed => return Ok(Results::Failure),
            None => self.own_property(context, &result).await?,
        };
        tell(context, &changes)?;
        Ok(if failed { Results::Failure } else { Results::Success })
    }

    #[cfg(test)]
    fn example() -> Value {
        serde_json::json!({"command": ["x"], "property": "p"})
    }
}

impl SetPropertyFromCommand {
    async fn own_property(
        &self,
        context: &mut StepContext<'_>,
        result: &CommandResult,
    ) -> Result<Map<String, Value>, StepEnd> {
        let Some(name) = self.property.get(context).await? else {
            return Err(self.property.unfit(context, &Misfit::not("a text", &Value::Null)));
        };
        let strip = self.strip.get(context).await?.0;
        let value = if strip { result.stdout.trim() } else { &result.stdout };
        Ok(Map::from_iter([(name, Value::from(value))]))
    }
}

/// Asks the configuration's function what to set: (exit code, standard output, standard error).
async fn extracted(
    context: &mut StepContext<'_>,
    Function(function): &Function,
    result: &CommandResult,
) -> Result<Map<String, Value>, StepEnd> {
    let args = [result.rc.into(), result.stdout.as_str().into(), result.stderr.as_str().into()];
    match context.call(function, &args).await? {
        Value::Object(changes) => Ok(changes),
        other => {
            let other = py_repr(&other);
            Err(StepEnd::Exception(format!("extract_fn must return a dictionary of properties, not {other}")))
        }
    }
}

fn tell(context: &mut StepContext<'_>, changes: &Map<String, Value>) -> Result<(), StepEnd> {
    for (name, value) in changes {
        context.set_property(name, value.clone(), SOURCE)?;
    }
    let mut lines: Vec<String> =
        changes.iter().map(|(name, value)| format!("{name}: {}", py_repr(value))).collect();
    lines.sort();
    context.add_complete_log("property changes", LogKind::Text, &lines.join("\n"))?;
    let mut names = changes.keys();
    match (names.next(), names.len()) {
        (None, _) => {}
        (Some(name), 0) => context.set_outcome(format!("property '{name}' set")),
        (Some(_), more) => context.set_outcome(format!("{} properties set", more + 1)),
    }
    Ok(())
}
