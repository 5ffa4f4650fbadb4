//! Steps that make properties of what a command writes.

use muster_core::{LogKind, Results, render::py_repr};
use serde_json::{Map, Value};

use super::{Collect, ShellArguments};
use crate::effects::{CommandResult, StepContext, StepEnd};

/// Where `SetPropertyFromCommand` says that its properties come from.
const SOURCE: &str = "SetPropertyFromCommand Step";

/// `SetPropertyFromCommand`
pub(in crate::steps) async fn set_property_from_command(
    context: &mut StepContext<'_>,
) -> Result<Results, StepEnd> {
    let arguments = ShellArguments::read(context).await?;
    let extracts = context.config().args.get("extract_fn").is_some_and(|value| !value.is_none());
    let collect = Collect {
        stdout: context.flag("includeStdout", true).await?,
        stderr: extracts || context.flag("includeStderr", false).await?,
    };
    let command = ShellArguments::command(context).await?;
    let stdio = context.add_log("stdio", LogKind::Stdio)?;
    let result = arguments.run(context, command, &stdio, collect, None).await?;
    let results = arguments.results(&result);
    if result.interrupted {
        return Ok(results);
    }
    let failed = results.worst(Results::Failure) == results;
    let changes = if extracts {
        extract(context, &result).await?
    } else if failed {
        return Ok(Results::Failure);
    } else {
        own_property(context, &result).await?
    };
    tell(context, &changes)?;
    Ok(if failed { Results::Failure } else { Results::Success })
}

async fn own_property(
    context: &mut StepContext<'_>,
    result: &CommandResult,
) -> Result<Map<String, Value>, StepEnd> {
    let name = context.required_text("property").await?;
    let strip = context.flag("strip", true).await?;
    let value = if strip { result.stdout.trim() } else { &result.stdout };
    Ok(Map::from_iter([(name, Value::from(value))]))
}

/// Asks the configuration's function what to set: (exit code, standard output, standard error).
async fn extract(
    context: &mut StepContext<'_>,
    result: &CommandResult,
) -> Result<Map<String, Value>, StepEnd> {
    let Some(function) = context.config().callable("extract_fn").cloned() else {
        return Err(StepEnd::Exception(
            "SetPropertyFromCommand argument extract_fn must be a function".to_owned(),
        ));
    };
    let args = [result.rc.into(), result.stdout.as_str().into(), result.stderr.as_str().into()];
    match context.call(&function, &args).await? {
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

/// `TreeSize`: the size of the tree in KiB.
pub(in crate::steps) async fn tree_size(context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
    let arguments = ShellArguments::read(context).await?;
    let command = ShellArguments::command(context).await?;
    let stdio = context.add_log("stdio", LogKind::Stdio)?;
    let collect = Collect { stdout: true, stderr: false };
    let result = arguments.run(context, command, &stdio, collect, None).await?;
    let size = result.stdout.lines().find_map(leading_number);
    match size {
        Some(kib) => {
            context.set_property("tree-size-KiB", kib.into(), "treesize")?;
            context.set_outcome(format!("treesize {kib} KiB"));
        }
        None => context.set_outcome("treesize unknown"),
    }
    Ok(match arguments.results(&result) {
        Results::Success if size.is_none() => Results::Warnings,
        Results::Success | Results::Cancelled => arguments.results(&result),
        _ => Results::Failure,
    })
}

fn leading_number(line: &str) -> Option<i64> {
    let end = line.find(|c: char| !c.is_ascii_digit()).unwrap_or(line.len());
    line[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn du_writes_the_number_first() {
        assert_eq!(leading_number("1234\t."), Some(1234));
        assert_eq!(leading_number("du: 12"), None);
        assert_eq!(leading_number(""), None);
    }
}
