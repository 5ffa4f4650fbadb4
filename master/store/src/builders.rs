//! Builders, their tags and the masters that have them.

use std::collections::BTreeMap;

use muster_core::{BuilderId, MasterId, hash::name_hash, identifier::slug};

use crate::{
    Result, Tx,
    names::{NamedTable, found_next_time},
    params,
};

const BUILDERS: NamedTable = NamedTable {
    select: "SELECT id FROM builders WHERE name_hash = ?",
    insert: "INSERT INTO builders (name, name_hash) VALUES (?, ?)",
};
const TAGS: NamedTable = NamedTable {
    select: "SELECT id FROM tags WHERE name_hash = ?",
    insert: "INSERT INTO tags (name, name_hash) VALUES (?, ?)",
};
/// The builder of this name.
pub async fn by_name(tx: &Tx, name: &str) -> Result<Option<BuilderId>> {
    Ok(BUILDERS.find(tx, name).await?.map(BuilderId))
}

/// The builders of these names; one that is not there is left out.
pub async fn by_names(tx: &Tx, names: &[String]) -> Result<BTreeMap<String, BuilderId>> {
    let hashes = names.iter().map(|name| name_hash(name).into()).collect();
    let rows = tx.query_among("SELECT name, id FROM builders WHERE name_hash IN (??)", hashes).await?;
    rows.iter().map(|row| Ok((row.text(0)?, BuilderId(row.int(1)?)))).collect()
}

/// What a configuration says about a builder.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct BuilderInfo {
    pub name: String,
    pub description: Option<String>,
    pub description_format: Option<String>,
    pub description_html: Option<String>,
    pub project: Option<String>,
    pub tags: Vec<String>,
}

/// Makes the builder's row what the configuration says, and notes that `master` has it.
pub async fn configure(tx: &Tx, master: MasterId, info: &BuilderInfo) -> Result<BuilderId> {
    let id = describe(tx, info).await?;
    let query = "SELECT 1 FROM builder_masters WHERE builderid = ? AND masterid = ?";
    if tx.query_opt(query, params![id, master]).await?.is_none() {
        let insert = "INSERT INTO builder_masters (builderid, masterid) VALUES (?, ?)";
        tx.later(insert, params![id, master]).await?;
    }
    Ok(id)
}

/// Makes the builder's row what the configuration says; who runs its builds is said elsewhere.
pub async fn describe(tx: &Tx, info: &BuilderInfo) -> Result<BuilderId> {
    let id = BUILDERS.find_or_create(tx, &info.name).await?;
    let project = match &info.project {
        Some(project) => Some(find_or_create_project(tx, project).await?),
        None => None,
    };
    let update = "UPDATE builders SET description = ?, description_format = ?, description_html = ?, projectid = ? \
                  WHERE id = ?";
    let BuilderInfo { description, description_format, description_html, .. } = info.clone();
    tx.later(update, params![description, description_format, description_html, project, id]).await?;
    tx.later("DELETE FROM builders_tags WHERE builderid = ?", params![id]).await?;
    for tag in &info.tags {
        let tag = TAGS.find_or_create(tx, tag).await?;
        tx.later("INSERT INTO builders_tags (builderid, tagid) VALUES (?, ?)", params![id, tag]).await?;
    }
    Ok(BuilderId(id))
}

/// What a configuration says about a project.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct ProjectInfo {
    pub name: String,
    pub slug: String,
    pub description: Option<String>,
    pub description_format: Option<String>,
    pub description_html: Option<String>,
}

/// Makes the project's row what the configuration says.
pub async fn describe_project(tx: &Tx, info: &ProjectInfo) -> Result<()> {
    let id = find_or_create_project(tx, &info.name).await?;
    let update = "UPDATE projects SET slug = ?, description = ?, description_format = ?, description_html = ? \
                  WHERE id = ?";
    let ProjectInfo { slug, description, description_format, description_html, .. } = info.clone();
    tx.execute(update, params![slug, description, description_format, description_html, id]).await?;
    Ok(())
}

async fn find_or_create_project(tx: &Tx, name: &str) -> Result<i64> {
    if let Some(row) =
        tx.query_opt("SELECT id FROM projects WHERE name_hash = ?", params![name_hash(name)]).await?
    {
        return row.int(0);
    }
    let insert = "INSERT INTO projects (name, name_hash, slug) VALUES (?, ?, ?)";
    found_next_time(tx, tx.insert(insert, params![name, name_hash(name), slug(name)]).await).await
}

/// The builders a master has, by id.
pub async fn of_master(tx: &Tx, master: MasterId) -> Result<Vec<(BuilderId, String)>> {
    let query = "SELECT b.id, b.name FROM builder_masters m JOIN builders b ON b.id = m.builderid WHERE m.masterid = ? \
                 ORDER BY b.id";
    let rows = tx.query(query, params![master]).await?;
    rows.iter().map(|row| Ok((BuilderId(row.int(0)?), row.text(1)?))).collect()
}

/// Notes that a master no longer has a builder.
pub async fn remove_from_master(tx: &Tx, master: MasterId, builder: BuilderId) -> Result<()> {
    let workers = "DELETE FROM configured_workers WHERE buildermasterid IN \
                   (SELECT id FROM builder_masters WHERE masterid = ? AND builderid = ?)";
    tx.later(workers, params![master, builder]).await?;
    tx.later("DELETE FROM builder_masters WHERE masterid = ? AND builderid = ?", params![master, builder])
        .await
}
