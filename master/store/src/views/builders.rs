//! Builders with their latest builds.

use muster_core::{BuildId, BuilderId, Results, Timestamp, hash::name_hash};
use serde::Serialize;

use crate::{Result, Row, Tx, params};

/// A builder, as lists show it.
#[derive(Clone, Debug, Serialize)]
pub struct BuilderLine {
    /// Its id.
    pub id: BuilderId,
    /// Its name.
    pub name: String,
    /// What the configuration says about it.
    pub description: Option<String>,
    /// Whether a master that is up has it configured.
    pub active: bool,
}

/// One tag of one builder.
#[derive(Clone, Debug)]
pub struct TagOfBuilder {
    /// The builder.
    pub builder: BuilderId,
    /// The tag.
    pub tag: String,
}

/// As much of a build as a strip of results needs.
#[derive(Clone, Debug, Serialize)]
pub struct RecentBuild {
    /// Its builder.
    pub builder: BuilderId,
    /// Its number there.
    pub number: i64,
    /// Its id.
    pub id: BuildId,
    /// `None` while it runs.
    pub results: Option<Results>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub complete_at: Option<Timestamp>,
}

const BUILDERS: &str = "SELECT b.id, b.name, b.description, EXISTS (SELECT 1 FROM builder_masters bm \
                        JOIN masters m ON m.id = bm.masterid WHERE bm.builderid = b.id AND m.active = 1) FROM builders b";

fn line(row: &Row) -> Result<BuilderLine> {
    Ok(BuilderLine {
        id: BuilderId(row.int(0)?),
        name: row.text(1)?,
        description: row.opt_text(2)?,
        active: row.bool(3)?,
    })
}

/// All builders, by id, at most `limit`.
pub async fn builders(tx: &Tx, limit: i64) -> Result<Vec<BuilderLine>> {
    let rows = tx.query(&format!("{BUILDERS} ORDER BY b.id LIMIT ?"), params![limit]).await?;
    rows.iter().map(line).collect()
}

/// One builder.
pub async fn builder_by_id(tx: &Tx, id: BuilderId) -> Result<Option<BuilderLine>> {
    tx.query_opt(&format!("{BUILDERS} WHERE b.id = ?"), params![id]).await?.map(|row| line(&row)).transpose()
}

/// One builder by its name.
pub async fn builder_by_name(tx: &Tx, name: &str) -> Result<Option<BuilderLine>> {
    let query = format!("{BUILDERS} WHERE b.name_hash = ?");
    tx.query_opt(&query, params![name_hash(name)]).await?.map(|row| line(&row)).transpose()
}

/// The tags of all builders.
pub async fn tags(tx: &Tx) -> Result<Vec<TagOfBuilder>> {
    let query =
        "SELECT bt.builderid, t.name FROM builders_tags bt JOIN tags t ON t.id = bt.tagid ORDER BY bt.id";
    let rows = tx.query(query, params![]).await?;
    rows.iter().map(|row| Ok(TagOfBuilder { builder: BuilderId(row.int(0)?), tag: row.text(1)? })).collect()
}

/// The builds of each builder (or of one) whose number is among its `window` highest; newest first.
pub async fn recent(tx: &Tx, only: Option<BuilderId>, window: i64) -> Result<Vec<RecentBuild>> {
    // The highest number and the range above it are both read from the index over (builder, number). CROSS JOIN is an
    // inner join that SQLite does not reorder: builders first, never a walk over all builds.
    let query = "SELECT b.builderid, b.number, b.id, b.results, b.started_at, b.complete_at \
                 FROM builders x CROSS JOIN builds b WHERE b.builderid = x.id \
                 AND b.number > (SELECT max(n.number) - ?1 FROM builds n WHERE n.builderid = x.id) \
                 AND x.id = COALESCE(?2, x.id) ORDER BY x.id, b.number DESC";
    let rows = tx.query(query, params![window, only]).await?;
    let build = |row: &Row| {
        Ok(RecentBuild {
            builder: BuilderId(row.int(0)?),
            number: row.int(1)?,
            id: BuildId(row.int(2)?),
            results: row.results(3)?,
            started_at: row.time(4)?,
            complete_at: row.opt_time(5)?,
        })
    };
    rows.iter().map(build).collect()
}

/// The number of the newest build below `number` that ended well, looking back over at most `window` builds.
pub async fn good_before(tx: &Tx, builder: BuilderId, number: i64, window: i64) -> Result<Option<i64>> {
    let query = "SELECT number FROM builds WHERE builderid = ? AND number < ? AND number >= ? AND results IN (0, 1) \
                 ORDER BY number DESC LIMIT 1";
    tx.query_opt(query, params![builder, number, number - window]).await?.map(|row| row.int(0)).transpose()
}
