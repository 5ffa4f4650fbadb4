//! Bodies of requests: read whole, within bounds of size, time and the budget, before anybody looks at them.

use std::time::Duration;

use axum::{
    body::Bytes,
    extract::Request,
    http::{StatusCode, header},
    response::Response,
};
use futures_util::StreamExt;
use hyper::body::Body as _;
use tokio::time::{Instant, timeout_at};

use crate::budget::{self, Share};

/// Bytes of a body where only ids and reasons are posted; a longer one is answered with 413.
const SMALL: usize = 64 << 10;
/// Bytes of a posted force form or call: the longest file field of Buildbot's force forms (10 MiB) with its neighbours, in
/// JSON with its escapes.
const FORCE: usize = 16 << 20;
/// Bytes of what a hook is told; Buildbot takes 5 MB and more.
const HOOK: usize = 8 << 20;
/// How long a body may take, and how many bytes buy a second more; then the request is answered with 408.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
const BYTES_PER_SECOND: usize = 64 << 10;

/// Fields of a form; one with more is answered with 400. A force form has one for each of its parameters, and one post
/// cancels up to 1 000 requests.
const MAX_FIELDS: usize = 4_096;
/// Parameters of an address, each of which is a condition for the database; one with more is answered with 400.
const MAX_PARAMETERS: usize = 1_000;
/// Values in a JSON text, counted with the names; one with more is answered with 400. Each takes up to a hundred bytes, however
/// short its text is.
const MAX_VALUES: usize = 100_000;

/// What is wrong with the number of things in this request, if something is.
pub(crate) fn refused(request: &Request<Bytes>) -> Option<String> {
    let separators = |text: &[u8]| text.iter().filter(|byte| **byte == b'&').count();
    let uri = request.uri();
    if separators(uri.query().unwrap_or_default().as_bytes()) >= MAX_PARAMETERS {
        return Some(format!("the address has more than {MAX_PARAMETERS} parameters"));
    }
    if uri.path().starts_with("/api") {
        return too_many_values(request.body());
    }
    (separators(request.body()) >= MAX_FIELDS).then(|| format!("the form has more than {MAX_FIELDS} fields"))
}

/// Says it when a JSON text has too many values. It is asked before the text is parsed.
pub(crate) fn too_many_values(json: &[u8]) -> Option<String> {
    let (mut values, mut is_text, mut is_escaped) = (1_usize, false, false);
    for byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            b',' | b':' | b'[' | b'{' if !is_text => values += 1,
            _ => {}
        }
    }
    (values > MAX_VALUES).then(|| format!("the JSON has more than {MAX_VALUES} values"))
}

fn limit(path: &str) -> usize {
    if path.starts_with("/change_hook") {
        HOOK
    } else if path.starts_with("/api/") && path.contains("/forceschedulers/")
        || path.starts_with("/builders/") && path.contains("/force/")
    {
        FORCE
    } else {
        SMALL
    }
}

/// The request with its whole body in memory, and what that takes of the budget.
pub(crate) async fn read(request: Request) -> Result<(Request<Bytes>, Option<Share>), Response> {
    if request.body().is_end_stream() {
        return Ok((request.map(|_| Bytes::new()), None));
    }
    let path = request.uri().path().to_owned();
    let limit = limit(&path);
    let too_long = || {
        let text = format!("the body is longer than {limit} bytes");
        budget::refusal(&path, StatusCode::PAYLOAD_TOO_LARGE, &text)
    };
    let told =
        request.headers().get(header::CONTENT_LENGTH).and_then(|told| told.to_str().ok()?.parse().ok());
    if told.is_some_and(|told: usize| told > limit) {
        return Err(too_long());
    }
    let (parts, body) = request.into_parts();
    let mut stream = body.into_data_stream();
    let (mut bytes, mut sum) = (Vec::new(), None);
    let mut deadline = Instant::now() + BODY_TIMEOUT;
    loop {
        let part = match timeout_at(deadline, stream.next()).await {
            Ok(None) => break,
            Ok(Some(Ok(part))) => part,
            Ok(Some(Err(error))) => {
                let text = format!("the body could not be read: {error}");
                return Err(budget::refusal(&path, StatusCode::BAD_REQUEST, &text));
            }
            Err(_) => {
                return Err(budget::refusal(
                    &path,
                    StatusCode::REQUEST_TIMEOUT,
                    "the body did not come in time",
                ));
            }
        };
        if bytes.len() + part.len() > limit {
            return Err(too_long());
        }
        let share = budget::body(part.len(), limit > SMALL).map_err(|_| budget::busy(&path))?;
        match &mut sum {
            None => sum = Some(share),
            Some(sum) => Share::merge(sum, share),
        }
        deadline += Duration::from_secs(1).mul_f64(part.len() as f64 / BYTES_PER_SECOND as f64);
        bytes.extend_from_slice(&part);
    }
    Ok((Request::from_parts(parts, Bytes::from(bytes)), sum))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_outside_of_texts() {
        let many = |value: &str| format!("[{}]", vec![value; MAX_VALUES].join(","));
        assert!(too_many_values(many("0").as_bytes()).is_some());
        assert!(too_many_values(format!("[{:?}]", many("0\"\\,")).as_bytes()).is_none());
    }

    #[test]
    fn forms_and_addresses_have_their_bounds() {
        let request = |uri: &str, body: String| Request::builder().uri(uri).body(Bytes::from(body)).unwrap();
        assert!(refused(&request("/pending/cancel", "a&".repeat(MAX_FIELDS))).is_some());
        assert!(refused(&request("/pending/cancel", "a&".repeat(MAX_FIELDS - 1))).is_none());
        let query = format!("/api/v2/builds?{}", "order=buildid&".repeat(MAX_PARAMETERS));
        assert!(refused(&request(&query, String::new())).is_some());
    }

    #[test]
    fn only_forms_and_hooks_may_be_long() {
        assert_eq!(limit("/api/v2/forceschedulers/force"), FORCE);
        assert_eq!(limit("/builders/a%2Fb/force/force"), FORCE);
        assert_eq!(limit("/change_hook/base"), HOOK);
        assert_eq!([limit("/api/v2/builds/1"), limit("/pending/cancel"), limit("/builders")], [SMALL; 3]);
    }
}
