//! Statements that go out together with the next one: of them only the success matters.

use deadpool_postgres::ClientWrapper;
use futures_util::{StreamExt, stream::FuturesOrdered};

use super::{errors::sorted, values::Param};
use crate::{Error, Result};

/// One of them.
pub(super) struct Deferred {
    pub(super) statement: String,
    pub(super) params: Vec<Param>,
}

pub(super) type Prepared<'a> = (tokio_postgres::Statement, &'a [Param]);

/// Prepares them, and makes sure that each of their values can be sent: one that can't would be missing between statements
/// that are on their way already.
pub(super) async fn prepared_all<'a>(
    client: &ClientWrapper,
    deferred: &'a [Deferred],
) -> Result<Vec<Prepared<'a>>> {
    let mut prepared = Vec::with_capacity(deferred.len());
    for Deferred { statement, params } in deferred {
        let ready = client.prepare_cached(statement).await.map_err(|error| sorted(statement, &error))?;
        for (param, wanted) in params.iter().zip(ready.params()) {
            param.check(wanted).map_err(|reason| Error::statement(reason.to_string(), statement))?;
        }
        prepared.push((ready, params.as_slice()));
    }
    Ok(prepared)
}

/// Sends all of them before the first one is answered; the first error is the one that counts.
pub(super) async fn run_all(
    client: &ClientWrapper,
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
