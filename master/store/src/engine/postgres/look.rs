//! Queries that need no common view: each is a transaction by itself.

use std::sync::Arc;

use tokio_postgres::types::ToSql;

use super::{
    Connections, STATEMENTS,
    errors::sorted,
    from_postgres,
    pool::{Pooled, Session},
    values::Param,
};
use crate::{Error, Result, Row, Value, engine::Mode};

/// A connection that many may ask at the same time: their queries are sent before the first one is answered.
pub(crate) struct Look {
    connections: Arc<Connections>,
    client: Pooled,
}

impl Look {
    pub(super) fn new(connections: Arc<Connections>, client: Pooled) -> Look {
        Look { connections, client }
    }

    pub(crate) async fn query(&self, statement: &str, params: Vec<Value>) -> Result<Vec<Row>> {
        let params: Vec<Param> = params.into_iter().map(|value| Param { value, mode: Mode::Look }).collect();
        match ask(&self.client, statement, &params).await {
            // It was closed while it was idle.
            Err(Error::Lost(_)) => ask(&*self.connections.client().await?, statement, &params).await,
            outcome => outcome,
        }
    }
}

async fn ask(client: &Session, statement: &str, params: &[Param]) -> Result<Vec<Row>> {
    if client.statement_cache.size() > STATEMENTS {
        client.statement_cache.clear();
    }
    let asked = async {
        let prepared = client.prepare_cached(statement).await?;
        let references: Vec<&(dyn ToSql + Sync)> = params.iter().map(|param| param as _).collect();
        let rows = client.query(&prepared, &references).await?;
        rows.iter().map(from_postgres).collect::<std::result::Result<_, _>>()
    };
    asked.await.map_err(|error| sorted(statement, &error))
}
