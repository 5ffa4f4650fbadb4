//! Chunks of finished logs are grouped: a log that trickled in consists of many small ones.
//!
//! Which logs are due is a table: a row is made in the transaction that ends the log, and goes when the log is done. So
//! what a master leaves undone is taken up by the next one.

use muster_core::{LogId, Timestamp};

use crate::{
    Committed, Db, Error, Result, Tx, Value,
    chunks::{Compression, MAX_CHUNK, chunk, decode},
    params,
    steps::INSERT_CHUNKS,
};

/// Lines that a group may span, less one (Buildbot's number).
const MAX_SPAN: i64 = 1000;

/// A master that has taken a log and not finished it within so many seconds is thought to be gone. Should it not be,
/// nothing is lost: of two that group the same chunks, only the first one writes.
const PATIENCE: i64 = 600;

/// Notes ended logs that consist of more than one chunk.
pub async fn wanted(tx: &Tx, logs: &[LogId]) -> Result<()> {
    let insert = "INSERT INTO muster_regroup (logid, taken_at) VALUES (??) ON CONFLICT DO NOTHING";
    tx.insert_rows(insert, "(?, ?)", logs.iter().map(|log| params![*log, 0]).collect()).await
}

/// Takes a log that is due, if there is one.
pub async fn take(db: &Db, now: Timestamp) -> Result<Option<LogId>> {
    let taken = db.tx("take_regroup", |tx| async move {
        let query = "SELECT logid FROM muster_regroup WHERE taken_at < ? ORDER BY logid LIMIT 1 FOR UPDATE SKIP LOCKED";
        let Some(row) = tx.query_opt(query, params![now.0 - PATIENCE]).await? else { return Ok(None) };
        let log = row.int(0)?;
        tx.later("UPDATE muster_regroup SET taken_at = ? WHERE logid = ?", params![now, log]).await?;
        Ok::<_, Error>(Some(LogId(log)))
    });
    taken.await.map(Committed::into_inner)
}

/// A log needs no grouping any more.
pub async fn done(db: &Db, log: LogId) -> Result<()> {
    let done = db.tx("done_regroup", |tx| async move {
        tx.execute("DELETE FROM muster_regroup WHERE logid = ?", params![log]).await
    });
    done.await.map(|_| ())
}

/// A stored chunk, without its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    first: i64,
    last: i64,
    stored: usize,
}

/// Groups the chunks of a finished log, each group in a transaction of its own, compressed with `method`. Answers how
/// many chunks there are afterwards. Lines and numbers stay what they are at every moment; interrupted, it can be done
/// again.
pub async fn regroup(db: &Db, log: LogId, method: Compression) -> Result<usize> {
    let extents = db.read("log_extents", |tx| async move {
        let query = "SELECT first_line, last_line, LENGTH(content) FROM logchunks WHERE logid = ? ORDER BY first_line";
        let rows = tx.query(query, params![log]).await?;
        rows.iter()
            .map(|row| {
                let stored = usize::try_from(row.opt_int(2)?.unwrap_or(0)).unwrap_or(usize::MAX);
                Ok(Extent { first: row.int(0)?, last: row.int(1)?, stored })
            })
            .collect::<Result<Vec<_>>>()
    });
    let extents = extents.await?;
    let groups = groups(&extents);
    for group in groups.iter().filter(|group| group.len() > 1) {
        rewrite(db, log, group, method).await?;
    }
    Ok(groups.len())
}

/// Neighbours, while what is stored of them stays within a chunk's size and their lines within the span.
fn groups(extents: &[Extent]) -> Vec<&[Extent]> {
    let mut groups = Vec::new();
    let mut start = 0;
    for end in 1..=extents.len() {
        let ends = extents.get(end).is_none_or(|next| {
            let stored: usize = extents[start..=end].iter().map(|extent| extent.stored).sum();
            stored > MAX_CHUNK || next.last - extents[start].first > MAX_SPAN
        });
        if ends {
            groups.push(&extents[start..end]);
            start = end;
        }
    }
    groups
}

async fn rewrite(db: &Db, log: LogId, group: &[Extent], method: Compression) -> Result<()> {
    let (Some(first), Some(last)) = (group.first(), group.last()) else { return Ok(()) };
    let (first, last) = (first.first, last.last);
    let contents = db.read("log_group", |tx| async move {
        let query = "SELECT content, compressed FROM logchunks WHERE logid = ? AND first_line >= ? AND last_line <= ? \
                     ORDER BY first_line";
        let rows = tx.query(query, params![log, first, last]).await?;
        rows.iter().map(|row| Ok((row.bytes(0)?, row.int(1)?))).collect::<Result<Vec<_>>>()
    });
    let contents = contents.await?;
    let packed = tokio::task::spawn_blocking(move || {
        let texts =
            contents.iter().map(|(content, code)| decode(content, *code)).collect::<Result<Vec<_>>>()?;
        Ok::<_, Error>(chunk(&texts.join("\n"), method))
    });
    let packed =
        packed.await.map_err(|error| Error::Data(format!("a chunk could not be made: {error}")))??;
    // Damaged text, or a method that packs so much worse that the group would be cut: then it stays as it is.
    if packed.lines != last - first + 1 || packed.content.len() >= MAX_CHUNK {
        return Ok(());
    }
    let expected = group.len() as u64;
    let values: Vec<Value> = params![log, first, last, packed.content, packed.compressed];
    let rewritten = db.tx("regroup_log", |tx| {
        let values = values.clone();
        async move {
            let delete = "DELETE FROM logchunks WHERE logid = ? AND first_line >= ? AND last_line <= ?";
            if tx.execute(delete, params![log, first, last]).await? != expected {
                return Err(Error::Data(format!("chunks of log {log} were changed by somebody else")));
            }
            tx.later(&INSERT_CHUNKS.replace("(??)", "(?, ?, ?, ?, ?)"), values).await
        }
    });
    rewritten.await.map(Committed::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extents(of: &[(i64, usize)]) -> Vec<Extent> {
        let mut first = 0;
        let mut all = Vec::new();
        for (lines, stored) in of {
            all.push(Extent { first, last: first + lines - 1, stored: *stored });
            first += lines;
        }
        all
    }

    fn sizes(of: &[(i64, usize)]) -> Vec<usize> {
        groups(&extents(of)).iter().map(|group| group.len()).collect()
    }

    #[test]
    fn neighbours_are_grouped_up_to_a_chunks_size() {
        assert_eq!(sizes(&[]), [0; 0]);
        assert_eq!(sizes(&[(1, 10)]), [1]);
        assert_eq!(sizes(&[(1, 30_000), (1, 30_000), (1, 30_000), (1, 70_000), (1, 1)]), [2, 1, 1, 1]);
    }

    #[test]
    fn a_group_spans_no_more_lines_than_buildbots() {
        // 1801 lines became 0-899 and 900-1800 in a real Buildbot.
        assert_eq!(sizes(&[(900, 10), (901, 10)]), [1, 1]);
        assert_eq!(sizes(&[(500, 10), (501, 10), (1, 10)]), [2, 1]);
    }
}
