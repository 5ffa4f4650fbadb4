//! `SetProperty`: one property.

use muster_core::Results;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    effects::{StepContext, StepEnd},
    steps::{arguments::Rendered, kind::StepKind},
};

/// `SetProperty`
#[derive(Deserialize)]
pub(in crate::steps) struct SetProperty {
    property: Rendered<String>,
    value: Rendered<Value>,
}

impl StepKind for SetProperty {
    const NAME: &'static str = "SetProperty";

    async fn run(&self, context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
        let name = self.property.get(context).await?;
        let value = self.value.get(context).await?;
        let source = context.name().to_owned();
        context.set_property(&name, value, &source)?;
        Ok(Results::Success)
    }

    #[cfg(test)]
    fn example() -> serde_json::Value {
        serde_json::json!({"property": "p", "value": {"$r": "property", "name": "branch"}})
    }
}
