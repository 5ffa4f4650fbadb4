//! `CMake`: a command line made of its arguments.

use muster_core::{LogKind, Results, render::py_str};
use serde::Deserialize;

use super::{Collect, ShellArguments};
use crate::{
    effects::{StepContext, StepEnd},
    steps::{
        arguments::{Dictionary, Rendered, Texts},
        command_line::CommandText,
        kind::StepKind,
    },
};

/// `CMake`
#[derive(Deserialize)]
pub(in crate::steps) struct CMake {
    #[serde(rename = "..shell")]
    shell: ShellArguments,
    cmake: Rendered<Option<String>>,
    generator: Rendered<Option<String>>,
    definitions: Rendered<Dictionary>,
    options: Rendered<Texts>,
    path: Rendered<Option<String>>,
}

impl StepKind for CMake {
    const NAME: &'static str = "CMake";

    async fn run(&self, context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
        let runner = self.shell.read(context).await?;
        let mut words = vec![self.cmake.get(context).await?.unwrap_or_else(|| "cmake".to_owned())];
        if let Some(generator) = self.generator.get(context).await?.filter(|text| !text.is_empty()) {
            words.extend(["-G".to_owned(), generator]);
        }
        let Dictionary(definitions) = self.definitions.get(context).await?;
        words.extend(definitions.iter().map(|(name, value)| format!("-D{name}={}", py_str(value))));
        words.extend(self.options.get(context).await?.0);
        words.extend(self.path.get(context).await?.filter(|path| !path.is_empty()));
        let command = CommandText::of_words(words).announced(context);
        let stdio = context.add_log("stdio", LogKind::Stdio)?;
        let result = runner.run(context, command, &stdio, Collect::default(), None).await?;
        Ok(runner.results(&result))
    }

    #[cfg(test)]
    fn example() -> serde_json::Value {
        serde_json::json!({"path": "..", "definitions": {"A": 1}, "generator": "Ninja"})
    }
}
