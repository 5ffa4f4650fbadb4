//! Builds: their numbers, states and properties.

use std::collections::{BTreeMap, BTreeSet};

use muster_core::{
    Build, BuildId, BuilderId, MasterId, Properties, Property, RequestId, Timestamp, WorkerId,
    retries::{self, Past},
};

use crate::{Result, Row, Tx, json_text, names::found_next_time, params};

/// A build to be.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct NewBuild {
    pub builder: BuilderId,
    pub request: RequestId,
    pub worker: WorkerId,
}

/// The numbers of the next builds of builders.
pub struct Numbers(BTreeMap<BuilderId, i64>);

/// The number of the next build of each of these builders.
///
/// Their rows are locked until the commit, in the order of their ids, so that numbers have neither gaps nor clashes among
/// our masters. With Python masters, which lock nothing, the unique key on (builder, number) is the judge.
pub async fn next_numbers(tx: &Tx, builders: BTreeSet<BuilderId>) -> Result<Numbers> {
    let list = || builders.iter().map(|builder| (*builder).into()).collect();
    tx.later_among("SELECT id FROM builders WHERE id IN (??) ORDER BY id FOR UPDATE", list()).await?;
    // Asked after the lock is there: before, the last number may have been another one.
    let query = "SELECT x.id, (SELECT COALESCE(MAX(b.number), 0) + 1 FROM builds b WHERE b.builderid = x.id) \
                 FROM builders x WHERE x.id IN (??)";
    let rows = tx.query_among(query, list()).await?;
    let numbers = rows.iter().map(|row| Ok((BuilderId(row.int(0)?), row.int(1)?)));
    numbers.collect::<Result<_>>().map(Numbers)
}

/// Inserts running builds, each under its builder's next number; answers their ids and numbers, in their order. A clash of
/// numbers runs the transaction again.
pub async fn insert(
    tx: &Tx,
    builds: &[NewBuild],
    Numbers(mut next): Numbers,
    master: MasterId,
    now: Timestamp,
) -> Result<Vec<(BuildId, i64)>> {
    let insert = "INSERT INTO builds (number, builderid, buildrequestid, workerid, masterid, started_at, locks_duration_s, \
                  state_string) VALUES (??)";
    let (mut numbers, mut rows) = (Vec::with_capacity(builds.len()), Vec::with_capacity(builds.len()));
    for NewBuild { builder, request, worker } in builds {
        let number = next.entry(*builder).or_insert(1);
        rows.push(params![*number, *builder, *request, *worker, master, now]);
        numbers.push(*number);
        *number += 1;
    }
    let made = tx.insert_rows_with_ids(insert, "(?, ?, ?, ?, ?, ?, 0, 'created')", rows).await;
    let ids = found_next_time(tx, made).await?;
    Ok(ids.into_iter().map(BuildId).zip(numbers).collect())
}

/// One build.
pub async fn by_id(tx: &Tx, id: BuildId) -> Result<Option<Build>> {
    let query = "SELECT id, number, builderid, buildrequestid, workerid, masterid, started_at, complete_at, \
                 locks_duration_s, state_string, results FROM builds WHERE id = ?";
    tx.query_opt(query, params![id]).await?.map(|row| from_row(&row)).transpose()
}

/// How people call a build: its builder and its number.
pub async fn name_of(tx: &Tx, id: BuildId) -> Result<Option<String>> {
    let query = "SELECT x.name, b.number FROM builds b JOIN builders x ON x.id = b.builderid WHERE b.id = ?";
    let row = tx.query_opt(query, params![id]).await?;
    row.map(|row| Ok(format!("{} #{}", row.text(0)?, row.int(1)?))).transpose()
}

/// A build from the eleven columns that [`by_id`] selects, in that order.
pub(crate) fn from_row(row: &Row) -> Result<Build> {
    Ok(Build {
        id: BuildId(row.int(0)?),
        number: row.int(1)?,
        builder: BuilderId(row.int(2)?),
        request: RequestId(row.int(3)?),
        worker: row.opt_int(4)?.map(WorkerId),
        master: MasterId(row.int(5)?),
        started_at: row.time(6)?,
        complete_at: row.opt_time(7)?,
        locks_duration_s: row.int(8)?,
        state_string: row.text(9)?,
        results: row.results(10)?,
    })
}

