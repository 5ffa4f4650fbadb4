//! REST v2: transport rules (`docs/compat/www-api.md` A.1). What stands at the paths is told by `data`.

mod control;
mod cors;
mod failure;
pub(crate) mod json;
mod long;
mod rpc;

use axum::{
    Extension, Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{
        HeaderMap, HeaderValue, Method, StatusCode, Uri,
        header::{
            ACCEPT, ACCEPT_ENCODING, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, EXPIRES, ORIGIN,
            PRAGMA,
        },
    },
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{any, post},
};
use futures_util::StreamExt;
use jiff::Timestamp;
use json::Layout;
use muster_config::snapshot::Snapshot;
use muster_core::policy::{Action, Target};
use muster_data::read::{DataBytes, Error, ForceSchedulers, Found, LogText};
use muster_schedule::force_spec;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tower_http::compression::CompressionLayer;

pub(crate) use cors::Origin;

use crate::{AppState, actions::Orders, auth::Visitor, forcing::Forms, told};

pub(crate) fn router() -> Router<AppState> {
    Router::new()
        .route("/api", any(versions))
        .route("/api/v2", any(endpoint))
        .route("/api/v2/{*path}", any(endpoint))
        .route("/api/v2/", any(endpoint))
        .route("/api/latest", any(endpoint))
        .route("/api/latest/{*path}", any(endpoint))
        .route("/api/latest/", any(endpoint))
        .layer(CompressionLayer::new())
        .layer(middleware::from_fn(uncompressed_head))
}

/// What a master's operators may ask for on a port of their own: orders that end processes.
pub(crate) fn operators() -> Router<AppState> {
    Router::new().route("/api/v2/masters/{*path}", post(order)).route("/api/v2/workers/{*path}", post(order))
}

/// Browsers name the page that a post comes from; no page is to reach this port.
async fn order(State(state): State<AppState>, request: Request) -> Response {
    let from_a_page =
        [ORIGIN.as_str(), "sec-fetch-site"].iter().any(|name| request.headers().contains_key(*name));
    if from_a_page {
        return plain_error(
            StatusCode::FORBIDDEN,
            json!({"error": {"message": "this port takes no orders of web pages"}}),
        );
    }
    let visitor = Visitor::operator(&state.config(), &state.policies);
    post_reply(&state, request, &visitor).await
}

/// A HEAD tells the length of the uncompressed answer.
async fn uncompressed_head(mut request: Request, next: Next) -> Response {
    if request.method() == Method::HEAD {
        request.headers_mut().remove(ACCEPT_ENCODING);
    }
    next.run(request).await
}

async fn versions(State(state): State<AppState>) -> Response {
    let config = state.config();
    // As in Buildbot, a minimum is served, and not told.
    let told = minimum_version(&config) < REST_VERSION;
    let versions = if told { json!({"v2": format!("{}api/v2", config.buildbot_url)}) } else { json!({}) };
    json_reply(StatusCode::OK, json!({"api_versions": versions}), Layout::Compact)
}

/// The version of the interface.
const REST_VERSION: f64 = 2.0;

/// `c['www']['rest_minimum_version']`: older interfaces are off.
fn minimum_version(config: &Snapshot) -> f64 {
    config.www.raw.get("rest_minimum_version").and_then(Value::as_f64).unwrap_or(0.0)
}

/// What a client was told that went wrong, for `c['www']['debug']`.
#[derive(Clone)]
struct Complaint(String);

/// `c['www']['json_cache_seconds']`: how long an answer stays good.
fn cached(config: &Snapshot, mut response: Response) -> Response {
    let seconds = config.www.raw.get("json_cache_seconds").and_then(Value::as_f64).unwrap_or(0.0);
    if seconds > 0.0
        && let Ok(until) = Timestamp::from_second(muster_data::now().0.saturating_add(seconds as i64))
        && let Ok(until) = HeaderValue::from_str(&until.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())
    {
        response.headers_mut().insert(EXPIRES, until);
        response.headers_mut().insert(PRAGMA, HeaderValue::from_static("no-cache"));
    }
    response
}

async fn endpoint(State(state): State<AppState>, visitor: Visitor, request: Request) -> Response {
    let config = state.config();
    if minimum_version(&config) > REST_VERSION {
        let why = "c['www']['rest_minimum_version'] has switched this version off";
        return error_reply(StatusCode::NOT_FOUND, why);
    }
    let asked = request.uri().path().to_owned();
    let response = checked(&state, &visitor, request).await;
    let debug =
        config.www.raw.get("debug").is_some_and(|debug| !matches!(debug, Value::Null | Value::Bool(false)));
    if debug && let Some(Complaint(text)) = response.extensions().get() {
        tracing::info!(path = asked, status = response.status().as_u16(), "REST error: {text}");
    }
    response
}

async fn checked(state: &AppState, visitor: &Visitor, request: Request) -> Response {
    let post = request.method() == Method::POST;
    let origin = match Origin::check(&state.config(), request.headers()) {
        Ok(origin) => origin,
        Err(refusal) => return refused(post, refusal),
    };
    let mut response = match *request.method() {
        Method::GET | Method::HEAD => {
            let action = if request.method() == Method::HEAD { Action::Head } else { Action::Get };
            match visitor.may(action, &Target::default()) {
                Ok(_) => get(state, request.uri(), request.headers()).await,
                Err(denied) => error_reply(StatusCode::FORBIDDEN, &denied.to_string()),
            }
        }
        Method::POST => post_reply(state, request, visitor).await,
        Method::OPTIONS if origin.is_given() => match cors::preflight(request.headers()) {
            Ok(()) => StatusCode::OK.into_response(),
            Err(refusal) => refused(false, refusal),
        },
        _ => refused(false, "invalid HTTP method"),
    };
    origin.allow(response.headers_mut());
    response
}

