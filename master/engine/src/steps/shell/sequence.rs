//! `ShellSequence`: commands one after the other, each with its flags and its log.

use std::collections::BTreeMap;

use muster_core::{LogKind, Results, StepFlags, render::py_repr};
use serde_json::{Map, Value};

use super::{Collect, ShellArguments};
use crate::effects::{LogRef, StepContext, StepEnd, truth};

/// One of the commands, as the configuration hands over a `ShellArg`.
struct Part {
    command: Value,
    log: String,
    flags: StepFlags,
}

/// `ShellSequence`
pub(in crate::steps) async fn shell_sequence(context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
    let arguments = ShellArguments::read(context).await?;
    let commands = context.arg("commands").await?;
    let Value::Array(items) = commands else {
        return Err(context.unfit("commands", &commands, "a list of ShellArg"));
    };
    let mut logs: BTreeMap<String, LogRef> = BTreeMap::new();
    let mut overall = Results::Success;
    for item in &items {
        let part = Part::read(item).map_err(StepEnd::Exception)?;
        if !truth(&part.command) {
            continue;
        }
        let command = ShellArguments::read_command(context, &part.command)?;
        let log = match logs.get(&part.log) {
            Some(log) => log.clone(),
            None => context.add_log(&part.log, LogKind::Stdio)?,
        };
        logs.insert(part.log, log.clone());
        let result = arguments.run(context, command, &log, Collect::default(), None).await?;
        let contribution = part.flags.contribution(arguments.results(&result));
        overall = overall.worst(contribution.results);
        if contribution.stop {
            break;
        }
    }
    Ok(overall)
}

impl Part {
    fn read(item: &Value) -> Result<Part, String> {
        let fields = match item {
            Value::Object(fields) if fields.contains_key("command") => fields,
            other => return Err(format!("ShellSequence commands must be ShellArg, not {}", py_repr(other))),
        };
        let command = fields.get("command").cloned().unwrap_or_default();
        let all_text = |items: &[Value]| items.iter().all(Value::is_string);
        match &command {
            Value::Null | Value::String(_) => {}
            Value::Array(items) if all_text(items) => {}
            other => {
                return Err(format!(
                    "{} is an invalid command, it must be a text or a list of texts",
                    py_repr(other)
                ));
            }
        }
        let log = match fields.get("logname") {
            None | Some(Value::Null) => "stdio".to_owned(),
            Some(Value::String(name)) => name.clone(),
            Some(other) => {
                return Err(format!("ShellArg argument logname must be a text, not {}", py_repr(other)));
            }
        };
        let flags = StepFlags {
            halt_on_failure: flag(fields, "haltOnFailure")?,
            flunk_on_failure: flag(fields, "flunkOnFailure")?,
            flunk_on_warnings: flag(fields, "flunkOnWarnings")?,
            warn_on_failure: flag(fields, "warnOnFailure")?,
            warn_on_warnings: flag(fields, "warnOnWarnings")?,
            always_run: false,
        };
        Ok(Part { command, log, flags })
    }
}

fn flag(fields: &Map<String, Value>, name: &str) -> Result<bool, String> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(other) => Err(format!("ShellArg argument {name} must be a boolean, not {}", py_repr(other))),
    }
}
