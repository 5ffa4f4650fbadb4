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

pub(super) type Prepared<'a> = (tokio_postgres::Statement, &'a Deferred);

/// Prepares them, and makes sure that each of their values can be sent: one that can't would be missing between statements
/// that are on their way already.
pub(super) async fn prepared_all<'a>(
    client: &ClientWrapper,
    all: &'a [Deferred],
) -> Result<Vec<Prepared<'a>>> {
    let mut prepared = Vec::with_capacity(all.len());
    for deferred in all {
        let Deferred { statement, params, .. } = deferred;
        let ready = client.prepare_cached(statement).await.map_err(|error| sorted(statement, &error))?;
        for (param, wanted) in params.iter().zip(ready.params()) {
            param.check(wanted).map_err(|reason| Error::statement(reason.to_string(), statement))?;
        }
        prepared.push((ready, deferred));
    }
    Ok(prepared)
}

/// Sends all of them before the first one is answered; the first error is the one that counts.
pub(super) async fn run_all(client: &ClientWrapper, prepared: &[Prepared<'_>]) -> Result<()> {
    let running =
        prepared.iter().map(|(ready, deferred)| client.execute_raw(ready, deferred.params.as_slice()));
    let mut answers: FuturesOrdered<_> = running.collect();
    let mut outcome = Ok(());
    for (_, deferred) in prepared {
        let Some(answer) = answers.next().await else { break };
        let answer = answer.map_err(|error| sorted(&deferred.statement, &error));
        outcome = outcome.and(answer.map(drop));
    }
    outcome
}
