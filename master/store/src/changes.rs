//! Changes, and what each scheduler made of them.

use muster_core::{ChangeId, SchedulerId, SourceStampId, Timestamp};

use crate::{Result, Tx, json_text, names::found_next_time, params, sourcestamps::NewSourceStamp};

/// Columns of a change beside its sourcestamp.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct ChangeRow {
    pub author: String,
    pub committer: Option<String>,
    pub comments: String,
    pub revlink: Option<String>,
    pub when: i64,
    pub category: Option<String>,
    pub files: Vec<String>,
    /// Name and JSON text of `[value, "Change"]`.
    pub properties: Vec<(String, String)>,
    /// Kind of version control, when users are to be made from authors (`git`, `svn`, …).
    pub src: Option<String>,
}

/// Version controls whose authors become users (`docs/compat/behaviour-3-changes-schedulers.md` 3.1).
const KINDS_WITH_USERS: [&str; 7] = ["git", "svn", "hg", "cvs", "darcs", "bzr", "fossil"];

/// Characters of an author in `users_info`; longer ones that begin alike are one user.
const MAX_USER: usize = 128;

/// Inserts a change with its files, properties, parent and user.
pub async fn insert(
    tx: &Tx,
    row: &ChangeRow,
    stamp: &NewSourceStamp,
    stamp_id: SourceStampId,
) -> Result<ChangeId> {
    let parent = parent_of(tx, stamp).await?;
    let insert = "INSERT INTO changes (author, committer, comments, branch, revision, revlink, when_timestamp, category, \
                  repository, codebase, project, sourcestampid, parent_changeids) \
                  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let values = params![
        &row.author,
        row.committer.clone(),
        &row.comments,
        stamp.branch.clone(),
        stamp.revision.clone(),
        row.revlink.clone(),
        row.when,
        row.category.clone(),
        &stamp.repository,
        &stamp.codebase,
        &stamp.project,
        stamp_id,
        parent
    ];
    let id = tx.insert(insert, values).await?;
    let ours = "INSERT INTO muster_changes (changeid) VALUES (?) ON CONFLICT DO NOTHING";
    tx.later(ours, params![id]).await?;
    for file in &row.files {
        tx.later("INSERT INTO change_files (changeid, filename) VALUES (?, ?)", params![id, file]).await?;
    }
    for (name, value) in &row.properties {
        let insert =
            "INSERT INTO change_properties (changeid, property_name, property_value) VALUES (?, ?, ?)";
        tx.later(insert, params![id, name, value]).await?;
    }
    if let Some(kind) = row.src.as_deref().filter(|kind| KINDS_WITH_USERS.contains(kind)) {
        let user = find_or_create_user(tx, kind, &row.author).await?;
        tx.later("INSERT INTO change_users (changeid, uid) VALUES (?, ?)", params![id, user]).await?;
    }
    Ok(ChangeId(id))
}

async fn parent_of(tx: &Tx, stamp: &NewSourceStamp) -> Result<Option<i64>> {
    let query = "SELECT changeid FROM changes WHERE branch IS ? AND repository = ? AND project = ? AND codebase = ? \
                 ORDER BY changeid DESC LIMIT 1";
    let values = params![stamp.branch.clone(), &stamp.repository, &stamp.project, &stamp.codebase];
    tx.query_opt(query, values).await?.map(|row| row.int(0)).transpose()
}

async fn find_or_create_user(tx: &Tx, kind: &str, author: &str) -> Result<i64> {
    let author: String = author.chars().take(MAX_USER).collect();
    let author = author.as_str();
    let query = "SELECT uid FROM users_info WHERE attr_type = ? AND attr_data = ?";
    if let Some(row) = tx.query_opt(query, params![kind, author]).await? {
        return row.int(0);
    }
    let mut identifier = author.to_owned();
    let mut number = 2;
    while tx.query_opt("SELECT uid FROM users WHERE identifier = ?", params![&identifier]).await?.is_some() {
        identifier = format!("{author}_{number}");
        number += 1;
    }
    let user = found_next_time(
        tx,
        tx.insert("INSERT INTO users (identifier) VALUES (?)", params![identifier]).await,
    )
    .await?;
    let insert = "INSERT INTO users_info (uid, attr_type, attr_data) VALUES (?, ?, ?)";
    found_next_time(tx, tx.execute(insert, params![user, kind, author]).await).await?;
    Ok(user)
}

/// Notes that a scheduler has classified a change. `false`: it had before.
pub async fn mark_seen(tx: &Tx, scheduler: SchedulerId, change: ChangeId) -> Result<bool> {
    let insert =
        "INSERT INTO muster_change_seen (schedulerid, changeid) VALUES (?, ?) ON CONFLICT DO NOTHING";
    Ok(tx.execute(insert, params![scheduler, change]).await? == 1)
}

