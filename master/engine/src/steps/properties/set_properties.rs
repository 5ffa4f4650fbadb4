//! `SetProperties`: several properties.

use muster_core::Results;
use serde::Deserialize;

use crate::{
    effects::{StepContext, StepEnd},
    steps::{
        arguments::{Dictionary, Rendered},
        kind::StepKind,
    },
};

/// `SetProperties`
#[derive(Deserialize)]
pub(in crate::steps) struct SetProperties {
    properties: Rendered<Dictionary>,
}

impl StepKind for SetProperties {
    const NAME: &'static str = "SetProperties";

    async fn run(&self, context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
        let Dictionary(properties) = self.properties.get(context).await?;
        let source = context.name().to_owned();
        for (name, value) in properties {
            context.set_property(&name, value, &source)?;
        }
        Ok(Results::Success)
    }

    #[cfg(test)]
    fn example() -> serde_json::Value {
        serde_json::json!({"properties": {"a": 1, "b": [2]}})
    }
}
