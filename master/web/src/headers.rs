//! What browsers are told to forbid.

use axum::{
    http::{HeaderValue, header},
    response::Response,
};

/// Only what this server itself serves may run, style or be asked; nothing inline, and no page inside another's frame.
const PAGES: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                     form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// What programs ask is never run. A log of HTML, which steps write, may style itself; it is a page of nobody, so that its
/// scripts, forms and links get nowhere. Pages of this server may show it in a frame.
const PROGRAMS: &str = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; \
                        form-action 'none'; frame-ancestors 'self'";

/// On every page.
pub(crate) async fn of_pages(response: Response) -> Response {
    with(response, PAGES)
}

/// On everything else.
pub(crate) async fn of_programs(response: Response) -> Response {
    with(response, PROGRAMS)
}

fn with(mut response: Response, policy: &'static str) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}
