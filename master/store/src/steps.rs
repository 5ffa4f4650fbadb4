//! Steps and their logs.

use muster_core::{BuildId, Log, LogId, LogKind, MasterId, Results, Step, StepId, StepUrl, Timestamp};

use crate::{
    Error, Result, Row, Tx,
    chunks::Chunk,
    dialect::{batches, expand_list, expand_rows, padded},
    json_text, params,
};

/// Inserts steps as they are, but for their ids, which it answers in their order.
pub async fn insert_all(tx: &Tx, steps: &[&Step]) -> Result<Vec<StepId>> {
    let insert = "INSERT INTO steps (number, name, buildid, started_at, locks_acquired_at, complete_at, state_string, \
                  results, urls_json, hidden) VALUES (??)";
    let row = |step: &&Step| {
        Ok(params![
            step.number,
            &step.name,
            step.build,
            step.started_at,
            step.locks_acquired_at,
            step.complete_at,
            &step.state_string,
            step.results,
            json_text(&step.urls)?,
            step.hidden,
        ])
    };
    let rows = steps.iter().map(row).collect::<Result<_>>()?;
    let ids = tx.insert_rows_with_ids(insert, "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows).await?;
    Ok(ids.into_iter().map(StepId).collect())
}

/// Writes down how a step has changed. One that had ended before stays as it is.
pub async fn update(tx: &Tx, step: &Step) -> Result<()> {
    let update = "UPDATE steps SET locks_acquired_at = ?, complete_at = ?, state_string = ?, results = ?, \
                  urls_json = ?, hidden = ? WHERE id = ? AND results IS NULL";
    let values = params![
        step.locks_acquired_at,
        step.complete_at,
        &step.state_string,
        step.results,
        json_text(&step.urls)?,
        step.hidden,
        step.id,
    ];
    tx.later(update, values).await
}

/// The steps of these builds that have one of these numbers.
pub async fn numbered(tx: &Tx, builds: &[BuildId], numbers: &[u32]) -> Result<Vec<Step>> {
    let query = "SELECT id, buildid, number, name, started_at, locks_acquired_at, complete_at, state_string, \
                 results, urls_json, hidden FROM steps WHERE buildid IN (??) AND number IN (??)";
    rows_of_numbered(tx, query, builds, numbers).await?.iter().map(from_row).collect()
}

async fn rows_of_numbered(tx: &Tx, query: &str, builds: &[BuildId], numbers: &[u32]) -> Result<Vec<Row>> {
    if builds.is_empty() || numbers.is_empty() {
        return Ok(Vec::new());
    }
    let mut values = padded(builds.iter().map(|build| (*build).into()).collect());
    let query = expand_list(query, values.len());
    let numbers = padded(numbers.iter().map(|number| (*number).into()).collect());
    let query = expand_list(&query, numbers.len());
    values.extend(numbers);
    tx.query(&query, values).await
}

/// One step.
pub async fn by_id(tx: &Tx, id: StepId) -> Result<Option<Step>> {
    let query = "SELECT id, buildid, number, name, started_at, locks_acquired_at, complete_at, state_string, \
                 results, urls_json, hidden FROM steps WHERE id = ?";
    tx.query_opt(query, params![id]).await?.map(|row| from_row(&row)).transpose()
}

/// The steps of a build, in their order.
pub async fn of_build(tx: &Tx, build: BuildId) -> Result<Vec<Step>> {
    let query = "SELECT id, buildid, number, name, started_at, locks_acquired_at, complete_at, state_string, \
                 results, urls_json, hidden FROM steps WHERE buildid = ? ORDER BY number";
    tx.query(query, params![build]).await?.iter().map(from_row).collect()
}

pub(crate) fn from_row(row: &Row) -> Result<Step> {
    let urls = row.json(9)?;
    let urls: Vec<StepUrl> =
        serde_json::from_value(urls).map_err(|error| Error::Data(format!("urls of a step: {error}")))?;
    Ok(Step {
        id: StepId(row.int(0)?),
        build: BuildId(row.int(1)?),
        number: row.int(2)?,
        name: row.text(3)?,
        started_at: row.opt_time(4)?,
        locks_acquired_at: row.opt_time(5)?,
        complete_at: row.opt_time(6)?,
        state_string: row.text(7)?,
        results: row.results(8)?,
        urls,
        hidden: row.bool(10)?,
    })
}

/// Inserts logs as they are, but for their ids, which it answers in their order. Their slugs must be free.
pub async fn insert_logs(tx: &Tx, logs: &[&Log]) -> Result<Vec<LogId>> {
    let insert = "INSERT INTO logs (name, slug, stepid, complete, num_lines, type) VALUES (??)";
    let row =
        |log: &&Log| params![&log.name, &log.slug, log.step, log.complete, log.num_lines, log.kind.letter()];
    let ids = tx.insert_rows_with_ids(insert, "(?, ?, ?, ?, ?, ?)", logs.iter().map(row).collect()).await?;
    Ok(ids.into_iter().map(LogId).collect())
}

/// Writes down how many lines logs have, and whether they are complete.
pub async fn update_logs(tx: &Tx, logs: &[&Log]) -> Result<()> {
    let when = |count: usize| " WHEN ? THEN ?".repeat(count);
    for part in logs.chunks(LOGS_PER_STATEMENT) {
        let mut logs = part.to_vec();
        // As in every list: few lengths, so that statements stay prepared. The first of equal cases counts.
        logs.resize(logs.len().next_power_of_two(), logs[logs.len() - 1]);
        // SQL: as many marks as there are logs.
        let update = format!(
            "UPDATE logs SET num_lines = CASE id{cases} ELSE num_lines END, \
             complete = CASE id{cases} ELSE complete END WHERE id IN (??)",
            cases = when(logs.len())
        );
        let lines = logs.iter().flat_map(|log| params![log.id, log.num_lines]);
        let complete = logs.iter().flat_map(|log| params![log.id, log.complete]);
        let ids = logs.iter().map(|log| log.id.into());
        let values = lines.chain(complete).chain(ids).collect();
        tx.later(&expand_list(&update, logs.len()), values).await?;
    }
    Ok(())
}

/// The logs of the steps that [`numbered`] answers.
pub async fn logs_of_numbered(tx: &Tx, builds: &[BuildId], numbers: &[u32]) -> Result<Vec<Log>> {
    let query = "SELECT l.id, l.stepid, l.name, l.slug, l.complete, l.num_lines, l.type FROM logs l \
                 JOIN steps s ON s.id = l.stepid WHERE s.buildid IN (??) AND s.number IN (??)";
    rows_of_numbered(tx, query, builds, numbers).await?.iter().map(log_from_row).collect()
}

/// The log with this slug.
pub async fn find_log(tx: &Tx, step: StepId, slug: &str) -> Result<Option<Log>> {
    let query =
        "SELECT id, stepid, name, slug, complete, num_lines, type FROM logs WHERE stepid = ? AND slug = ?";
    tx.query_opt(query, params![step, slug]).await?.map(|row| log_from_row(&row)).transpose()
}

/// One log.
pub async fn log_by_id(tx: &Tx, id: LogId) -> Result<Option<Log>> {
    let query = "SELECT id, stepid, name, slug, complete, num_lines, type FROM logs WHERE id = ?";
    tx.query_opt(query, params![id]).await?.map(|row| log_from_row(&row)).transpose()
}

/// A log from the seven columns that [`log_by_id`] selects, in that order.
pub(crate) fn log_from_row(row: &Row) -> Result<Log> {
    let letter = row.text(6)?;
    Ok(Log {
        id: LogId(row.int(0)?),
        step: StepId(row.int(1)?),
        name: row.text(2)?,
        slug: row.text(3)?,
        complete: row.bool(4)?,
        num_lines: row.int(5)?,
        kind: LogKind::from_letter(&letter)
            .ok_or_else(|| Error::Data(format!("a log has the unknown type {letter:?}")))?,
    })
}

/// Logs that one statement changes.
const LOGS_PER_STATEMENT: usize = 32;
/// Chunks in one statement: 2 MB at most, which every server takes with its default limits.
const CHUNKS_PER_STATEMENT: usize = 32;
pub(crate) const INSERT_CHUNKS: &str =
    "INSERT INTO logchunks (logid, first_line, last_line, content, compressed) VALUES (??)";

/// A chunk with its place: the log, and the number of its first line.
#[derive(Clone, Copy, Debug)]
pub struct Placed<'a>(pub LogId, pub i64, pub &'a Chunk);

