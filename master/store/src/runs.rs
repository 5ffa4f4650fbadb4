//! Runs: builds while they are executed, with their owner, epoch, plan and journal.

use std::collections::{HashMap, HashSet};

use muster_core::{
    BuildId, BuilderId, Epoch, MasterId, RequestId, Timestamp, WorkerId,
    invariants::{debug_check, epoch_rises, write_is_fenced},
};

use crate::{Error, Result, Row, Tx, Value, dialect::expand_list, names::found_next_time, params};

/// Names a run and the right to write about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub struct RunKey {
    pub build: BuildId,
    pub owner: MasterId,
    pub epoch: Epoch,
}

/// A run as it is stored.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct RunRow {
    pub key: RunKey,
    pub worker: WorkerId,
    pub builder: BuilderId,
    pub request: RequestId,
    pub number: i64,
    pub snapshot: i64,
    /// JSON of the plan.
    pub plan: String,
}

/// A run to be.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct NewRun<'a> {
    pub build: BuildId,
    pub worker: WorkerId,
    pub snapshot: i64,
    /// JSON.
    pub plan: &'a str,
}

/// Makes the rows of builds that start, in epoch 1.
pub async fn insert(tx: &Tx, owner: MasterId, runs: &[NewRun<'_>], now: Timestamp) -> Result<Vec<RunKey>> {
    let insert =
        "INSERT INTO muster_runs (buildid, owner, epoch, workerid, snapshotid, plan, started_at) VALUES (??)";
    let row = |run: &NewRun<'_>| params![run.build, owner, run.worker, run.snapshot, run.plan, now];
    tx.insert_rows(insert, "(?, ?, 1, ?, ?, ?, ?)", runs.iter().map(row).collect()).await?;
    Ok(runs.iter().map(|run| RunKey { build: run.build, owner, epoch: Epoch(1) }).collect())
}

/// The fence: locks the owner's row, and fails when the run has another owner or epoch (rule 2).
pub async fn fence(tx: &Tx, key: &RunKey) -> Result<()> {
    let update = "UPDATE muster_runs SET epoch = epoch WHERE buildid = ? AND owner = ? AND epoch = ?";
    match tx.execute(update, params![key.build, key.owner, key.epoch]).await? {
        1 => Ok(()),
        _ => Err(Error::Fenced(key.build)),
    }
}

/// The fence of many runs, locked in the order of their builds: which of `keys` may be written about.
pub async fn fence_all(tx: &Tx, keys: &[RunKey]) -> Result<Vec<bool>> {
    let query =
        "SELECT buildid, owner, epoch FROM muster_runs WHERE buildid IN (??) ORDER BY buildid FOR UPDATE";
    let rows = tx.query_among(query, keys.iter().map(|key| key.build.into()).collect()).await?;
    let owners = rows.iter().map(|row| Ok((row.int(0)?, (row.int(1)?, row.int(2)?))));
    let owners = owners.collect::<Result<HashMap<i64, (i64, i64)>>>()?;
    Ok(keys.iter().map(|key| owners.get(&key.build.0) == Some(&(key.owner.0, key.epoch.0))).collect())
}

/// Raises the epoch of a run and makes `owner` its owner: the former one can't write any more.
pub async fn adopt(tx: &Tx, old: &RunKey, owner: MasterId) -> Result<RunKey> {
    let update =
        "UPDATE muster_runs SET owner = ?, epoch = epoch + 1 WHERE buildid = ? AND owner = ? AND epoch = ?";
    if tx.execute(update, params![owner, old.build, old.owner, old.epoch]).await? != 1 {
        return Err(Error::Fenced(old.build));
    }
    if cfg!(debug_assertions)
        && let Some(row) = key_of(tx, old.build).await?
    {
        debug_check(|| epoch_rises(old.epoch, row.epoch));
    }
    Ok(RunKey { build: old.build, owner, epoch: Epoch(old.epoch.0 + 1) })
}

/// The right to write about a build at this moment; `None` when it doesn't run.
async fn key_of(tx: &Tx, build: BuildId) -> Result<Option<RunKey>> {
    let row = tx.query_opt("SELECT owner, epoch FROM muster_runs WHERE buildid = ?", params![build]).await?;
    row.map(|row| Ok(RunKey { build, owner: MasterId(row.int(0)?), epoch: Epoch(row.int(1)?) })).transpose()
}

/// Debug builds look at the end of a transaction whether those who wrote in it had the right to.
pub async fn audit(tx: &Tx, writers: &[RunKey]) -> Result<()> {
    if !cfg!(debug_assertions) {
        return Ok(());
    }
    for writer in writers {
        // The last write of a run removes its row.
        if let Some(row) = key_of(tx, writer.build).await? {
            debug_check(|| write_is_fenced(row.epoch, writer.epoch));
        }
    }
    Ok(())
}

/// The unfinished builds of a master that are no runs of Muster's: (build, request).
pub async fn builds_of_buildbot(tx: &Tx, master: MasterId) -> Result<Vec<(BuildId, RequestId)>> {
    let query = "SELECT b.id, b.buildrequestid FROM builds b WHERE b.masterid = ? AND b.results IS NULL \
                 AND NOT EXISTS (SELECT 1 FROM muster_runs r WHERE r.buildid = b.id) ORDER BY b.id";
    let rows = tx.query(query, params![master]).await?;
    rows.iter().map(|row| Ok((BuildId(row.int(0)?), RequestId(row.int(1)?)))).collect()
}

/// An unfinished build that is no run of Muster's: its master and its request, and whether that master acts, by Muster's
/// leases and Buildbot's heartbeats since `alive`.
pub async fn without_run(
    tx: &Tx,
    build: BuildId,
    alive: Timestamp,
) -> Result<Option<(MasterId, RequestId, bool)>> {
    let query = "SELECT b.masterid, b.buildrequestid, m.active, m.last_active FROM builds b \
                 LEFT JOIN masters m ON m.id = b.masterid WHERE b.id = ? AND b.results IS NULL \
                 AND NOT EXISTS (SELECT 1 FROM muster_runs r WHERE r.buildid = b.id)";
    let Some(row) = tx.query_opt(query, params![build]).await? else { return Ok(None) };
    let master = MasterId(row.int(0)?);
    let is_heard_of = row.opt_int(2)? == Some(1) && row.opt_int(3)?.is_some_and(|last| last >= alive.0);
    let acts = is_heard_of && crate::masters::is_buildbots(tx, master).await?;
    Ok(Some((master, RequestId(row.int(1)?), acts)))
}

/// Runs whose build somebody else has ended: a Buildbot that was started without `muster release`.
pub async fn ended_by_others(tx: &Tx) -> Result<Vec<BuildId>> {
    let query = "SELECT r.buildid FROM muster_runs r JOIN builds b ON b.id = r.buildid WHERE b.results IS NOT NULL \
                 ORDER BY r.buildid";
    tx.query(query, params![]).await?.iter().map(|row| row.int(0).map(BuildId)).collect()
}

/// One run.
pub async fn by_build(tx: &Tx, build: BuildId) -> Result<Option<RunRow>> {
    let query = "SELECT r.buildid, r.owner, r.epoch, r.workerid, b.builderid, b.buildrequestid, b.number, r.snapshotid, \
                 r.plan FROM muster_runs r JOIN builds b ON b.id = r.buildid WHERE r.buildid = ?";
    tx.query_opt(query, params![build]).await?.map(|row| from_row(&row)).transpose()
}

/// All runs, by build.
pub async fn all(tx: &Tx) -> Result<Vec<RunRow>> {
    let query = "SELECT r.buildid, r.owner, r.epoch, r.workerid, b.builderid, b.buildrequestid, b.number, r.snapshotid, \
                 r.plan FROM muster_runs r JOIN builds b ON b.id = r.buildid ORDER BY r.buildid";
    tx.query(query, params![]).await?.iter().map(from_row).collect()
}

/// The owner of a run that was taken from its owner and that nobody has taken up yet.
pub const NOBODY: MasterId = MasterId(0);

/// The runs that a master owns, by build.
pub async fn of_owner(tx: &Tx, owner: MasterId) -> Result<Vec<RunRow>> {
    let query = "SELECT r.buildid, r.owner, r.epoch, r.workerid, b.builderid, b.buildrequestid, b.number, r.snapshotid, \
                 r.plan FROM muster_runs r JOIN builds b ON b.id = r.buildid WHERE r.owner = ? ORDER BY r.buildid";
    tx.query(query, params![owner]).await?.iter().map(from_row).collect()
}

/// The runs whose owner is gone: `state` is `stopped` or `expired`. An owner that has no lease counts as expired.
pub async fn orphaned(tx: &Tx, state: &'static str) -> Result<Vec<RunRow>> {
    let query = "SELECT r.buildid, r.owner, r.epoch, r.workerid, b.builderid, b.buildrequestid, b.number, r.snapshotid, \
                 r.plan FROM muster_runs r JOIN builds b ON b.id = r.buildid \
                 LEFT JOIN muster_masters m ON m.masterid = r.owner WHERE COALESCE(m.state, 'expired') = ? \
                 ORDER BY r.buildid";
    tx.query(query, params![state]).await?.iter().map(from_row).collect()
}

/// The rights to write that a master has: builds and epochs.
pub async fn keys_of_owner(tx: &Tx, owner: MasterId) -> Result<Vec<RunKey>> {
    let query = "SELECT buildid, epoch FROM muster_runs WHERE owner = ? ORDER BY buildid";
    let rows = tx.query(query, params![owner]).await?;
    rows.iter()
        .map(|row| Ok(RunKey { build: BuildId(row.int(0)?), owner, epoch: Epoch(row.int(1)?) }))
        .collect()
}

/// The runs on workers that another master than `owner` has, by build.
pub async fn of_workers_elsewhere(tx: &Tx, workers: &[WorkerId], owner: MasterId) -> Result<Vec<RunRow>> {
    let query = "SELECT r.buildid, r.owner, r.epoch, r.workerid, b.builderid, b.buildrequestid, b.number, r.snapshotid, \
                 r.plan FROM muster_runs r JOIN builds b ON b.id = r.buildid WHERE r.owner <> ? \
                 AND r.workerid IN (??) ORDER BY r.buildid";
    of_workers(tx, query, params![owner], workers).await?.iter().map(from_row).collect()
}

/// The rights to write about what runs on workers, whoever has them.
pub async fn keys_on(tx: &Tx, workers: &[WorkerId]) -> Result<Vec<(WorkerId, RunKey)>> {
    let query =
        "SELECT workerid, buildid, owner, epoch FROM muster_runs WHERE workerid IN (??) ORDER BY buildid";
    let rows = of_workers(tx, query, params![], workers).await?;
    rows.iter()
        .map(|row| {
            let (build, owner) = (BuildId(row.int(1)?), MasterId(row.int(2)?));
            Ok((WorkerId(row.int(0)?), RunKey { build, owner, epoch: Epoch(row.int(3)?) }))
        })
        .collect()
}

/// Those of these builds of which there is no run: what they were is over for good.
pub async fn over_among(tx: &Tx, builds: &[BuildId]) -> Result<Vec<BuildId>> {
    let query = "SELECT buildid FROM muster_runs WHERE buildid IN (??)";
    let rows = tx.query_among(query, builds.iter().map(|build| (*build).into()).collect()).await?;
    let running = rows.iter().map(|row| row.int(0)).collect::<Result<HashSet<i64>>>()?;
    Ok(builds.iter().copied().filter(|build| !running.contains(&build.0)).collect())
}

async fn of_workers(tx: &Tx, query: &str, mut values: Vec<Value>, workers: &[WorkerId]) -> Result<Vec<Row>> {
    if workers.is_empty() {
        return Ok(Vec::new());
    }
    values.extend(workers.iter().map(|worker| Value::from(*worker)));
    tx.query(&expand_list(query, workers.len()), values).await
}

fn from_row(row: &Row) -> Result<RunRow> {
    Ok(RunRow {
        key: RunKey { build: BuildId(row.int(0)?), owner: MasterId(row.int(1)?), epoch: Epoch(row.int(2)?) },
        worker: WorkerId(row.int(3)?),
        builder: BuilderId(row.int(4)?),
        request: RequestId(row.int(5)?),
        number: row.int(6)?,
        snapshot: row.int(7)?,
        plan: row.text(8)?,
    })
}

/// Changes what is left to do: a step added others.
pub async fn set_plan(tx: &Tx, build: BuildId, plan: &str) -> Result<()> {
    tx.later("UPDATE muster_runs SET plan = ? WHERE buildid = ?", params![plan, build]).await
}

/// Removes runs that are over, with their journals.
pub async fn delete_all(tx: &Tx, builds: &[BuildId]) -> Result<()> {
    let list = || builds.iter().map(|build| (*build).into()).collect();
    tx.later_among("DELETE FROM muster_journal WHERE buildid IN (??)", list()).await?;
    tx.later_among("DELETE FROM muster_runs WHERE buildid IN (??)", list()).await
}

/// The part of an effect that says what came of it. The further ones hold what has become too long to be written again with
/// each change.
pub const FIRST_PART: u8 = 0;

/// The last part that an effect can have: the column holds part and ordinal in 31 bits.
pub const LAST_PART: u8 = 0x7f;

/// Where the part stands in the column `ordinal`. A step has fewer effects than that.
const PART_SHIFT: u32 = 24;

/// One effect of a running step and what came of it, or a further part of that.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct JournalRow {
    pub step: u32,
    pub ordinal: u32,
    /// At most [`LAST_PART`].
    pub part: u8,
    pub kind: String,
    /// Of the effect's arguments: a replay that asks for something else must not get this outcome.
    pub args_hash: String,
    /// JSON.
    pub outcome: String,
}

