//! What strangers can take of this process: bytes of requests and answers under way, and answers that are made at once.
//!
//! The sums fit a pod of 512 MiB. What doesn't fit is refused with 503 and comes again; nothing waits for long, so nobody
//! can hold others up by holding places.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of large bodies under way in all, each counted [`WEIGHT`] times; beyond it, 503. Two of the longest force forms.
pub(crate) const LARGE_BODIES: usize = 96 << 20;
/// A large body is there several times while it is read: as it came, decoded, as values, and on its way to the database.
pub(crate) const WEIGHT: usize = 4;
/// Bytes of small bodies under way in all; beyond it, 503. Apart from the large ones, which can't keep them out.
pub(crate) const SMALL_BODIES: usize = 16 << 20;
/// Bytes of whole answers under way in all, until the sockets have taken them; beyond it, 503.
pub(crate) const ANSWERS: usize = 64 << 20;
/// Answers that are sent while they are made (raw logs, long lists) at once; beyond it, 503. Each holds about 1 MiB: what was
/// read, what is packed, and what waits for the socket.
pub(crate) const STREAMS: usize = 64;
/// Reads (GET, HEAD) that are answered at once; more wait for [`PATIENCE`]. Each holds a page of rows.
const READS: usize = 32;
/// Orders (POST) at once; more wait for [`PATIENCE`]. Apart from the reads, because they may wait for Python.
const ORDERS: usize = 64;
/// How long a request waits for its turn; then it is answered with 503.
const PATIENCE: Duration = Duration::from_secs(10);
/// What somebody who was refused for want of room is told to wait, in seconds.
const RETRY_AFTER: &str = "2";
/// Bytes that one permit stands for.
const UNIT: usize = 1 << 10;

/// The process's own.
static BUDGET: LazyLock<Budget> = LazyLock::new(|| Budget {
    large: semaphore(LARGE_BODIES / UNIT),
    small: semaphore(SMALL_BODIES / UNIT),
    answers: semaphore(ANSWERS / UNIT),
    streams: semaphore(STREAMS),
    reads: semaphore(READS),
    orders: semaphore(ORDERS),
});

struct Budget {
    large: Arc<Semaphore>,
    small: Arc<Semaphore>,
    answers: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    reads: Arc<Semaphore>,
    orders: Arc<Semaphore>,
}

fn semaphore(permits: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(permits))
}

/// A share of the budget, until it is dropped.
pub(crate) type Share = OwnedSemaphorePermit;

/// There is no room for so much; try again later.
#[derive(Debug)]
pub(crate) struct Full;

fn take(pool: &Arc<Semaphore>, bytes: usize) -> Result<Share, Full> {
    let units = u32::try_from(bytes.div_ceil(UNIT)).map_err(|_| Full)?;
    pool.clone().try_acquire_many_owned(units).map_err(|_| Full)
}

/// Room for so many more bytes of a body.
pub(crate) fn body(bytes: usize, is_large: bool) -> Result<Share, Full> {
    match is_large {
        true => take(&BUDGET.large, bytes * WEIGHT),
        false => take(&BUDGET.small, bytes),
    }
}

/// Room for an answer of so many bytes.
pub(crate) fn answer(bytes: usize) -> Result<Share, Full> {
    take(&BUDGET.answers, bytes)
}

/// Room for an answer that is sent while it is made.
pub(crate) fn stream() -> Result<Share, Full> {
    BUDGET.streams.clone().try_acquire_owned().map_err(|_| Full)
}

/// The request's turn to be answered.
pub(crate) async fn turn(method: &Method) -> Result<Share, Full> {
    let places = match *method {
        Method::GET | Method::HEAD => &BUDGET.reads,
        _ => &BUDGET.orders,
    };
    match tokio::time::timeout(PATIENCE, places.clone().acquire_owned()).await {
        Ok(Ok(place)) => Ok(place),
        _ => Err(Full),
    }
}

/// Bytes that hold their share until the socket has taken them.
pub(crate) fn held(bytes: Bytes, share: Arc<Share>) -> Bytes {
    Bytes::from_owner(Held { bytes, _share: share })
}

struct Held {
    bytes: Bytes,
    _share: Arc<Share>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The answer to a request that was not looked at, in the form of its path.
pub(crate) fn refusal(path: &str, status: StatusCode, text: &str) -> Response {
    let mut response = match path.starts_with("/api") {
        true => (status, json!({"error": text}).to_string()).into_response(),
        false => (status, format!("{text}\n")).into_response(),
    };
    let headers = response.headers_mut();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
    }
    // What is left of the request is not read.
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// The refusal for want of room.
pub(crate) fn busy(path: &str) -> Response {
    metrics::counter!("muster_web_refused_total").increment(1);
    refusal(path, StatusCode::SERVICE_UNAVAILABLE, "this master has too much to answer just now; try again")
}

/// An answer of these bytes.
pub(crate) fn whole(bytes: Vec<u8>, share: Share) -> Body {
    Body::from(held(Bytes::from(bytes), Arc::new(share)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_free_again() {
        let pool = semaphore(4);
        let share = take(&pool, 4 * UNIT).unwrap();
        assert!(take(&pool, 1).is_err());
        let bytes = held(Bytes::from_static(b"x"), Arc::new(share));
        assert!(take(&pool, 1).is_err(), "the bytes hold it");
        drop(bytes);
        assert!(take(&pool, 4 * UNIT).is_ok());
    }
}