/// Builds by their ids.
pub async fn by_ids(tx: &Tx, ids: &[BuildId]) -> Result<Vec<Build>> {
    let query = "SELECT id, number, builderid, buildrequestid, workerid, masterid, started_at, complete_at, \
                 locks_duration_s, state_string, results FROM builds WHERE id IN (??)";
    tx.query_among(query, ids.iter().map(|id| (*id).into()).collect()).await?.iter().map(from_row).collect()
}

/// Writes down how a build has changed while it runs, or that it has ended. One that had ended before stays as it is.
pub async fn update(tx: &Tx, build: &Build) -> Result<()> {
    let update = "UPDATE builds SET state_string = ?, locks_duration_s = ?, results = ?, complete_at = ? \
                  WHERE id = ? AND results IS NULL";
    let values =
        params![&build.state_string, build.locks_duration_s, build.results, build.complete_at, build.id];
    tx.later(update, values).await
}

/// The newest builds of each of these requests, newest first, as far as [`retries`] looks.
pub async fn past_of_requests(tx: &Tx, requests: &[RequestId]) -> Result<BTreeMap<RequestId, Vec<Past>>> {
    let query = "SELECT p.buildrequestid, p.id, p.started_at, p.complete_at, p.results FROM (SELECT buildrequestid, id, \
                 started_at, complete_at, results, ROW_NUMBER() OVER (PARTITION BY buildrequestid ORDER BY id DESC) AS place \
                 FROM builds WHERE buildrequestid IN (??)) p WHERE p.place <= 12 ORDER BY p.id DESC";
    const { assert!(retries::LOOKED_AT == 12, "the query has this number, too") };
    let rows = tx.query_among(query, requests.iter().map(|request| (*request).into()).collect()).await?;
    let mut found: BTreeMap<RequestId, Vec<Past>> = BTreeMap::new();
    for row in &rows {
        found.entry(RequestId(row.int(0)?)).or_default().push(past(row)?);
    }
    Ok(found)
}

/// The same of a worker.
pub async fn past_of_worker(tx: &Tx, worker: WorkerId) -> Result<Vec<Past>> {
    let query = "SELECT workerid, id, started_at, complete_at, results FROM builds WHERE workerid = ? \
                 ORDER BY id DESC LIMIT ?";
    // Several may have run at the same time, and count once.
    let limit = 4 * retries::LOOKED_AT as i64;
    tx.query(query, params![worker, limit]).await?.iter().map(past).collect()
}

fn past(row: &Row) -> Result<Past> {
    Ok(Past {
        build: BuildId(row.int(1)?),
        started: row.time(2)?,
        completed: row.opt_time(3)?,
        results: row.results(4)?,
    })
}

/// Makes another master the one that runs a build.
pub async fn set_master(tx: &Tx, id: BuildId, master: MasterId) -> Result<()> {
    tx.later("UPDATE builds SET masterid = ? WHERE id = ?", params![master, id]).await
}

/// Sets properties that are new or different. Python masters compare the JSON text, so its form matters.
pub async fn set_properties<'a>(
    tx: &Tx,
    id: BuildId,
    properties: impl IntoIterator<Item = (&'a str, &'a Property)>,
) -> Result<()> {
    for (name, property) in properties {
        let value = json_text(property.value())?;
        let update = "UPDATE build_properties SET value = ?, source = ? WHERE buildid = ? AND name = ?";
        if tx.execute(update, params![&value, property.source(), id, name]).await? == 0 {
            let insert = "INSERT INTO build_properties (buildid, name, value, source) VALUES (?, ?, ?, ?)";
            tx.later(insert, params![id, name, value, property.source()]).await?;
        }
    }
    Ok(())
}

/// Inserts the properties of new builds.
pub async fn insert_properties(tx: &Tx, builds: &[(BuildId, Properties)]) -> Result<()> {
    let insert = "INSERT INTO build_properties (buildid, name, value, source) VALUES (??)";
    let mut rows = Vec::new();
    for (build, properties) in builds {
        for (name, property) in properties.iter() {
            rows.push(params![*build, name, json_text(property.value())?, property.source()]);
        }
    }
    tx.insert_rows(insert, "(?, ?, ?, ?)", rows).await
}

/// The properties of a build, as of its last finished step.
pub async fn properties(tx: &Tx, id: BuildId) -> Result<Properties> {
    let rows =
        tx.query("SELECT name, value, source FROM build_properties WHERE buildid = ?", params![id]).await?;
    rows.iter().map(|row| Ok((row.text(0)?, Property(row.json(1)?, row.text(2)?)))).collect()
}
