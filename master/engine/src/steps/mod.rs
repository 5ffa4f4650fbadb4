//! The steps: what each kind does, written against [`StepContext`] alone.

mod shell;

use muster_core::Results;

use crate::run::{StepContext, StepEnd};

/// The kinds of steps that this engine runs; a configuration with others is refused.
pub const STEP_KINDS: &[&str] = &["ShellCommand"];

/// Runs a step by its kind.
pub(crate) async fn run(context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
    match context.config().kind.as_str() {
        "ShellCommand" => shell::run(context).await,
        other => Err(StepEnd::Exception(format!("this version of Muster has no step {other}"))),
    }
}
