//! `ShellSequence`: commands one after the other, each with its flags and its log.

use std::collections::BTreeMap;

use muster_core::{LogKind, Results, StepFlags, render::py_repr};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Collect, ShellArguments};
use crate::{
    effects::{LogRef, StepContext, StepEnd, truth},
    steps::{
        arguments::{Argument, Misfit, Rendered},
        command_line::CommandText,
        kind::StepKind,
    },
};

/// One of the commands, as the configuration hands over a `ShellArg`.
struct Part {
    /// An empty one is left out.
    command: Option<CommandText>,
    log: String,
    flags: StepFlags,
}

/// `ShellSequence`
#[derive(Deserialize)]
pub(in crate::steps) struct ShellSequence {
    #[serde(rename = "..shell")]
    shell: ShellArguments,
    commands: Rendered<Commands>,
}

/// The commands; each is read when its turn comes, as in Buildbot.
struct Commands(Vec<Value>);

impl Argument for Commands {
    fn read(value: Value) -> Result<Commands, Misfit> {
        match value {
            Value::Array(items) => Ok(Commands(items)),
            other => Err(Misfit::not("a list of ShellArg", &other)),
        }
    }
}

impl StepKind for ShellSequence {
    const NAME: &'static str = "ShellSequence";

    fn problems(&self) -> Vec<String> {
        let commands = self.commands.constant().map_or_else(Vec::new, |Commands(items)| items);
        commands.iter().filter_map(|item| Part::read(item).err()).collect()
    }

    async fn run(&self, context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
        let runner = self.shell.read(context).await?;
        let Commands(items) = self.commands.get(context).await?;
        let mut logs: BTreeMap<String, LogRef> = BTreeMap::new();
        let mut overall = Results::Success;
        for item in &items {
            let part = Part::read(item).map_err(StepEnd::Exception)?;
            let Some(command) = part.command else { continue };
            let command = command.announced(context);
            let log = match logs.get(&part.log) {
                Some(log) => log.clone(),
                None => context.add_log(&part.log, LogKind::Stdio)?,
            };
            logs.insert(part.log, log.clone());
            let result = runner.run(context, command, &log, Collect::default(), None).await?;
            let contribution = part.flags.contribution(runner.results(&result));
            overall = overall.worst(contribution.results);
            if contribution.stop {
                break;
            }
        }
        Ok(overall)
    }

    #[cfg(test)]
    fn example() -> Value {
        serde_json::json!({
            "commands": [{"command": "a"}, {"command": "b", "logname": "second"}, {"command": "c"}]
        })
    }
}

impl Part {
    fn read(item: &Value) -> Result<Part, String> {
        let fields = match item {
            Value::Object(fields) if fields.contains_key("command") => fields,
            other => return Err(format!("ShellSequence commands must be ShellArg, not {}", py_repr(other))),
        };
        let command = fields.get("command").unwrap_or(&Value::Null);
        let is_one = match command {
            Value::Null | Value::String(_) => true,
            Value::Array(items) => items.iter().all(Value::is_string),
            _ => false,
        };
        if !is_one {
            let shown = py_repr(command);
            return Err(format!("{shown} is an invalid command, it must be a text or a list of texts"));
        }
        let command = match truth(command) {
            true => Some(CommandText::parse(command)?),
            false => None,
        };
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
