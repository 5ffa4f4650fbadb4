//! Source versions and patches.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use muster_core::{BuildsetId, Patch, SourceStamp, SourceStampId};

use super::{Column, Select, Table, grouped, rows};
use crate::{Error, Result, Row, Tx, params};

/// What source versions are read from.
pub const TABLE: Table = Table {
    select: "SELECT s.id, s.id, s.branch, s.revision, s.repository, s.project, s.codebase, s.created_at, p.id, \
             p.patchlevel, p.patch_base64, p.patch_author, p.patch_comment, p.subdir \
             FROM sourcestamps s LEFT JOIN patches p ON p.id = s.patchid",
    key: "s.id",
    columns: &[
        Column::new("ssid", "s.id"),
        Column::new("revision", "s.revision"),
        Column::new("branch", "s.branch"),
        Column::new("repository", "s.repository"),
        Column::new("project", "s.project"),
        Column::new("codebase", "s.codebase"),
        Column::new("created_at", "s.created_at"),
    ],
};

/// As [`TABLE`], with the buildset in the first column.
const OF_BUILDSETS: &str = "SELECT bss.buildsetid, s.id, s.branch, s.revision, s.repository, s.project, s.codebase, \
     s.created_at, p.id, p.patchlevel, p.patch_base64, p.patch_author, p.patch_comment, p.subdir \
     FROM buildset_sourcestamps bss JOIN sourcestamps s ON s.id = bss.sourcestampid \
     LEFT JOIN patches p ON p.id = s.patchid WHERE bss.buildsetid IN (??) ORDER BY bss.id";

/// As [`TABLE`], by id.
const OF_IDS: &str = "SELECT s.id, s.id, s.branch, s.revision, s.repository, s.project, s.codebase, s.created_at, \
     p.id, p.patchlevel, p.patch_base64, p.patch_author, p.patch_comment, p.subdir \
     FROM sourcestamps s LEFT JOIN patches p ON p.id = s.patchid WHERE s.id IN (??)";

fn from_row(row: &Row) -> Result<SourceStamp> {
    Ok(SourceStamp {
        id: SourceStampId(row.int(1)?),
        branch: row.opt_text(2)?,
        revision: row.opt_text(3)?,
        repository: row.text(4)?,
        project: row.text(5)?,
        codebase: row.text(6)?,
        created_at: row.time(7)?,
        patch: row.opt_int(8)?.map(|id| patch_from_row(id, row)).transpose()?,
    })
}

fn patch_from_row(id: i64, row: &Row) -> Result<Patch> {
    let text = row.text(10)?;
    let body = base64::engine::general_purpose::STANDARD.decode(text.trim());
    Ok(Patch {
        id,
        level: row.int(9)?,
        body: body.map_err(|error| Error::Data(format!("patch {id} is not base64: {error}")))?,
        author: row.text(11)?,
        comment: row.text(12)?,
        subdir: row.opt_text(13)?,
    })
}

/// Source versions that `select` names.
pub async fn list(tx: &Tx, select: &Select) -> Result<Vec<SourceStamp>> {
    rows(tx, &TABLE, select).await?.iter().map(from_row).collect()
}

/// How many source versions `select` names, whatever page of them it wants.
pub async fn count(tx: &Tx, select: &Select) -> Result<i64> {
    super::count(tx, &TABLE, select).await
}

/// One source version.
pub async fn by_id(tx: &Tx, id: SourceStampId) -> Result<Option<SourceStamp>> {
    let select = Select::all().only("s.id = ?", params![id]);
    Ok(list(tx, &select).await?.pop())
}

/// The source version with this hash of all that it is made of.
pub(crate) async fn by_hash(tx: &Tx, hash: &str) -> Result<Option<SourceStamp>> {
    let select = Select::all().only("s.ss_hash = ?", params![hash]);
    Ok(list(tx, &select).await?.pop())
}

/// The source versions with these ids.
pub async fn by_ids(tx: &Tx, ids: &[i64]) -> Result<BTreeMap<SourceStampId, SourceStamp>> {
    let rows = grouped(tx, OF_IDS, ids).await?;
    rows.values().flatten().map(|row| from_row(row).map(|source| (source.id, source))).collect()
}

/// The source versions of each of these buildsets, in the order in which they were added.
pub async fn of_buildsets(tx: &Tx, buildsets: &[i64]) -> Result<BTreeMap<BuildsetId, Vec<SourceStamp>>> {
    let mut found = BTreeMap::new();
    for (buildset, rows) in grouped(tx, OF_BUILDSETS, buildsets).await? {
        let sources: Result<Vec<SourceStamp>> = rows.iter().map(from_row).collect();
        found.insert(BuildsetId(buildset), sources?);
    }
    Ok(found)
}

/// Where the sources of a buildset come from: (codebase, repository, branch) of each.
pub(super) async fn places_of(
    tx: &Tx,
    buildset: BuildsetId,
) -> Result<BTreeSet<(String, String, Option<String>)>> {
    let rows = tx
        .query(
            "SELECT s.codebase, s.repository, s.branch FROM buildset_sourcestamps bss \
             JOIN sourcestamps s ON s.id = bss.sourcestampid WHERE bss.buildsetid = ?",
            params![buildset],
        )
        .await?;
    rows.iter().map(|row| Ok((row.text(0)?, row.text(1)?, row.opt_text(2)?))).collect()
}
