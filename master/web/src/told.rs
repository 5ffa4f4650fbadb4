//! What is told of an error of the database, and as what.

use axum::http::StatusCode;
use muster_data::{Fault, StoreError};

/// 400 for what can't be stored, 503 while the database is away, 500 for our own faults only.
pub(crate) fn status(error: &StoreError) -> StatusCode {
    match error.fault() {
        Fault::Asked => StatusCode::BAD_REQUEST,
        Fault::Away => StatusCode::SERVICE_UNAVAILABLE,
        Fault::Ours => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The error of the database behind another one.
pub(crate) fn behind<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a StoreError> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<StoreError>() {
            return Some(found);
        }
        // A transparent error is its source, and has the source of that.
        if let Some(muster_data::read::Error::Store(found)) = error.downcast_ref() {
            return Some(found);
        }
        if let Some(muster_schedule::ForceError::Store(found)) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}
