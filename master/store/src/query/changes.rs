//! Changes.

use std::collections::BTreeMap;

use muster_core::{Build, BuildId, BuildsetId, Change, ChangeId, Properties, SourceStampId};

use super::{Column, Op, Select, Table, builds, grouped, properties, rows, sourcestamps};
use crate::{Error, Result, Row, Tx, params};

/// Changes that the changes of one build may count; the oldest are left out.
const CHANGES_OF_A_BUILD: i64 = 500;

/// What changes are read from.
pub const TABLE: Table = Table {
    select: "SELECT c.changeid, c.author, c.committer, c.comments, c.branch, c.revision, c.revlink, \
             c.when_timestamp, c.category, c.repository, c.codebase, c.project, c.sourcestampid, \
             c.parent_changeids FROM changes c",
    key: "c.changeid",
    columns: &[
        Column::new("changeid", "c.changeid"),
        Column::new("author", "c.author"),
        Column::new("committer", "c.committer"),
        Column::new("comments", "c.comments"),
        Column::new("branch", "c.branch"),
        Column::new("revision", "c.revision"),
        Column::new("revlink", "c.revlink"),
        Column::new("when_timestamp", "c.when_timestamp"),
        Column::new("category", "c.category"),
        Column::new("repository", "c.repository"),
        Column::new("codebase", "c.codebase"),
        Column::new("project", "c.project"),
        Column::list("parent_changeids", "c.parent_changeids IN (??)"),
        Column::list(
            "files",
            "EXISTS (SELECT 1 FROM change_files f WHERE f.changeid = c.changeid AND f.filename IN (??))",
        ),
    ],
};

struct Beside {
    files: BTreeMap<i64, Vec<Row>>,
    properties: BTreeMap<i64, Properties>,
    sources: BTreeMap<SourceStampId, muster_core::SourceStamp>,
}

impl Beside {
    async fn read(tx: &Tx, rows: &[Row]) -> Result<Beside> {
        let ids: Vec<i64> = rows.iter().map(|row| row.int(0)).collect::<Result<_>>()?;
        let sources: Vec<i64> = rows.iter().map(|row| row.int(12)).collect::<Result<_>>()?;
        let files = "SELECT changeid, filename FROM change_files WHERE changeid IN (??)";
        Ok(Beside {
            files: grouped(tx, files, &ids).await?,
            properties: properties::of_changes(tx, &ids).await?,
            sources: sourcestamps::by_ids(tx, &sources).await?,
        })
    }

    fn change(&self, row: &Row) -> Result<Change> {
        let id = row.int(0)?;
        let source = SourceStampId(row.int(12)?);
        let sourcestamp = self.sources.get(&source).cloned();
        let files = self.files.get(&id).map_or(&[][..], Vec::as_slice);
        Ok(Change {
            id: ChangeId(id),
            author: row.text(1)?,
            committer: row.opt_text(2)?,
            comments: row.text(3)?,
            branch: row.opt_text(4)?,
            revision: row.opt_text(5)?,
            revlink: row.opt_text(6)?,
            when: row.time(7)?,
            category: row.opt_text(8)?,
            repository: row.text(9)?,
            codebase: row.text(10)?,
            project: row.text(11)?,
            files: files.iter().map(|row| row.text(1)).collect::<Result<_>>()?,
            properties: self.properties.get(&id).cloned().unwrap_or_default(),
            parent: row.opt_int(13)?.map(ChangeId),
            sourcestamp: sourcestamp.ok_or_else(|| {
                Error::Data(format!("change {id} names sourcestamp {source}, which isn't there"))
            })?,
        })
    }
}

/// Changes that `select` names.
pub async fn list(tx: &Tx, select: &Select) -> Result<Vec<Change>> {
    let rows = rows(tx, &TABLE, select).await?;
    let beside = Beside::read(tx, &rows).await?;
    rows.iter().map(|row| beside.change(row)).collect()
}

/// One change.
pub async fn by_id(tx: &Tx, id: ChangeId) -> Result<Option<Change>> {
    let select = Select::all().only("c.changeid = ?", params![id]);
    Ok(list(tx, &select).await?.pop())
}

/// Narrows to the changes of one source version.
pub fn of_sourcestamp(select: Select, source: SourceStampId) -> Select {
    select.only("c.sourcestampid = ?", params![source])
}

/// The changes of each of the source versions of these buildsets.
pub async fn of_buildsets(tx: &Tx, sets: &[BuildsetId]) -> Result<BTreeMap<SourceStampId, Vec<Change>>> {
    let mut found: BTreeMap<SourceStampId, Vec<Change>> = BTreeMap::new();
    if sets.is_empty() {
        return Ok(found);
    }
    let filter =
        "c.sourcestampid IN (SELECT sourcestampid FROM buildset_sourcestamps WHERE buildsetid IN (??))";
    let ids = sets.iter().map(|set| (*set).into()).collect();
    for change in list(tx, &Select::all().only_among(filter, ids)).await? {
        found.entry(change.sourcestamp.id).or_default().push(change);
    }
    Ok(found)
}

/// What changed since the last successful build of the same branches, newest first; without one, all that is known
/// (`docs/compat/www-api.md` A.3, `builds/N/changes`).
pub async fn of_build(tx: &Tx, build: &Build) -> Result<Vec<Change>> {
    let mut found: BTreeMap<ChangeId, ()> = BTreeMap::new();
    let now = newest_changes(tx, build.id).await?;
    let previous = match builds::previous(tx, build).await? {
        Some(previous) => newest_changes(tx, previous.id).await?,
        None => BTreeMap::new(),
    };
    for (codebase, newest) in now {
        let stop = previous.get(&codebase).copied();
        found.extend(chain(tx, newest, stop).await?.into_iter().map(|id| (id, ())));
    }
    let Some(column) = TABLE.column("changeid") else { return Ok(Vec::new()) };
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let ids = found.keys().map(|id| crate::Value::from(*id)).collect();
    list(tx, &Select::all().and(column, Op::In, ids).order_by(column, true)).await
}

/// The newest change of each codebase of a build.
async fn newest_changes(tx: &Tx, build: BuildId) -> Result<BTreeMap<String, ChangeId>> {
    let rows = tx
        .query(
            "SELECT c.codebase, MAX(c.changeid) FROM builds b \
             JOIN buildrequests br ON br.id = b.buildrequestid \
             JOIN buildset_sourcestamps bss ON bss.buildsetid = br.buildsetid \
             JOIN changes c ON c.sourcestampid = bss.sourcestampid WHERE b.id = ? GROUP BY c.codebase",
            params![build],
        )
        .await?;
    rows.iter().map(|row| Ok((row.text(0)?, ChangeId(row.int(1)?)))).collect()
}

/// `newest` and its ancestors, until `stop`; at most [`CHANGES_OF_A_BUILD`].
async fn chain(tx: &Tx, newest: ChangeId, stop: Option<ChangeId>) -> Result<Vec<ChangeId>> {
    let mut found = Vec::new();
    let mut next = Some(newest);
    while let Some(change) = next {
        if Some(change) == stop || found.len() as i64 == CHANGES_OF_A_BUILD {
            break;
        }
        found.push(change);
        let row =
            tx.query_opt("SELECT parent_changeids FROM changes WHERE changeid = ?", params![change]).await?;
        next = row.map(|row| row.opt_int(0)).transpose()?.flatten().map(ChangeId);
    }
    Ok(found)
}
