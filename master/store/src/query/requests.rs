//! Build requests.

use std::collections::BTreeMap;

use muster_core::{BuildRequest, BuilderId, BuildsetId, Claim, MasterId, RequestId, Timestamp};

use super::{Column, Select, Table, rows};
use crate::{Result, Row, Tx, params};

/// What build requests are read from.
pub const TABLE: Table = Table {
    select: "SELECT br.id, br.buildsetid, br.builderid, br.priority, cl.masterid, cl.claimed_at, br.submitted_at, \
             br.complete, br.complete_at, br.results, br.waited_for FROM buildrequests br \
             LEFT JOIN buildrequest_claims cl ON cl.brid = br.id",
    key: "br.id",
    columns: &[
        Column::new("buildrequestid", "br.id"),
        Column::new("buildsetid", "br.buildsetid"),
        Column::new("builderid", "br.builderid"),
        Column::new("priority", "br.priority"),
        Column::new("claimed", "(cl.masterid IS NOT NULL)"),
        Column::new("claimed_at", "cl.claimed_at"),
        Column::new("claimed_by_masterid", "cl.masterid"),
        Column::new("complete", "br.complete"),
        Column::new("complete_at", "br.complete_at"),
        Column::new("results", "br.results"),
        Column::new("submitted_at", "br.submitted_at"),
        Column::new("waited_for", "br.waited_for"),
    ],
};

fn from_row(row: &Row) -> Result<BuildRequest> {
    let claim = match (row.opt_int(4)?, row.opt_time(5)?) {
        (Some(master), Some(at)) => Some(Claim { master: MasterId(master), at }),
        _ => None,
    };
    Ok(BuildRequest {
        id: RequestId(row.int(0)?),
        buildset: BuildsetId(row.int(1)?),
        builder: BuilderId(row.int(2)?),
        priority: row.int(3)?,
        claim,
        submitted_at: row.time(6)?,
        complete: row.bool(7)?,
        complete_at: row.opt_time(8)?,
        results: row.results(9)?,
        waited_for: row.bool(10)?,
    })
}

/// Build requests that `select` names.
pub async fn list(tx: &Tx, select: &Select) -> Result<Vec<BuildRequest>> {
    rows(tx, &TABLE, select).await?.iter().map(from_row).collect()
}

/// One build request.
pub async fn by_id(tx: &Tx, id: RequestId) -> Result<Option<BuildRequest>> {
    let select = Select::all().only("br.id = ?", params![id]);
    Ok(list(tx, &select).await?.pop())
}

/// Build requests by their ids.
pub async fn by_ids(tx: &Tx, ids: &[RequestId]) -> Result<BTreeMap<RequestId, BuildRequest>> {
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let select = Select::all().only_among("br.id IN (??)", ids.iter().map(|id| (*id).into()).collect());
    Ok(list(tx, &select).await?.into_iter().map(|request| (request.id, request)).collect())
}

/// Requests of a builder, newest first, among which the one that was completed last is looked for: no index tells it, and
/// requests are completed about in their order.
const LATEST: i64 = 100;

/// When a request of a builder was completed last.
pub async fn newest_completion(tx: &Tx, builder: BuilderId) -> Result<Option<Timestamp>> {
    let query = "SELECT max(r.complete_at) FROM (SELECT complete_at FROM buildrequests \
                 WHERE builderid = ? AND complete = 1 ORDER BY id DESC LIMIT ?) r";
    let row = tx.query_opt(query, params![builder, LATEST]).await?;
    row.map_or(Ok(None), |row| row.opt_time(0))
}