/// Inserts chunks. How many lines their logs have is [written down](update_logs) by the caller.
pub async fn insert_chunks(tx: &Tx, chunks: &[Placed<'_>]) -> Result<()> {
    let mut rest = chunks;
    for size in batches(chunks.len(), CHUNKS_PER_STATEMENT) {
        let (part, after) = rest.split_at(size);
        rest = after;
        let mut values = Vec::with_capacity(5 * size);
        for Placed(log, first, chunk) in part {
            let last = first + chunk.lines - 1;
            values.extend(params![*log, *first, last, chunk.content.clone(), chunk.compressed]);
        }
        tx.later(&expand_rows(INSERT_CHUNKS, "(?, ?, ?, ?, ?)", size), values).await?;
    }
    Ok(())
}

/// Ends what a master of Buildbot that died has left open in builds of its that are over: steps, and logs of steps. Answers how
/// many rows.
pub async fn end_those_left(tx: &Tx, master: MasterId, now: Timestamp) -> Result<u64> {
    let steps = "UPDATE steps SET results = ?, complete_at = ? WHERE results IS NULL AND buildid IN \
                 (SELECT id FROM builds WHERE masterid = ? AND results IS NOT NULL)";
    let logs = "UPDATE logs SET complete = 1 WHERE complete = 0 AND stepid IN \
                (SELECT s.id FROM steps s JOIN builds b ON b.id = s.buildid WHERE b.masterid = ? \
                AND b.results IS NOT NULL AND s.results IS NOT NULL)";
    let ended = tx.execute(steps, params![Results::Retry, now, master]).await?;
    Ok(ended + tx.execute(logs, params![master]).await?)
}
