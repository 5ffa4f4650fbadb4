//! Control calls: JSON-RPC 2.0 over POST (`docs/compat/www-api.md` A.6).

use axum::{
    body::Bytes,
    http::{HeaderMap, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use muster_core::{policy::Actor, python_json};
use muster_data::read::{Resource, find};
use serde_json::{Map, Value, json};

use super::{
    control::{self, carry_out, check},
    failure::{Failure, MEDIA_TYPE},
    json::{Layout, text},
};
use crate::actions::Orders;

/// A well-formed call.
#[derive(Debug)]
struct Call {
    method: String,
    params: Map<String, Value>,
    id: Value,
}

/// Carries out the call in `body` on what stands at `path`.
pub(super) async fn call(orders: &Orders<'_>, path: &[String], headers: &HeaderMap, body: Bytes) -> Response {
    let call = match parse(headers, &body) {
        Ok(call) => call,
        Err(failure) => return failure.reply(None),
    };
    let found = find(path);
    if let Err(failure) = check(orders, found.as_ref().map(|(endpoint, _)| *endpoint), &call.method) {
        return failure.reply(Some(call.id));
    }
    let Some((endpoint, args)) = found else {
        return Failure::not_found(format!("Invalid path: {}", path.join("/"))).reply(Some(call.id));
    };
    if orders.visitor.actor == Actor::Operator
        && !matches!(endpoint.resource, Resource::Worker | Resource::Master)
    {
        let why = "this port takes orders for masters and workers only; the others go to the web port";
        return Failure::forbidden(why).reply(Some(call.id));
    }
    let asked = control::Call { args: &args, method: &call.method, params: call.params };
    match carry_out(orders, endpoint, asked).await {
        Ok(result) => {
            let reply = json!({"id": call.id, "jsonrpc": "2.0", "result": result});
            (MEDIA_TYPE, text(reply, Layout::Compact)).into_response()
        }
        Err(failure) => failure.reply(Some(call.id)),
    }
}

fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Call, Failure> {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if media_type.split(';').next().map(str::trim) != Some("application/json") {
        return Err(Failure::request("Invalid content-type (use application/json)"));
    }
    let value: Value = match std::str::from_utf8(body) {
        Ok(text) => serde_json::from_str(&python_json::carried(text)),
        // The parser says where it is no UTF-8.
        Err(_) => serde_json::from_slice(body),
    }
    .map_err(|error| Failure::parse(&error))?;
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