/// Writes effects down, or what has become of them since.
pub async fn journal_all(tx: &Tx, rows: &[(BuildId, &JournalRow)]) -> Result<()> {
    let upsert = "INSERT INTO muster_journal (buildid, step, ordinal, kind, args_hash, outcome) VALUES (??) \
                  ON CONFLICT (buildid, step, ordinal) DO UPDATE SET outcome = excluded.outcome";
    let values = rows.iter().map(|(build, row)| {
        let place = row.ordinal | u32::from(row.part) << PART_SHIFT;
        params![*build, row.step, place, &row.kind, &row.args_hash, &row.outcome]
    });
    tx.insert_rows(upsert, "(?, ?, ?, ?, ?, ?)", values.collect()).await
}

/// The journal of a step that was running: first parts in the order of the effects, then second parts, and so on.
pub async fn journal_of(tx: &Tx, build: BuildId, step: u32) -> Result<Vec<JournalRow>> {
    let query = "SELECT ordinal, kind, args_hash, outcome FROM muster_journal WHERE buildid = ? AND step = ? \
                 ORDER BY ordinal";
    let rows = tx.query(query, params![build, step]).await?;
    rows.iter()
        .map(|row| {
            let place = row.int(0)? as u32;
            Ok(JournalRow {
                step,
                ordinal: place & ((1 << PART_SHIFT) - 1),
                part: (place >> PART_SHIFT) as u8,
                kind: row.text(1)?,
                args_hash: row.text(2)?,
                outcome: row.text(3)?,
            })
        })
        .collect()
}

