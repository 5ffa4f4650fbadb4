//! Builds.

use muster_core::{Build, BuildId, BuilderId, BuildsetId, ChangeId, RequestId};

use super::{Column, Select, Table, rows};
pub use crate::builds::by_id;
use crate::{Result, Tx, builds::from_row, params};

/// What builds are read from.
pub const TABLE: Table = Table {
    select: "SELECT id, number, builderid, buildrequestid, workerid, masterid, started_at, complete_at, \
             locks_duration_s, state_string, results FROM builds",
    key: "id",
    columns: &[
        Column::new("buildid", "id"),
        Column::new("number", "number"),
        Column::new("builderid", "builderid"),
        Column::new("buildrequestid", "buildrequestid"),
        Column::new("workerid", "workerid"),
        Column::new("masterid", "masterid"),
        Column::new("started_at", "started_at"),
        Column::new("complete", "(complete_at IS NOT NULL)"),
        Column::new("complete_at", "complete_at"),
        Column::new("locks_duration_s", "locks_duration_s"),
        Column::new("results", "results"),
        Column::new("state_string", "state_string"),
    ],
};

/// Builds that `select` names.
pub async fn list(tx: &Tx, select: &Select) -> Result<Vec<Build>> {
    rows(tx, &TABLE, select).await?.iter().map(from_row).collect()
}

/// The builds of these requests.
pub async fn of_requests(tx: &Tx, requests: &[RequestId]) -> Result<Vec<Build>> {
    if requests.is_empty() {
        return Ok(Vec::new());
    }
    let requests = requests.iter().map(|request| (*request).into()).collect();
    list(tx, &Select::all().only_among("buildrequestid IN (??)", requests)).await
}

/// One build by its number.
pub async fn by_number(tx: &Tx, builder: BuilderId, number: i64) -> Result<Option<Build>> {
    let select = Select::all().only("builderid = ? AND number = ?", params![builder, number]);
    Ok(list(tx, &select).await?.pop())
}

/// Narrows to the builds of requests whose buildset's parent is `build`.
pub fn triggered_by(select: Select, build: BuildId) -> Select {
    select.only(
        "buildrequestid IN (SELECT br.id FROM buildrequests br JOIN buildsets bs ON bs.id = br.buildsetid \
         WHERE bs.parent_buildid = ?)",
        params![build],
    )
}

/// Narrows to the builds of buildsets that contain the source version of `change`.
pub fn of_change(select: Select, change: ChangeId) -> Select {
    select.only(
        "buildrequestid IN (SELECT br.id FROM changes c \
         JOIN buildset_sourcestamps bss ON bss.sourcestampid = c.sourcestampid \
         JOIN buildrequests br ON br.buildsetid = bss.buildsetid WHERE c.changeid = ?)",
        params![change],
    )
}

/// The buildset of a build.
pub async fn buildset_of(tx: &Tx, build: BuildId) -> Result<Option<BuildsetId>> {
    let row = tx
        .query_opt(
            "SELECT br.buildsetid FROM builds b JOIN buildrequests br ON br.id = b.buildrequestid WHERE b.id = ?",
            params![build],
        )
        .await?;
    row.map(|row| row.int(0).map(BuildsetId)).transpose()
}

/// The last finished build of the same builder before `build` that had the same codebases, repositories and branches.
pub async fn previous(tx: &Tx, build: &Build) -> Result<Option<Build>> {
    // Looking far back helps nobody: the changes since then would be a list that no one reads.
    const LOOK_BACK: i64 = 100;
    let select = Select::all()
        .only("builderid = ? AND number < ? AND results = 0", params![build.builder, build.number])
        .order_by(Column::new("number", "number"), true)
        .limit(LOOK_BACK);
    let Some(buildset) = buildset_of(tx, build.id).await? else { return Ok(None) };
    let wanted = super::sourcestamps::places_of(tx, buildset).await?;
    for candidate in list(tx, &select).await? {
        let Some(buildset) = buildset_of(tx, candidate.id).await? else { continue };
        if super::sourcestamps::places_of(tx, buildset).await? == wanted {
            return Ok(Some(candidate));
        }
    }
    Ok(None)
}