/// Changes that a scheduler hasn't classified, oldest first.
pub async fn unseen(tx: &Tx, scheduler: SchedulerId, limit: i64) -> Result<Vec<ChangeId>> {
    let query = "SELECT c.changeid FROM changes c WHERE c.changeid > \
                 (SELECT COALESCE(MAX(low_water), 0) FROM muster_change_marks WHERE schedulerid = ?1) \
                 AND NOT EXISTS (SELECT 1 FROM muster_change_seen s WHERE s.schedulerid = ?1 AND s.changeid = c.changeid) \
                 ORDER BY c.changeid LIMIT ?2";
    let rows = tx.query(query, params![scheduler, limit]).await?;
    rows.iter().map(|row| row.int(0).map(ChangeId)).collect()
}

/// How many of the newest changes stay above the mark: ids of transactions that run at once commit out of order.
const MARK_TRAILS_BY: i64 = 1000;

/// Starts a scheduler's mark at the present end of the changes, unless it has one.
pub async fn start_mark(tx: &Tx, scheduler: SchedulerId) -> Result<()> {
    let insert = "INSERT INTO muster_change_marks (schedulerid, low_water) \
                  SELECT ?, COALESCE(MAX(changeid), 0) FROM changes WHERE 1 = 1 ON CONFLICT DO NOTHING";
    tx.later(insert, params![scheduler]).await
}

/// Raises a scheduler's mark past changes that are classified without a gap, and drops the rows below it.
pub async fn raise_mark(tx: &Tx, scheduler: SchedulerId) -> Result<()> {
    let first_unseen = unseen(tx, scheduler, 1).await?.first().map_or(i64::MAX, |change| change.0 - 1);
    let row = tx.query_opt("SELECT COALESCE(MAX(changeid), 0) FROM changes", params![]).await?;
    let newest = row.map_or(Ok(0), |row| row.int(0))?;
    let mark = first_unseen.min(newest - MARK_TRAILS_BY);
    if mark <= 0 {
        return Ok(());
    }
    let update = "UPDATE muster_change_marks SET low_water = ? WHERE schedulerid = ? AND low_water < ?";
    if tx.execute(update, params![mark, scheduler, mark]).await? == 1 {
        let delete = "DELETE FROM muster_change_seen WHERE schedulerid = ? AND changeid <= ?";
        tx.later(delete, params![scheduler, mark]).await?;
        // Below every mark nobody asks any more whose a change was.
        let delete =
            "DELETE FROM muster_changes WHERE changeid <= (SELECT MIN(low_water) FROM muster_change_marks)";
        tx.later(delete, params![]).await?;
    }
    Ok(())
}

/// Leaves out what a master of Buildbot has dealt with, at the moment when a master of Muster begins to own a scheduler: what
/// was Buildbot's begins at the end of its ownership. Buildbot's schedulers look at a change once, when it comes, so
///
/// - the changes that Buildbot itself stored are done, unless one of its masters lives beside and may have stored them for us;
/// - any other is done when the scheduler keeps it, or has made a buildset of it.
///
/// `alive` is since when a master that lives was heard of. Answers how many were left out.
pub async fn leave_out_buildbots(
    tx: &Tx,
    scheduler: SchedulerId,
    name: &str,
    alive: Timestamp,
) -> Result<u64> {
    let ever = "SELECT 1 FROM masters m LEFT JOIN muster_masters l ON l.masterid = m.id \
                LEFT JOIN muster_heartbeats h ON h.masterid = m.id \
                WHERE COALESCE(h.was_buildbot, 0) = 1 OR (l.masterid IS NULL AND (m.active = 1 OR m.last_active > 0)) LIMIT 1";
    if tx.query_opt(ever, params![]).await?.is_none() {
        return Ok(0);
    }
    let lives = "SELECT 1 FROM masters m LEFT JOIN muster_masters l ON l.masterid = m.id WHERE m.active = 1 \
                 AND m.last_active >= ? AND COALESCE(l.state, 'expired') IN ('stopped', 'expired') LIMIT 1";
    let mut left_out = 0;
    if tx.query_opt(lives, params![alive]).await?.is_none() {
        let skip = "INSERT INTO muster_change_seen (schedulerid, changeid) SELECT ?1, c.changeid FROM changes c \
                    WHERE c.changeid > (SELECT COALESCE(MAX(low_water), 0) FROM muster_change_marks WHERE schedulerid = ?1) \
                    AND NOT EXISTS (SELECT 1 FROM muster_changes o WHERE o.changeid = c.changeid) \
                    ON CONFLICT DO NOTHING";
        left_out += tx.execute(skip, params![scheduler]).await?;
    }
    let by_this = json_text(&(name, "Scheduler"))?;
    let skip = "INSERT INTO muster_change_seen (schedulerid, changeid) SELECT ?1, c.changeid FROM changes c \
                WHERE c.changeid > (SELECT COALESCE(MAX(low_water), 0) FROM muster_change_marks WHERE schedulerid = ?1) \
                AND (EXISTS (SELECT 1 FROM scheduler_changes k WHERE k.schedulerid = ?1 AND k.changeid = c.changeid) \
                OR EXISTS (SELECT 1 FROM buildset_sourcestamps s JOIN buildset_properties p ON p.buildsetid = s.buildsetid \
                WHERE s.sourcestampid = c.sourcestampid AND p.property_name = 'scheduler' AND p.property_value = ?2)) \
                ON CONFLICT DO NOTHING";
    left_out += tx.execute(skip, params![scheduler, by_this]).await?;
    raise_mark(tx, scheduler).await?;
    Ok(left_out)
}

