//! `TreeSize`: the size of the tree in KiB.

use muster_core::{LogKind, Results};
use serde::Deserialize;

use super::{Collect, ShellArguments};
use crate::{
    effects::{StepContext, StepEnd},
    steps::{arguments::Rendered, command_line::CommandText, kind::StepKind},
};

/// `TreeSize`
#[derive(Deserialize)]
pub(in crate::steps) struct TreeSize {
    #[serde(rename = "..shell")]
    shell: ShellArguments,
    command: Rendered<CommandText>,
}

impl StepKind for TreeSize {
    const NAME: &'static str = "TreeSize";

    fn command(&self) -> Option<&Rendered<CommandText>> {
        Some(&self.command)
    }

    async fn run(&self, context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
        let runner = self.shell.read(context).await?;
        let command = self.command.get(context).await?.announced(context);
        let stdio = context.add_log("stdio", LogKind::Stdio)?;
        let collect = Collect { stdout: true, stderr: false };
        let result = runner.run(context, command, &stdio, collect, None).await?;
        let size = result.stdout.lines().find_map(leading_number);
        match size {
            Some(kib) => {
                context.set_property("tree-size-KiB", kib.into(), "treesize")?;
                context.set_outcome(format!("treesize {kib} KiB"));
            }
            None => context.set_outcome("treesize unknown"),
        }
        Ok(match runner.results(&result) {
            Results::Success if size.is_none() => Results::Warnings,
            results @ (Results::Success | Results::Cancelled) => results,
            _ => Results::Failure,
        })
    }

    #[cfg(test)]
    fn example() -> serde_json::Value {
        serde_json::json!({"command": "du"})
    }
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
