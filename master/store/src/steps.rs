//! Steps and their logs.

use muster_core::{BuildId, Log, LogId, LogKind, Results, Step, StepId, StepUrl, Timestamp};

use crate::{Error, Result, Row, Tx, chunks::Chunk, dialect::expand_rows, json_text, params};

/// Inserts a step that has started.
pub async fn insert(
    tx: &Tx,
    build: BuildId,
    number: u32,
    name: &str,
    state: &str,
    now: Timestamp,
) -> Result<StepId> {
    let insert = "INSERT INTO steps (number, name, buildid, started_at, state_string, urls_json) \
                  VALUES (?, ?, ?, ?, ?, '[]')";
    tx.insert(insert, params![number, name, build, now, state]).await.map(StepId)
}

/// The id of a build's step.
pub async fn id_of(tx: &Tx, build: BuildId, number: u32) -> Result<StepId> {
    let row =
        tx.query_opt("SELECT id FROM steps WHERE buildid = ? AND number = ?", params![build, number]).await?;
    let row = row.ok_or_else(|| Error::Data(format!("build {build} has no step {number}")))?;
    row.int(0).map(StepId)
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

/// Sets the line that people see.
pub async fn set_state(tx: &Tx, id: StepId, state: &str) -> Result<()> {
    tx.execute("UPDATE steps SET state_string = ? WHERE id = ?", params![state, id]).await?;
    Ok(())
}

/// Adds a link; one that is there already is left alone.
pub async fn add_url(tx: &Tx, id: StepId, url: &StepUrl) -> Result<()> {
    let Some(step) = by_id(tx, id).await? else { return Ok(()) };
    let mut urls = step.urls;
    if urls.contains(url) {
        return Ok(());
    }
    urls.push(url.clone());
    tx.execute("UPDATE steps SET urls_json = ? WHERE id = ?", params![json_text(&urls)?, id]).await?;
    Ok(())
}

/// Notes when a step had its locks: from then on it really runs.
pub async fn set_locks_acquired(tx: &Tx, id: StepId, now: Timestamp) -> Result<()> {
    tx.execute("UPDATE steps SET locks_acquired_at = ? WHERE id = ?", params![now, id]).await?;
    Ok(())
}

/// Ends a step. `false`: it had ended already.
pub async fn finish(
    tx: &Tx,
    id: StepId,
    results: Results,
    hidden: bool,
    state: &str,
    now: Timestamp,
) -> Result<bool> {
    let update = "UPDATE steps SET results = ?, complete_at = ?, hidden = ?, state_string = ? \
                  WHERE id = ? AND results IS NULL";
    Ok(tx.execute(update, params![results, now, hidden, state, id]).await? == 1)
}

/// Makes a log under a slug that is free in its step.
pub async fn insert_log(tx: &Tx, step: StepId, name: &str, slug: &str, kind: LogKind) -> Result<LogId> {
    let insert = "INSERT INTO logs (name, slug, stepid, complete, num_lines, type) VALUES (?, ?, ?, 0, 0, ?)";
    tx.insert(insert, params![name, slug, step, kind.letter()]).await.map(LogId)
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

/// Chunks in one statement: 2 MB at most, which every server takes with its default limits.
const CHUNKS_PER_STATEMENT: usize = 32;
pub(crate) const INSERT_CHUNKS: &str =
    "INSERT INTO logchunks (logid, first_line, last_line, content, compressed) VALUES (??)";

/// Appends chunks to a log.
pub async fn append(tx: &Tx, log: LogId, chunks: &[Chunk]) -> Result<()> {
    let row = tx.query_opt("SELECT num_lines FROM logs WHERE id = ?", params![log]).await?;
    let mut line = row.ok_or_else(|| Error::Data(format!("there is no log {log}")))?.int(0)?;
    for part in chunks.chunks(CHUNKS_PER_STATEMENT) {
        let mut values = Vec::with_capacity(5 * part.len());
        for chunk in part {
            let last = line + chunk.lines - 1;
            values.extend(params![log, line, last, chunk.content.clone(), chunk.compressed]);
            line = last + 1;
        }
        tx.execute(&expand_rows(INSERT_CHUNKS, "(?, ?, ?, ?, ?)", part.len()), values).await?;
    }
    tx.execute("UPDATE logs SET num_lines = ? WHERE id = ?", params![line, log]).await?;
    Ok(())
}

/// Nothing more is appended.
pub async fn finish_log(tx: &Tx, log: LogId) -> Result<()> {
    tx.execute("UPDATE logs SET complete = 1 WHERE id = ?", params![log]).await?;
    Ok(())
}

/// The open logs of a step.
pub async fn open_logs(tx: &Tx, step: StepId) -> Result<Vec<LogId>> {
    let rows = tx.query("SELECT id FROM logs WHERE stepid = ? AND complete = 0", params![step]).await?;
    rows.iter().map(|row| row.int(0).map(LogId)).collect()
}
