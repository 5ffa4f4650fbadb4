//! Statements that go out together with the next one.

use deadpool_postgres::ClientWrapper;
use futures_util::{StreamExt, stream::FuturesOrdered};

use super::{errors::sorted, query, values::Param};
use crate::{Error, Result, together::Slot};

/// One of them.
pub(super) struct Deferred {
    pub(super) statement: String,
    pub(super) params: Vec<Param>,
    /// Where its rows go; of the others only the success matters.
    pub(super) answer: Option<Slot>,
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
            param.check(wanted).map_err(|reason| Error::unstorable(reason.to_string(), statement))?;
        }
        prepared.push((ready, deferred));
    }
    Ok(prepared)
}

/// Sends all of them before the first one is answered; the first error is the one that counts.
pub(super) async fn run_all(client: &ClientWrapper, prepared: &[Prepared<'_>]) -> Result<()> {
    let mut running: FuturesOrdered<_> = prepared.iter().map(|prepared| run(client, prepared)).collect();
    let mut outcome = Ok(());
    while let Some(answer) = running.next().await {
        outcome = outcome.and(answer);
    }
    outcome
}

async fn run(client: &ClientWrapper, (ready, deferred): &Prepared<'_>) -> Result<()> {
    let failed = |error| sorted(&deferred.statement, &error);
    let Some(answer) = &deferred.answer else {
        return client.execute_raw(ready, deferred.params.as_slice()).await.map(drop).map_err(failed);
    };
    answer.fill(Ok(query(client, ready, &deferred.params).await.map_err(failed)?));
    Ok(())
}
