//! Buildsets.

use std::collections::BTreeMap;

use futures_util::future::join;
use muster_core::{BuildId, Buildset, BuildsetId, SourceStamp};

use super::{Column, Select, Table, rows, sourcestamps};
use crate::{Result, Row, Tx, params};

/// What buildsets are read from.
pub const TABLE: Table = Table {
    select: "SELECT id, external_idstring, reason, submitted_at, complete_at, results, parent_buildid, \
             parent_relationship, rebuilt_buildid, complete FROM buildsets",
    key: "id",
    columns: &[
        Column::new("bsid", "id"),
        Column::new("external_idstring", "external_idstring"),
        Column::new("reason", "reason"),
        Column::new("rebuilt_buildid", "rebuilt_buildid"),
        Column::new("submitted_at", "submitted_at"),
        Column::new("complete", "complete"),
        Column::new("complete_at", "complete_at"),
        Column::new("results", "results"),
        Column::new("parent_buildid", "parent_buildid"),
        Column::new("parent_relationship", "parent_relationship"),
    ],
};

fn from_row(row: &Row) -> Result<Buildset> {
    Ok(Buildset {
        id: BuildsetId(row.int(0)?),
        external_idstring: row.opt_text(1)?,
        reason: row.opt_text(2)?.unwrap_or_default(),
        submitted_at: row.time(3)?,
        complete_at: row.opt_time(4)?,
        results: row.results(5)?,
        parent_build: row.opt_int(6)?.map(BuildId),
        parent_relationship: row.opt_text(7)?,
        rebuilt_build: row.opt_int(8)?.map(BuildId),
        sourcestamps: Vec::new(),
    })
}

/// Buildsets that `select` names, with their source versions.
pub async fn list(tx: &Tx, select: &Select) -> Result<Vec<Buildset>> {
    let buildsets: Vec<Buildset> =
        rows(tx, &TABLE, select).await?.iter().map(from_row).collect::<Result<_>>()?;
    let ids: Vec<i64> = buildsets.iter().map(|buildset| buildset.id.0).collect();
    Ok(with_sources(buildsets, sourcestamps::of_buildsets(tx, &ids).await?))
}

/// One buildset.
pub async fn by_id(tx: &Tx, id: BuildsetId) -> Result<Option<Buildset>> {
    let select = Select::all().only("id = ?", params![id]);
    Ok(list(tx, &select).await?.pop())
}

/// Buildsets by their ids.
pub async fn by_ids(tx: &Tx, ids: &[BuildsetId]) -> Result<Vec<Buildset>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let select = Select::all().only_among("id IN (??)", ids.iter().map(|id| (*id).into()).collect());
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let (rows, sources) = join(rows(tx, &TABLE, &select), sourcestamps::of_buildsets(tx, &ids)).await;
    Ok(with_sources(rows?.iter().map(from_row).collect::<Result<_>>()?, sources?))
}

fn with_sources(
    mut buildsets: Vec<Buildset>,
    mut sources: BTreeMap<BuildsetId, Vec<SourceStamp>>,
) -> Vec<Buildset> {
    for buildset in &mut buildsets {
        buildset.sourcestamps = sources.remove(&buildset.id).unwrap_or_default();
    }
    buildsets
}
