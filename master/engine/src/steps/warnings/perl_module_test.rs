//! `PerlModuleTest`: reads what `prove` says.

use std::sync::LazyLock;

use muster_core::{LogKind, Results, pattern::Pattern};
use muster_session::command::Stream;
use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{WarningCountingShellCommand, count_in_build};
use crate::{
    effects::{LineObserver, StepContext, StepEnd},
    steps::{arguments::Rendered, command_line::CommandText, kind::StepKind, shell::Collect},
};

static FAILED: LazyLock<Regex> = LazyLock::new(|| fixed(r"Tests: \d+ Failed: (\d+)\)"));
static TOTAL: LazyLock<Regex> = LazyLock::new(|| fixed(r"Files=\d+, Tests=(\d+)"));
/// Before `prove` had a summary.
static OLD_FAILED: LazyLock<Regex> = LazyLock::new(|| fixed(r"(\d+)/(\d+) subtests failed"));

fn fixed(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is fixed")
}

/// `PerlModuleTest`
#[derive(Deserialize)]
#[serde(transparent)]
pub(in crate::steps) struct PerlModuleTest(WarningCountingShellCommand);

impl StepKind for PerlModuleTest {
    const NAME: &'static str = "PerlModuleTest";

    fn command(&self) -> Option<&Rendered<CommandText>> {
        StepKind::command(&self.0)
    }

    async fn run(&self, context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
        let runner = self.0.shell.read(context).await?;
        let command = self.0.command.get(context).await?.announced(context);
        let warning = self.0.patterns.read(context).await?.map(|patterns| patterns.warning);
        let mut observer = ProveObserver { warning, tests: Tests::default(), told: Tests::default() };
        let stdio = context.add_log("stdio", LogKind::Stdio)?;
        let result = runner.run(context, command, &stdio, Collect::default(), Some(&mut observer)).await?;
        if result.interrupted {
            return Ok(Results::Cancelled);
        }
        let tests = observer.tests;
        count_in_build(context, tests.warnings)?;
        if let Some(summary) = tests.summary() {
            context.set_outcome(summary);
        }
        Ok(match tests {
            Tests { flunked: true, .. } => Results::Failure,
            Tests { total: 0, .. } => runner.results(&result),
            Tests { warnings: 1.., .. } => Results::Warnings,
            _ => Results::Success,
        })
    }

    #[cfg(test)]
    fn example() -> Value {
        json!({"command": ["prove"]})
    }
}

/// The numbers so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Tests {
    total: u64,
    failed: u64,
    warnings: u64,
    flunked: bool,
    /// The summary of newer versions has begun.
    in_summary: bool,
}

impl Tests {
    /// `12 tests 11 passed 1 failed`; zeros are left out.
    fn summary(&self) -> Option<String> {
        if self.total == 0 {
            return None;
        }
        let counts = [
            (self.total, "tests"),
            (self.total.saturating_sub(self.failed), "passed"),
            (self.warnings, "warnings"),
            (self.failed, "failed"),
        ];
        let told =
            counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
        Some(told.collect::<Vec<_>>().join(" "))
    }

    fn read(&mut self, line: &str) {
        let number = |pattern: &Regex, group: usize| -> Option<u64> {
            pattern.captures(line)?.get(group)?.as_str().parse().ok()
        };
        if line.starts_with("Test Summary Report") {
            self.in_summary = true;
        }
        if let Some(total) = number(&TOTAL, 1) {
            self.total = total;
        }
        if !self.in_summary {
            if let (Some(failed), Some(total)) = (number(&OLD_FAILED, 1), number(&OLD_FAILED, 2)) {
                (self.failed, self.total, self.flunked) = (failed, total, true);
            }
            return;
        }
        self.failed += number(&FAILED, 1).unwrap_or(0);
        self.flunked |= self.failed > 0 || line.starts_with("Result: FAIL");
    }
}

struct ProveObserver {
    warning: Option<Pattern>,
    tests: Tests,
    /// What its news have told.
    told: Tests,
}

impl LineObserver for ProveObserver {
    fn line(&mut self, stream: &Stream, line: &str) {
        if *stream != Stream::Stdout {
            return;
        }
        if self.warning.as_ref().is_some_and(|warning| warning.is_match(line)) {
            self.tests.warnings += 1;
        }
        self.tests.read(line);
    }

    fn state(&self) -> Value {
        json!(self.tests)
    }

    fn restore(&mut self, state: Value) {
        // Such a state was made here; another version's is as good as none.
        self.tests = serde_json::from_value(state).unwrap_or_default();
        self.told = self.tests.clone();
    }

    fn news(&mut self) -> Value {
        if self.told == self.tests {
            return Value::Null;
        }
        self.told = self.tests.clone();
        self.state()
    }

    fn add(&mut self, news: Value) {
        self.restore(news);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Tests {
        let mut tests = Tests::default();
        text.lines().for_each(|line| tests.read(line));
        tests
    }

    #[test]
    fn prove_is_understood_old_and_new() {
        let good =
            read("t/a.t .. ok\nAll tests successful.\nFiles=1, Tests=8,  0 wallclock secs\nResult: PASS\n");
        assert_eq!((good.summary().unwrap().as_str(), good.flunked), ("8 tests 8 passed", false));
        let bad = read(
            "Test Summary Report\n-------\nt/a.t (Wstat: 256 Tests: 8 Failed: 3)\n  Failed tests: 1-3\n\
             Files=1, Tests=8,  0 wallclock secs\nResult: FAIL\n",
        );
        assert_eq!((bad.summary().unwrap().as_str(), bad.flunked), ("8 tests 5 passed 3 failed", true));
        let old = read("Failed 1/2 test scripts. 2/9 subtests failed.\n");
        assert_eq!((old.summary().unwrap().as_str(), old.flunked), ("9 tests 7 passed 2 failed", true));
        assert_eq!(read("no tests at all\n").summary(), None);
    }
}
