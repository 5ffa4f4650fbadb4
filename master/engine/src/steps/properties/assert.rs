//! `Assert`: fails when a value is false.

use muster_core::Results;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    effects::{StepContext, StepEnd, truth},
    steps::{arguments::Rendered, kind::StepKind},
};

/// `Assert`
#[derive(Deserialize)]
pub(in crate::steps) struct Assert {
    check: Rendered<Value>,
}

impl StepKind for Assert {
    const NAME: &'static str = "Assert";

    async fn run(&self, context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
        let check = self.check.get(context).await?;
        Ok(if truth(&check) { Results::Success } else { Results::Failure })
    }

    #[cfg(test)]
    fn example() -> serde_json::Value {
        serde_json::json!({"check": 1})
    }
}
