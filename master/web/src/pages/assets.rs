//! Styles, scripts and pictures, from inside the binary.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::{
    body::Body,
    extract::Path,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use include_dir::{Dir, include_dir};

pub(super) static STATIC: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/static");

/// One file. Browsers keep it and ask whether it is still the same: it changes with each release.
pub(super) async fn file(Path(path): Path<String>, headers: HeaderMap) -> Response {
    let Some(file) = STATIC.get_file(&path) else {
        return (StatusCode::NOT_FOUND, "no such file\n").into_response();
    };
    let tag = tag(file.contents());
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let (status, body) = match known {
        true => (StatusCode::NOT_MODIFIED, Body::empty()),
        false => (StatusCode::OK, Body::from(file.contents())),
    };
    let headers = [(header::CONTENT_TYPE, kind(&path)), (header::CACHE_CONTROL, "no-cache")];
    (status, headers, [(header::ETAG, tag)], body).into_response()
}

fn tag(content: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}

fn kind(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}
