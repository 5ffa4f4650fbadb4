//! `GitHub`: as `Git`, also of a pull or merge request.

use muster_core::Results;
use serde::Deserialize;

use super::{checkout_arguments::CheckoutArguments, git_step::check_out};
use crate::{
    effects::{StepContext, StepEnd},
    steps::kind::StepKind,
};

/// `GitHub`
#[derive(Deserialize)]
#[serde(transparent)]
pub(in crate::steps) struct GitHub(CheckoutArguments);

impl StepKind for GitHub {
    const NAME: &'static str = "GitHub";

    async fn run(&self, context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
        // The merge that GitHub makes of a pull request has no revision that stays.
        check_out(&self.0, context, |branch| !branch.ends_with("/merge")).await
    }

    #[cfg(test)]
    fn example() -> serde_json::Value {
        serde_json::json!({
            "repourl": "/r", "mode": "full", "method": "copy", "auth_credentials": ["me", "pw"]
        })
    }
}
