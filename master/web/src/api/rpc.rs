//! Control calls: JSON-RPC 2.0 over POST (`compat/www-api.md` A.6).

use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderName, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use muster_data::read::find;
use serde_json::{Map, Value, json};

use super::{
    control::carry_out,
    json::{Layout, text},
};
use crate::AppState;

/// Of every answer; here Buildbot names no character set.
const MEDIA_TYPE: [(HeaderName, &str); 1] = [(CONTENT_TYPE, "application/json")];

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
    fn request(message: impl Into<Value>) -> Failure {
        Failure { status: StatusCode::BAD_REQUEST, code: INVALID_REQUEST, message: message.into() }
    }

    /// The path names nothing.
    pub(super) fn not_found(message: impl Into<Value>) -> Failure {
        Failure { status: StatusCode::NOT_FOUND, code: INVALID_REQUEST, message: message.into() }
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

    /// Anything else.
    pub(super) fn internal(message: impl Into<Value>) -> Failure {
        Failure { status: StatusCode::INTERNAL_SERVER_ERROR, code: INTERNAL_ERROR, message: message.into() }
    }
}

impl From<muster_data::read::Error> for Failure {
    fn from(error: muster_data::read::Error) -> Failure {
        tracing::error!(%error, "a control call failed");
        Failure::internal(error.to_string())
    }
}

/// A well-formed call.
#[derive(Debug)]
struct Call {
    method: String,
    params: Map<String, Value>,
    id: Value,
}

/// Carries out the call in `body` on what stands at `path`.
pub(super) async fn call(state: &AppState, path: &[String], headers: &HeaderMap, body: Bytes) -> Response {
    let call = match parse(headers, &body) {
        Ok(call) => call,
        Err(failure) => return failure_reply(failure, None),
    };
    let Some((endpoint, args)) = find(path) else {
        return failure_reply(Failure::not_found(format!("Invalid path: {}", path.join("/"))), Some(call.id));
    };
    match carry_out(state, endpoint, &args, &call.method, call.params).await {
        Ok(result) => {
            let reply = json!({"id": call.id, "jsonrpc": "2.0", "result": result});
            (MEDIA_TYPE, text(reply, Layout::Compact)).into_response()
        }
        Err(failure) => failure_reply(failure, Some(call.id)),
    }
}

fn failure_reply(failure: Failure, id: Option<Value>) -> Response {
    let mut reply = json!({"jsonrpc": "2.0", "error": {"code": failure.code, "message": failure.message}});
    if let Some(id) = id {
        reply["id"] = id;
    }
    (failure.status, MEDIA_TYPE, text(reply, Layout::Spaced)).into_response()
}

fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Call, Failure> {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if media_type.split(';').next().map(str::trim) != Some("application/json") {
        return Err(Failure::request("Invalid content-type (use application/json)"));
    }
    let value: Value = serde_json::from_slice(body).map_err(|error| Failure {
        code: PARSE_ERROR,
        ..Failure::request(format!("JSON parse error: {error}"))
    })?;
    let mut call = match value {
        Value::Object(call) => call,
        Value::Array(_) => return Err(Failure::request("JSONRPC batch requests are not supported")),
        _ => return Err(Failure::request("JSONRPC root object must be an object")),
    };
    let mut take = |key: &str, fits: fn(&Value) -> bool, wanted: &str| {
        let value = call.remove(key).ok_or_else(|| Failure::request(format!("missing key '{key}'")))?;
        if fits(&value) { Ok(value) } else { Err(Failure::request(format!("'{key}' must be {wanted}"))) }
    };
    let version = take("jsonrpc", Value::is_string, "a string")?;
    let method = take("method", Value::is_string, "a string")?;
    let id = take(
        "id",
        |id| id.is_string() || id.is_i64() || id.is_u64() || id.is_null(),
        "a string, number, or null",
    )?;
    let params = take("params", Value::is_object, "an object")?;
    if version != "2.0" {
        return Err(Failure::request("only JSONRPC 2.0 is supported"));
    }
    match (method, params) {
        (Value::String(method), Value::Object(params)) => Ok(Call { method, params, id }),
        _ => Err(Failure::request("'params' must be an object")),
    }
}
