//! What a provider of log-ins is asked over HTTP.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderValue, Request, StatusCode, Uri, header},
};
use futures_util::StreamExt;
use hyper_util::rt::TokioIo;
use muster_net::{AnyStream, connect_tls};
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};

use crate::forms::Fields;

/// How long one answer of a provider may take; Buildbot's bound.
const LIMIT: Duration = Duration::from_secs(30);
/// Bytes of an answer; a list of a thousand groups has a tenth of it.
const MAX_ANSWER: usize = 4 << 20;

/// Why a provider's answer can't be used, in words for the log and the page.
#[derive(Debug, thiserror::Error)]
#[error("{host}: {reason}")]
pub(super) struct FetchError {
    host: String,
    reason: String,
}

/// Asks and reads the answer, which is JSON or a form.
pub(super) async fn fetch(request: Request<String>) -> Result<Value, FetchError> {
    let host = request.uri().authority().map(ToString::to_string).unwrap_or_default();
    let failed = |reason: String| FetchError { host: host.clone(), reason };
    match timeout(LIMIT, ask(request)).await {
        Ok(Ok((status, text))) => {
            let value = serde_json::from_slice(&text).unwrap_or_else(|_| form(&text));
            match status.is_success() || value.get("error").is_some() {
                true => Ok(value),
                false => Err(failed(format!("it answers {status}"))),
            }
        }
        Ok(Err(reason)) => Err(failed(reason)),
        Err(_) => Err(failed(format!("it doesn't answer within {} s", LIMIT.as_secs()))),
    }
}

fn form(text: &[u8]) -> Value {
    let text = String::from_utf8_lossy(text);
    let pairs = Fields::parse(text.trim());
    pairs
        .pairs()
        .map(|(name, value)| (name.to_owned(), Value::from(value)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

async fn ask(mut request: Request<String>) -> Result<(StatusCode, Vec<u8>), String> {
    let uri = request.uri().clone();
    let stream = connect(&uri).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| format!("it speaks no HTTP: {error}"))?;
    let driving = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(connection));
    let authority = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
    let host = HeaderValue::from_str(authority).map_err(|error| error.to_string())?;
    request.headers_mut().insert(header::HOST, host);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse().map_err(|error| format!("its address can't be used: {error}"))?;
    let answer = sender.send_request(request.map(Body::from)).await;
    let answer = answer.map_err(|error| format!("it ended the connection: {error}"))?;
    let status = answer.status();
    let (mut body, mut text) = (Body::new(answer.into_body()).into_data_stream(), Vec::new());
    while let Some(part) = body.next().await {
        text.extend_from_slice(&part.map_err(|error| format!("its answer ends early: {error}"))?);
        if text.len() > MAX_ANSWER {
            return Err(format!("its answer is longer than {MAX_ANSWER} bytes"));
        }
    }
    drop(driving);
    Ok((status, text))
}

async fn connect(uri: &Uri) -> Result<AnyStream, String> {
    let secure = uri.scheme_str() == Some("https");
    let host = uri.host().ok_or("its address has no host")?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let stream =
        TcpStream::connect((host, port)).await.map_err(|error| format!("it can't be reached: {error}"))?;
    match secure {
        true => connect_tls(Box::new(stream), host).await.map_err(|error| format!("TLS failed: {error}")),
        false => Ok(Box::new(stream)),
    }
}
