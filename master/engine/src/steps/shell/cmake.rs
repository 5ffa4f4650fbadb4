//! `CMake`: a command line made of its arguments.

use muster_core::{LogKind, Results, render::py_str};
use serde_json::{Map, Value};

use super::{Collect, ShellArguments};
use crate::effects::{StepContext, StepEnd};

/// `CMake`
pub(in crate::steps) async fn cmake(context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
    let arguments = ShellArguments::read(context).await?;
    let mut words = vec![context.text("cmake").await?.unwrap_or_else(|| "cmake".to_owned())];
    if let Some(generator) = context.text("generator").await?.filter(|text| !text.is_empty()) {
        words.extend(["-G".to_owned(), generator]);
    }
    let definitions: Option<Map<String, Value>> = context.typed("definitions", "a dictionary").await?;
    words.extend(definitions.iter().flatten().map(|(name, value)| format!("-D{name}={}", py_str(value))));
    words.extend(context.texts("options").await?);
    words.extend(context.text("path").await?.filter(|path| !path.is_empty()));
    let command = ShellArguments::read_command(context, &Value::from(words))?;
    let stdio = context.add_log("stdio", LogKind::Stdio)?;
    let result = arguments.run(context, command, &stdio, Collect::default(), None).await?;
    Ok(arguments.results(&result))
}
