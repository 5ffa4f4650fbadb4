//! Shell commands (`docs/compat/behaviour-5-steps.md` 5.2 and 5.3).

mod arguments;
mod cmake;
mod set_property_from_command;
mod shell_command;
mod shell_sequence;
mod tree_size;

use muster_core::render::Renderable;
use serde_json::Value;

use super::command_line::CommandText;
use crate::effects::StepContext;

pub(super) use self::{
    arguments::{Collect, ShellArguments},
    cmake::CMake,
    set_property_from_command::SetPropertyFromCommand,
    shell_command::ShellCommand,
    shell_sequence::ShellSequence,
    tree_size::TreeSize,
};

/// Makes a command the step's summary, if it is one.
pub(super) fn announce(context: &mut StepContext<'_>, command: &Value) {
    let text = CommandText::parse(command).ok();
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
