//! What schedulers can't do, as their owners say.

use std::collections::BTreeMap;

use muster_core::{MasterId, SchedulerId, Timestamp};

use crate::{Result, Tx, params, reasons::MAX_REASON};

/// What a scheduler can't do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Since when.
    pub since: Timestamp,
    /// What, for people.
    pub text: String,
}

/// Says what a scheduler can't do, instead of what was said before; `None`: it works.
pub async fn say(
    tx: &Tx,
    scheduler: SchedulerId,
    master: MasterId,
    now: Timestamp,
    text: Option<&str>,
) -> Result<()> {
    tx.later("DELETE FROM muster_scheduler_troubles WHERE schedulerid = ?", params![scheduler]).await?;
    if let Some(text) = text {
        let text: String = text.chars().take(MAX_REASON).collect();
        let insert = "INSERT INTO muster_scheduler_troubles (schedulerid, masterid, since, trouble) VALUES (?, ?, ?, ?)";
        tx.later(insert, params![scheduler, master, now, text]).await?;
    }
    Ok(())
}

/// The schedulers in trouble. What a master said that doesn't own a scheduler any more doesn't count.
pub async fn of_schedulers(tx: &Tx) -> Result<BTreeMap<SchedulerId, Trouble>> {
    let query = "SELECT t.schedulerid, t.since, t.trouble FROM muster_scheduler_troubles t \
                 JOIN scheduler_masters o ON o.schedulerid = t.schedulerid AND o.masterid = t.masterid";
    let rows = tx.query(query, params![]).await?;
    let trouble = |row: &crate::Row| Ok(Trouble { since: row.time(1)?, text: row.text(2)? });
    rows.iter().map(|row| Ok((SchedulerId(row.int(0)?), trouble(row)?))).collect()
}
