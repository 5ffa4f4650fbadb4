//! Data that steps have stored with their builds.

use muster_core::{BuildData, BuildId};

use crate::{Result, Row, Tx, params};

const WITHOUT_VALUES: &str = "SELECT buildid, name, length, source FROM build_data WHERE buildid = ?";

fn from_row(row: &Row) -> Result<BuildData> {
    Ok(BuildData {
        build: BuildId(row.int(0)?),
        name: row.text(1)?,
        length: row.int(2)?,
        source: row.text(3)?,
    })
}

/// All data of a build.
pub async fn of_build(tx: &Tx, build: BuildId) -> Result<Vec<BuildData>> {
    let rows = tx.query(&format!("{WITHOUT_VALUES} ORDER BY id"), params![build]).await?;
    rows.iter().map(from_row).collect()
}

/// The data of a build that has this name.
pub async fn by_name(tx: &Tx, build: BuildId, name: &str) -> Result<Option<BuildData>> {
    let rows = tx.query(&format!("{WITHOUT_VALUES} AND name = ?"), params![build, name]).await?;
    rows.first().map(from_row).transpose()
}

/// Its bytes, unless they are more than `most`.
pub async fn value(tx: &Tx, build: BuildId, name: &str, most: i64) -> Result<Option<Vec<u8>>> {
    let text = "SELECT value FROM build_data WHERE buildid = ? AND name = ? AND length <= ?";
    let rows = tx.query(text, params![build, name, most]).await?;
    rows.first().map(|row| row.bytes(0)).transpose()
}