async fn post_reply(state: &AppState, request: Request, visitor: &Visitor) -> Response {
    let (parts, body) = request.into_parts();
    // It was read within its bounds before.
    match axum::body::to_bytes(body, usize::MAX).await {
        Ok(body) => rpc::call(&Orders { state, visitor }, &path_of(&parts.uri), &parts.headers, body).await,
        Err(error) => error_reply(StatusCode::BAD_REQUEST, &error.to_string()),
    }
}

async fn get(state: &AppState, uri: &Uri, headers: &HeaderMap) -> Response {
    let layout = match headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()) {
        Some(accept) if accept.contains("application/json") => Layout::Compact,
        _ => Layout::Indented,
    };
    let path = path_of(uri);
    let forcing = match path.iter().any(|part| part == "forceschedulers") {
        true => Some(state.forcing().await),
        false => None,
    };
    match state.data.get(&path, &query_of(uri), &FromSnapshot(forcing)).await {
        Ok(Found::List { plural, page }) => {
            let list = json!({plural: page.items, "meta": {"total": page.total}});
            cached(&state.config(), json_reply(StatusCode::OK, list, layout))
        }
        Ok(Found::Single { plural, item }) => {
            let single = json!({plural: [item], "meta": {}});
            cached(&state.config(), json_reply(StatusCode::OK, single, layout))
        }
        Ok(Found::Rows { plural, total, rows }) => {
            cached(&state.config(), long::list(plural, total, rows, layout))
        }
        Ok(Found::Contents { plural, item, contents }) => {
            cached(&state.config(), long::contents(plural, item, contents, layout))
        }
        Ok(Found::Log { text, attachment }) => log_reply(text, attachment),
        Ok(Found::Data(data)) => data_reply(data),
        Err(error) => read_error(&error),
    }
}

/// Force schedulers stand in configurations only.
struct FromSnapshot(Option<Forms>);

impl ForceSchedulers for FromSnapshot {
    fn specs(&self) -> Vec<Value> {
        let schedulers = self.0.iter().flat_map(Forms::schedulers);
        schedulers.filter_map(|scheduler| force_spec(scheduler, true)).collect()
    }
}

/// The decoded parts of a path below `/api/v2`; none for the root itself.
fn path_of(uri: &Uri) -> Vec<String> {
    let decode = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
    uri.path().split('/').skip(3).map(decode).collect()
}

/// The query parameters, in their order. As in Buildbot, what has no `=` is none.
pub(crate) fn query_of(uri: &Uri) -> Vec<(String, String)> {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let pairs = uri.query().unwrap_or_default().split('&');
    pairs.filter_map(|pair| pair.split_once('=')).map(|(name, value)| (decode(name), decode(value))).collect()
}

fn read_error(error: &Error) -> Response {
    match error {
        Error::BadRequest(_) => error_reply(StatusCode::BAD_REQUEST, &error.to_string()),
        Error::InvalidPath(_) | Error::NotFound(_) => error_reply(StatusCode::NOT_FOUND, &error.to_string()),
        Error::Store(error) => {
            tracing::error!(%error, "a REST request failed");
            error_reply(told::status(error), &error.told())
        }
    }
}

pub(crate) fn json_reply(status: StatusCode, value: Value, layout: Layout) -> Response {
    (status, [(CONTENT_TYPE, json_type(layout))], json::text(value, layout)).into_response()
}

fn json_type(layout: Layout) -> &'static str {
    match layout {
        Layout::Indented => "text/plain; charset=utf-8",
        _ => "application/json; charset=utf-8",
    }
}

fn error_reply(status: StatusCode, text: &str) -> Response {
    plain_error(status, json!({"error": text}))
}

fn refused(post: bool, text: &str) -> Response {
    let error = if post { json!({"error": {"message": text}}) } else { json!({"error": text}) };
    plain_error(StatusCode::BAD_REQUEST, error)
}

fn plain_error(status: StatusCode, error: Value) -> Response {
    let told = Extension(Complaint(error.to_string()));
    (status, told, [(CONTENT_TYPE, "text/plain; charset=utf-8")], json::text(error, Layout::Spaced))
        .into_response()
}

/// Sends a log part by part, as it is read.
fn log_reply(text: LogText, attachment: bool) -> Response {
    let media_type = format!("{}; charset=utf-8", text.media_type);
    let text_name = text.file_name.clone();
    let parts = futures_util::stream::unfold(Some(text), |text| async move {
        let mut text = text?;
        match text.next().await {
            Ok(Some(part)) => Some((Ok(Bytes::from(part)), Some(text))),
            Ok(None) => None,
            Err(error) => {
                tracing::error!(%error, "a log could not be sent to its end");
                Some((Err(error), None))
            }
        }
    });
    // Whoever compresses asks once more after the end.
    let mut response = Body::from_stream(parts.fuse()).into_response();
    let headers = response.headers_mut();
    headers.remove(CONTENT_LENGTH);
    if let Ok(value) = HeaderValue::from_str(&media_type) {
        headers.insert(CONTENT_TYPE, value);
    }
    if attachment {
        name_file(headers, &text_name);
    }
    response
}

fn data_reply(data: DataBytes) -> Response {
    let media_type = "application/octet-stream; charset=utf-8";
    let mut response = ([(CONTENT_TYPE, media_type)], data.bytes).into_response();
    name_file(response.headers_mut(), &data.name);
    response
}

/// Has a browser store the reply under this name.
fn name_file(headers: &mut HeaderMap, name: &str) {
    // A name that no header can carry is left to the browser to invent.
    if let Ok(value) = HeaderValue::from_bytes(format!("attachment; filename={name}").as_bytes()) {
        headers.insert(CONTENT_DISPOSITION, value);
    }
}
