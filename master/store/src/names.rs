//! Rows that are found by their name's hash, or made when absent.

use muster_core::hash::name_hash;

use crate::{Error, Result, Tx, params};

/// The statements of one table with `name` and `name_hash`.
pub(crate) struct NamedTable {
    /// Finds the id by the hash.
    pub(crate) select: &'static str,
    /// Inserts name and hash.
    pub(crate) insert: &'static str,
}

impl NamedTable {
    /// The id of `name`, if there is a row.
    pub(crate) async fn find(&self, tx: &Tx, name: &str) -> Result<Option<i64>> {
        let row = tx.query_opt(self.select, params![name_hash(name)]).await?;
        row.map(|row| row.int(0)).transpose()
    }

    /// The id of `name`; makes the row when absent.
    pub(crate) async fn find_or_create(&self, tx: &Tx, name: &str) -> Result<i64> {
        if let Some(id) = self.find(tx, name).await? {
            return Ok(id);
        }
        found_next_time(tx, tx.insert(self.insert, params![name, name_hash(name)]).await).await
    }
}

/// When somebody else has made the row meanwhile, the transaction runs again and finds it.
pub(crate) async fn found_next_time<T>(tx: &Tx, inserted: Result<T>) -> Result<T> {
    match inserted {
        Err(Error::Unique(message)) => Err(tx.run_again(message).await),
        other => other,
    }
}