/// Keeps a classified change for a later buildset.
pub async fn keep(tx: &Tx, scheduler: SchedulerId, change: ChangeId, important: bool) -> Result<()> {
    let upsert = "INSERT INTO scheduler_changes (schedulerid, changeid, important) VALUES (?, ?, ?) \
                  ON CONFLICT (schedulerid, changeid) DO UPDATE SET important = excluded.important";
    tx.later(upsert, params![scheduler, change, important]).await
}

/// The kept changes of a scheduler, oldest first, with their importance.
pub async fn kept(tx: &Tx, scheduler: SchedulerId) -> Result<Vec<(ChangeId, bool)>> {
    let query = "SELECT changeid, important FROM scheduler_changes WHERE schedulerid = ? ORDER BY changeid";
    let rows = tx.query(query, params![scheduler]).await?;
    rows.iter().map(|row| Ok((ChangeId(row.int(0)?), row.bool(1)?))).collect()
}

/// Drops kept changes: a buildset was made of them, or nobody wants them.
pub async fn drop_kept(tx: &Tx, scheduler: SchedulerId, changes: &[ChangeId]) -> Result<()> {
    for change in changes {
        let delete = "DELETE FROM scheduler_changes WHERE schedulerid = ? AND changeid = ?";
        tx.later(delete, params![scheduler, *change]).await?;
    }
    Ok(())
}

/// Whether a sourcestamp came from changes.
pub async fn any_of_sourcestamp(tx: &Tx, stamp: SourceStampId) -> Result<bool> {
    let query = "SELECT 1 FROM changes WHERE sourcestampid = ? LIMIT 1";
    Ok(tx.query_opt(query, params![stamp]).await?.is_some())
}

/// Forgets which changes were classified by schedulers that are not among `names`: one that comes back later begins
/// at the end of the changes, as a new one does.
pub async fn forget_schedulers_except(tx: &Tx, names: &[String]) -> Result<()> {
    let query = "SELECT s.id, s.name FROM muster_change_marks m JOIN schedulers s ON s.id = m.schedulerid";
    for row in tx.query(query, params![]).await? {
        let (id, name) = (row.int(0)?, row.text(1)?);
        if !names.contains(&name) {
            tx.later("DELETE FROM muster_change_marks WHERE schedulerid = ?", params![id]).await?;
            tx.later("DELETE FROM muster_change_seen WHERE schedulerid = ?", params![id]).await?;
        }
    }
    Ok(())
}

/// The newest change behind the newest `kept` ones; `None`: there are not so many.
pub async fn behind_newest(tx: &Tx, kept: u64) -> Result<Option<ChangeId>> {
    let query = "SELECT changeid FROM changes ORDER BY changeid DESC LIMIT 1 OFFSET ?";
    let kept = i64::try_from(kept).unwrap_or(i64::MAX);
    tx.query_opt(query, params![kept]).await?.map(|row| row.int(0).map(ChangeId)).transpose()
}

/// Deletes at most `limit` of the oldest changes up to `last`, with all that hangs on them; answers how many. Those that a
/// scheduler keeps for a build stay: it would forget them.
pub async fn delete_oldest(tx: &Tx, last: ChangeId, limit: i64) -> Result<usize> {
    let query = "SELECT c.changeid FROM changes c WHERE c.changeid <= ? \
                 AND NOT EXISTS (SELECT 1 FROM scheduler_changes s WHERE s.changeid = c.changeid) \
                 ORDER BY c.changeid LIMIT ?";
    let rows = tx.query(query, params![last, limit]).await?;
    let ids = rows.iter().map(|row| row.int(0)).collect::<Result<Vec<_>>>()?;
    if ids.is_empty() {
        return Ok(0);
    }
    let statements = [
        "DELETE FROM muster_change_seen WHERE changeid IN (??)",
        "DELETE FROM change_files WHERE changeid IN (??)",
        "DELETE FROM change_properties WHERE changeid IN (??)",
        "DELETE FROM change_users WHERE changeid IN (??)",
        "DELETE FROM changes WHERE changeid IN (??)",
    ];
    for statement in statements {
        tx.later_among(statement, ids.iter().map(|id| (*id).into()).collect()).await?;
    }
    Ok(ids.len())
}