/// Drops the journals of finished steps.
pub async fn drop_journals(tx: &Tx, steps: &[(BuildId, u32)]) -> Result<()> {
    for (build, step) in steps {
        tx.later("DELETE FROM muster_journal WHERE buildid = ? AND step = ?", params![*build, *step]).await?;
    }
    Ok(())
}

/// The number of a snapshot; stores it when no equal one is there.
pub async fn snapshot_id(tx: &Tx, digest: &str, content: &str, now: Timestamp) -> Result<i64> {
    if let Some(row) =
        tx.query_opt("SELECT id FROM muster_snapshots WHERE digest = ?", params![digest]).await?
    {
        return row.int(0);
    }
    let insert = "INSERT INTO muster_snapshots (digest, content, created_at) VALUES (?, ?, ?)";
    found_next_time(tx, tx.insert(insert, params![digest, content, now]).await).await
}

/// The text of a stored snapshot.
pub async fn snapshot(tx: &Tx, id: i64) -> Result<Option<String>> {
    let row = tx.query_opt("SELECT content FROM muster_snapshots WHERE id = ?", params![id]).await?;
    row.map(|row| row.text(0)).transpose()
}

/// Whether a master of Muster, whichever it is, runs this build.
pub async fn exists(tx: &Tx, build: BuildId) -> Result<bool> {
    let query = "SELECT 1 FROM muster_runs WHERE buildid = ?";
    Ok(tx.query_opt(query, params![build]).await?.is_some())
}

/// The running builds of a request.
pub async fn builds_of_request(tx: &Tx, request: RequestId) -> Result<Vec<BuildId>> {
    let query = "SELECT id FROM builds WHERE buildrequestid = ? AND results IS NULL ORDER BY id";
    let rows = tx.query(query, params![request]).await?;
    rows.iter().map(|row| row.int(0).map(BuildId)).collect()
}
