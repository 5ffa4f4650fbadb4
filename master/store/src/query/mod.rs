//! Reading: single rows and lists of every resource.
//!
//! Each module has `by_id`, `list` and the [`Table`] that says what its list can be filtered and ordered by. What
//! lies in tables beside (tags, files, masters …) is read for a whole list at once, not row by row.

pub mod branches;
pub mod build_data;
pub mod builders;
pub mod builds;
pub mod buildsets;
pub mod changes;
pub mod codebases;
pub mod commits;
pub mod log_content;
pub mod logs;
pub mod masters;
pub mod projects;
pub mod properties;
pub mod requests;
mod select;
pub mod sourcestamps;
pub mod steps;
pub mod test_results;
pub mod workers;

use std::collections::BTreeMap;

pub use select::{Column, Op, Select, Table};

use crate::{Result, Row, Tx, Value, dialect::expand_list};

/// Ids in one `IN (…)`; longer lists are read in parts, because every engine bounds the parameters of a statement.
const IDS_PER_STATEMENT: usize = 500;

/// Asks the database for nothing, to see whether it answers.
pub async fn ping(tx: &Tx) -> Result<()> {
    tx.query("SELECT 1", Vec::new()).await.map(|_| ())
}

async fn rows(tx: &Tx, table: &Table, select: &Select) -> Result<Vec<Row>> {
    let (text, params) = select.build(table);
    tx.query(&text, params).await
}

/// The keys of the rows that `select` names, in its order.
pub async fn keys(tx: &Tx, table: &Table, select: &Select) -> Result<Vec<i64>> {
    let (text, params) = select.keys(table);
    tx.query(&text, params).await?.iter().map(|row| row.int(0)).collect()
}

/// How many rows `select` names, whatever page of them it wants.
async fn count(tx: &Tx, table: &Table, select: &Select) -> Result<i64> {
    let (text, params) = select.counting(table);
    tx.query(&text, params).await?.first().map_or(Ok(0), |row| row.int(0))
}

/// Rows of a statement with `(??)` for ids, grouped by their first column; the order of the statement is kept.
async fn grouped(tx: &Tx, statement: &str, ids: &[i64]) -> Result<BTreeMap<i64, Vec<Row>>> {
    let mut groups: BTreeMap<i64, Vec<Row>> = BTreeMap::new();
    for part in ids.chunks(IDS_PER_STATEMENT) {
        let params = part.iter().copied().map(Value::Int).collect();
        for row in tx.query(&expand_list(statement, part.len()), params).await? {
            groups.entry(row.int(0)?).or_default().push(row);
        }
    }
    Ok(groups)
}

#[cfg(test)]
mod plans;
