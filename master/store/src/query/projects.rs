//! Projects.

use muster_core::{Project, ProjectId, hash::name_hash};

use super::{Column, Select, Table, rows};
use crate::{Result, Row, Tx, params};

/// A project is active when an active master has a builder of it.
const ACTIVE: &str = "(EXISTS (SELECT 1 FROM builders b JOIN builder_masters bm ON bm.builderid = b.id \
                      JOIN masters m ON m.id = bm.masterid WHERE b.projectid = projects.id AND m.active = 1))";

/// What projects are read from.
pub const TABLE: Table = Table {
    select: "SELECT id, name, slug, description, description_format, description_html FROM projects",
    key: "id",
    columns: &[
        Column::new("projectid", "id"),
        Column::new("name", "name"),
        Column::new("slug", "slug"),
        Column::new("active", ACTIVE),
        Column::new("description", "description"),
        Column::new("description_format", "description_format"),
        Column::new("description_html", "description_html"),
    ],
};

fn from_row(row: &Row) -> Result<Project> {
    Ok(Project {
        id: ProjectId(row.int(0)?),
        name: row.text(1)?,
        slug: row.text(2)?,
        description: row.opt_text(3)?,
        description_format: row.opt_text(4)?,
        description_html: row.opt_text(5)?,
    })
}

/// Projects that `select` names.
pub async fn list(tx: &Tx, select: &Select) -> Result<Vec<Project>> {
    rows(tx, &TABLE, select).await?.iter().map(from_row).collect()
}

/// One project.
pub async fn by_id(tx: &Tx, id: ProjectId) -> Result<Option<Project>> {
    let select = Select::all().only("id = ?", params![id]);
    Ok(list(tx, &select).await?.pop())
}

/// One project by its name.
pub async fn by_name(tx: &Tx, name: &str) -> Result<Option<Project>> {
    let select = Select::all().only("name_hash = ?", params![name_hash(name)]);
    Ok(list(tx, &select).await?.pop())
}
