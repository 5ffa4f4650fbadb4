//! Which web pages of other servers may use the API.

use axum::http::{
    HeaderMap, HeaderValue,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE,
        ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
    },
};
use muster_config::snapshot::Snapshot;

use crate::site::is_allowed_origin;

/// The origin of a request, when it has an allowed one.
pub(crate) struct Origin(Option<HeaderValue>);

impl Origin {
    /// Checks the header `Origin`, which is matched in lower case.
    pub(crate) fn check(config: &Snapshot, headers: &HeaderMap) -> Result<Origin, &'static str> {
        let Some(origin) = headers.get(ORIGIN) else { return Ok(Origin(None)) };
        const REFUSED: &str = "invalid origin";
        let origin = origin.to_str().map_err(|_| REFUSED)?.to_lowercase();
        if !is_allowed_origin(config, &origin) {
            return Err(REFUSED);
        }
        HeaderValue::from_str(&origin).map(|origin| Origin(Some(origin))).map_err(|_| REFUSED)
    }

    /// Whether the request had one.
    pub(crate) fn is_given(&self) -> bool {
        self.0.is_some()
    }

    /// Tells the browser that its page may read the answer.
    pub(crate) fn allow(self, headers: &mut HeaderMap) {
        let Some(origin) = self.0 else { return };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("Content-Type"));
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("3600"));
    }
}

/// Checks what a preflight asks for.
pub(super) fn preflight(headers: &HeaderMap) -> Result<(), &'static str> {
    let method = headers.get(ACCESS_CONTROL_REQUEST_METHOD).and_then(|method| method.to_str().ok());
    match method {
        Some("GET" | "POST" | "HEAD") => Ok(()),
        _ => Err("invalid method"),
    }
}
