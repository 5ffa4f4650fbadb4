//! Commands whose output is searched for warnings and test results (`docs/compat/behaviour-5-steps.md` 5.3).

mod observer;
mod patterns;
mod perl_module_test;
mod suppression;
mod test;
mod warning_counting;

use serde_json::Value;

use crate::effects::{StepContext, StepEnd};

pub(super) use self::{
    perl_module_test::PerlModuleTest, test::Test, warning_counting::WarningCountingShellCommand,
};

/// The property sums up the warnings of all steps of the build.
fn count_in_build(context: &mut StepContext<'_>, count: u64) -> Result<(), StepEnd> {
    let before = context.properties().get("warnings-count").and_then(Value::as_u64).unwrap_or(0);
    context.set_property("warnings-count", (before + count).into(), "WarningCountingShellCommand")
}
