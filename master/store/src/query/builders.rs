//! Builders.

use muster_core::{Builder, BuilderId, MasterId, ProjectId};

use super::{Column, Select, Table, grouped, rows};
use crate::{Result, Row, Tx, params};

/// What builders are read from.
pub const TABLE: Table = Table {
    select: "SELECT id, name, description, description_format, description_html, projectid FROM builders",
    key: "id",
    columns: &[
        Column::new("builderid", "id"),
        Column::new("name", "name"),
        Column::new("description", "description"),
        Column::new("description_format", "description_format"),
        Column::new("description_html", "description_html"),
        Column::new("projectid", "projectid"),
    ],
};

fn from_row(row: &Row) -> Result<Builder> {
    Ok(Builder {
        id: BuilderId(row.int(0)?),
        name: row.text(1)?,
        description: row.opt_text(2)?,
        description_format: row.opt_text(3)?,
        description_html: row.opt_text(4)?,
        project: row.opt_int(5)?.map(ProjectId),
        tags: Vec::new(),
        masters: Vec::new(),
    })
}

/// Builders that `select` names, with their tags and masters.
pub async fn list(tx: &Tx, select: &Select) -> Result<Vec<Builder>> {
    let mut builders: Vec<Builder> =
        rows(tx, &TABLE, select).await?.iter().map(from_row).collect::<Result<_>>()?;
    let ids: Vec<i64> = builders.iter().map(|builder| builder.id.0).collect();
    let tags = "SELECT bt.builderid, t.name FROM builders_tags bt JOIN tags t ON t.id = bt.tagid \
                WHERE bt.builderid IN (??) ORDER BY bt.id";
    let masters = "SELECT builderid, masterid FROM builder_masters WHERE builderid IN (??) ORDER BY masterid";
    let mut tags = grouped(tx, tags, &ids).await?;
    let mut masters = grouped(tx, masters, &ids).await?;
    for builder in &mut builders {
        let rows = tags.remove(&builder.id.0).unwrap_or_default();
        builder.tags = rows.iter().map(|row| row.text(1)).collect::<Result<_>>()?;
        let rows = masters.remove(&builder.id.0).unwrap_or_default();
        builder.masters = rows.iter().map(|row| row.int(1).map(MasterId)).collect::<Result<_>>()?;
    }
    Ok(builders)
}

/// One builder.
pub async fn by_id(tx: &Tx, id: BuilderId) -> Result<Option<Builder>> {
    let select = Select::all().only("id = ?", params![id]);
    Ok(list(tx, &select).await?.pop())
}
