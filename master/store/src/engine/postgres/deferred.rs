//! Statements that go out together with the next one: of them only the success matters.

use deadpool_postgres::Object;
use futures_util::{StreamExt, stream::FuturesOrdered};

use super::values::Param;

/// One of them.
pub(super) struct Deferred {
    pub(super) statement: String,
    pub(super) params: Vec<Param>,
}

pub(super) type Prepared<'a> = (tokio_postgres::Statement, &'a [Param]);

pub(super) async fn prepared_all<'a>(
    client: &Object,
    deferred: &'a [Deferred],
) -> std::result::Result<Vec<Prepared<'a>>, tokio_postgres::Error> {
    let mut prepared = Vec::with_capacity(deferred.len());
    for Deferred { statement, params } in deferred {
        prepared.push((client.prepare_cached(statement).await?, params.as_slice()));
    }
    Ok(prepared)
}

/// Sends all of them before the first one is answered; the first error is the one that counts.
pub(super) async fn run_all(
    client: &Object,
    prepared: &[Prepared<'_>],
) -> std::result::Result<u64, tokio_postgres::Error> {
    let running: FuturesOrdered<_> =
        prepared.iter().map(|(statement, params)| client.execute_raw(statement, *params)).collect();
    let mut outcome = Ok(0);
    let mut answers = std::pin::pin!(running);
    while let Some(answer) = answers.next().await {
        outcome = outcome.and(answer);
    }
    outcome
}
