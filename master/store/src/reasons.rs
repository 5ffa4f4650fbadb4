//! Why requests wait, where a master knows more than the other rows show.

use muster_core::{BuilderId, MasterId};

use crate::{Result, Tx, params};

/// Characters of a reason that are kept; the column has that many.
pub const MAX_REASON: usize = 512;
/// The builder in a row that is about all of them.
const ALL: i64 = 0;

/// A reason, and the builder whose requests wait for it; `None`: all of them.
pub type Reason = (Option<BuilderId>, String);

/// Replaces what a master says. At most one reason for each builder.
pub async fn replace(tx: &Tx, master: MasterId, reasons: &[Reason]) -> Result<()> {
    tx.later("DELETE FROM muster_reasons WHERE masterid = ?", params![master]).await?;
    for (builder, reason) in reasons {
        let reason: String = reason.chars().take(MAX_REASON).collect();
        let insert = "INSERT INTO muster_reasons (masterid, builderid, reason) VALUES (?, ?, ?)";
        tx.later(insert, params![master, builder.map_or(ALL, |id| id.0), reason]).await?;
    }
    Ok(())
}

/// What the masters say that act.
pub async fn of_masters(tx: &Tx) -> Result<Vec<Reason>> {
    let query = "SELECT r.builderid, r.reason FROM muster_reasons r JOIN muster_masters m ON m.masterid = r.masterid \
                 WHERE m.state NOT IN ('stopped', 'expired') ORDER BY r.builderid, r.masterid";
    let rows = tx.query(query, params![]).await?;
    let builder = |id: i64| (id != ALL).then_some(BuilderId(id));
    rows.iter().map(|row| Ok((builder(row.int(0)?), row.text(1)?))).collect()
}
