//! The call that uses a force scheduler.

use muster_data::AddedBuildset;
use muster_schedule::ForceError;
use serde_json::{Map, Value};

use super::failure::Failure;
use crate::AppState;

/// Makes the buildset that the form asks for. Nobody logs in yet, so the form's user name is the owner.
pub(super) async fn force(
    state: &AppState,
    scheduler: &str,
    params: Map<String, Value>,
) -> Result<AddedBuildset, Failure> {
    let forms = state.forcing().await;
    let forced = muster_schedule::force(&state.data, forms.of(scheduler), scheduler, None, params).await;
    forced.map_err(|error| match error {
        ForceError::Fields(texts) => {
            Failure::params(texts.into_iter().map(|(name, text)| (name, text.into())).collect::<Map<_, _>>())
        }
        ForceError::Unstorable(reason) => Failure::params(reason),
        ForceError::Store(error) => {
            tracing::error!(%error, "a force failed");
            Failure::stored(&error)
        }
        other => Failure::internal(other.to_string()),
    })
}
