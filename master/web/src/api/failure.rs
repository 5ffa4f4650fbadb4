//! Why a control call fails, and how its client is told (`docs/compat/www-api.md` A.6).

use axum::{
    Extension,
    http::{HeaderName, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use muster_schedule::ForceError;
use serde_json::{Map, Value, json};

use super::{
    Complaint,
    json::{Layout, text},
};
use crate::{actions::Refusal, told};

/// Of every answer to a call; here Buildbot names no character set.
pub(super) const MEDIA_TYPE: [(HeaderName, &str); 1] = [(CONTENT_TYPE, "application/json")];

const PARSE_ERROR: i64 = -32_700;
const INVALID_REQUEST: i64 = -32_600;
const METHOD_NOT_FOUND: i64 = -32_601;
const INVALID_PARAMS: i64 = -32_602;
const INTERNAL_ERROR: i64 = -32_603;

/// Why a call failed.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    code: i64,
    message: Value,
}

impl Failure {
    /// What came is no call.
    pub(super) fn request(message: impl Into<Value>) -> Failure {
        Failure { status: StatusCode::BAD_REQUEST, code: INVALID_REQUEST, message: message.into() }
    }

    /// What came is no JSON.
    pub(super) fn parse(error: &serde_json::Error) -> Failure {
        Failure { code: PARSE_ERROR, ..Failure::request(format!("JSON parse error: {error}")) }
    }

    /// The path names nothing.
    pub(super) fn not_found(message: impl Into<Value>) -> Failure {
        Failure { status: StatusCode::NOT_FOUND, code: INVALID_REQUEST, message: message.into() }
    }

    /// Nobody may do that here.
    pub(super) fn forbidden(message: impl Into<Value>) -> Failure {
        Failure { status: StatusCode::FORBIDDEN, code: INVALID_REQUEST, message: message.into() }
    }

    /// The thing at the path doesn't know the method.
    pub(super) fn unsupported(method: &str) -> Failure {
        let message = format!("action: {method} is not supported").into();
        Failure { status: StatusCode::NOT_IMPLEMENTED, code: METHOD_NOT_FOUND, message }
    }

    /// The parameters are wrong.
    pub(super) fn params(message: impl Into<Value>) -> Failure {
        Failure { status: StatusCode::BAD_REQUEST, code: INVALID_PARAMS, message: message.into() }
    }

    /// The database can't, or can't now.
    pub(super) fn stored(error: &muster_data::StoreError) -> Failure {
        let status = told::status(error);
        let code = if status == StatusCode::BAD_REQUEST { INVALID_PARAMS } else { INTERNAL_ERROR };
        Failure { status, code, message: error.told().into() }
    }

    /// Anything else.
    pub(super) fn internal(message: impl Into<Value>) -> Failure {
        Failure { status: StatusCode::INTERNAL_SERVER_ERROR, code: INTERNAL_ERROR, message: message.into() }
    }

    /// The answer that tells it, to the call with this id if it had one.
    pub(super) fn reply(self, id: Option<Value>) -> Response {
        let told = Extension(Complaint(self.message.to_string()));
        let mut reply = json!({"jsonrpc": "2.0", "error": {"code": self.code, "message": self.message}});
        if let Some(id) = id {
            reply["id"] = id;
        }
        (self.status, told, MEDIA_TYPE, text(reply, Layout::Spaced)).into_response()
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        match refusal {
            Refusal::Denied(denied) => Failure::forbidden(denied.to_string()),
            Refusal::Failed(error) => error.into(),
            Refusal::Force(error) => of_force(error),
        }
    }
}

fn of_force(error: ForceError) -> Failure {
    match error {
        ForceError::Fields(texts) => {
            Failure::params(texts.into_iter().map(|(name, text)| (name, text.into())).collect::<Map<_, _>>())
        }
        ForceError::Unstorable(reason) => Failure::params(reason),
        ForceError::Store(error) => {
            tracing::error!(%error, "a force failed");
            Failure::stored(&error)
        }
        other => Failure::internal(other.to_string()),
    }
}

impl From<muster_data::read::Error> for Failure {
    fn from(error: muster_data::read::Error) -> Failure {
        tracing::error!(%error, "a control call failed");
        match error {
            muster_data::read::Error::Store(error) => Failure::stored(&error),
            other => Failure::internal(other.to_string()),
        }
    }
}
