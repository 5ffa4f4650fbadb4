//! Shell commands (`docs/compat/behaviour-5-steps.md` 5.2 and 5.3).

mod arguments;
mod cmake;
mod command_line;
mod property;
mod sequence;

use muster_core::{LogKind, Results, render::Renderable};
use serde_json::Value;

use crate::effects::{StepContext, StepEnd};

pub(super) use arguments::{Collect, ShellArguments};
pub(super) use cmake::cmake;
pub(super) use command_line::{CommandText, read_env};
pub(super) use property::{set_property_from_command, tree_size};
pub(super) use sequence::shell_sequence;

/// Makes a command the step's summary, if it is one.
pub(super) fn announce(context: &mut StepContext<'_>, command: &Value) {
    let text = CommandText::read(command).ok();
    if let Some(summary) = text.and_then(|text| text.summary()) {
        context.set_summary(summary);
    }
}

/// The words of a command up to the first that has to be rendered; it stands for itself.
pub(super) fn words_before(command: &Renderable) -> Value {
    let Renderable::List(words) = command else { return Value::Null };
    let literal = words.iter().map_while(|word| match word {
        Renderable::Literal(value) => Some(value.clone()),
        _ => None,
    });
    let mut known: Vec<Value> = literal.collect();
    if known.is_empty() {
        return Value::Null;
    }
    known.push("...".into());
    known.into()
}

/// `ShellCommand`, and those that are nothing but a default command.
pub(super) async fn shell_command(context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
    let arguments = ShellArguments::read(context).await?;
    let command = ShellArguments::command(context).await?;
    let stdio = context.add_log("stdio", LogKind::Stdio)?;
    let result = arguments.run(context, command, &stdio, Collect::default(), None).await?;
    Ok(arguments.results(&result))
}
