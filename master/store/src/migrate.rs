//! The schema's versions: Buildbot's in `alembic_version`, our own in `muster_schema`.
//!
//! Migrations expand first and contract a release later, so that two neighbouring versions run on one schema
//! (rule 10). A binary refuses a schema only when its `oldest_compatible` is newer than the binary itself.

use crate::{Db, Error, Result, Tx, params};

/// Revision of Buildbot's tables that this binary reads and writes.
const BUILDBOT_REVISION: &str = "067";
/// Version of Muster's own tables that this binary makes.
pub const SCHEMA_VERSION: i64 = MIGRATIONS.len() as i64;
/// The oldest binary (by its `SCHEMA_VERSION`) that can use the schema this binary makes.
pub const OLDEST_COMPATIBLE: i64 = 1;

const BUILDBOT_TABLES: &str = include_str!("../../../migrations/sqlite/buildbot_067.sql");
const MIGRATIONS: [&str; 1] = [include_str!("../../../migrations/sqlite/001_muster.sql")];

const CREATE_VERSIONS: &str =
    "CREATE TABLE muster_schema (version INTEGER NOT NULL, oldest_compatible INTEGER NOT NULL)";

/// Makes the schema what this binary wants, in one transaction.
pub(crate) async fn run(db: &Db) -> Result<()> {
    let migrated = db.tx("migrate", |tx| async move {
        if !has_table(&tx, "alembic_version").await? {
            tx.script(BUILDBOT_TABLES).await?;
        }
        check_buildbot(&tx).await?;
        if !has_table(&tx, "muster_schema").await? {
            tx.script(CREATE_VERSIONS).await?;
            tx.execute("INSERT INTO muster_schema VALUES (0, 0)", params![]).await?;
        }
        let found = version(&tx).await?;
        refuse_newer(&found)?;
        if found.version >= SCHEMA_VERSION {
            return Ok(());
        }
        for script in &MIGRATIONS[found.version as usize..] {
            tx.script(script).await?;
        }
        let update = "UPDATE muster_schema SET version = ?, oldest_compatible = ?";
        tx.execute(update, params![SCHEMA_VERSION, OLDEST_COMPATIBLE]).await?;
        Ok::<_, Error>(())
    });
    migrated.await.map(|committed| committed.into_inner())
}

/// Refuses a schema that this binary can't use.
pub(crate) async fn check(db: &Db) -> Result<()> {
    db.read("check_schema", |tx| async move {
        if !has_table(&tx, "alembic_version").await? || !has_table(&tx, "muster_schema").await? {
            return Err(Error::Schema(
                "the database has no schema of Muster yet; run `muster upgrade-master DIR`".to_owned(),
            ));
        }
        check_buildbot(&tx).await?;
        let found = version(&tx).await?;
        refuse_newer(&found)?;
        if found.version < SCHEMA_VERSION {
            return Err(Error::Schema(format!(
                "the database has schema version {}, this Muster needs {SCHEMA_VERSION}; run `muster upgrade-master DIR`",
                found.version
            )));
        }
        Ok(())
    })
    .await
}

struct Version {
    version: i64,
    oldest_compatible: i64,
}

async fn version(tx: &Tx) -> Result<Version> {
    let row = tx.query_opt("SELECT version, oldest_compatible FROM muster_schema", params![]).await?;
    let row = row.ok_or_else(|| Error::Data("table muster_schema has no row".to_owned()))?;
    Ok(Version { version: row.int(0)?, oldest_compatible: row.int(1)? })
}

fn refuse_newer(found: &Version) -> Result<()> {
    if found.oldest_compatible <= SCHEMA_VERSION {
        return Ok(());
    }
    Err(Error::Schema(format!(
        "the database has schema version {}, made by a newer Muster; this one knows {SCHEMA_VERSION}. Install a version of \
         Muster that knows schema {} or newer",
        found.version, found.oldest_compatible
    )))
}

async fn check_buildbot(tx: &Tx) -> Result<()> {
    let row = tx.query_opt("SELECT version_num FROM alembic_version", params![]).await?;
    let found = row.ok_or_else(|| Error::Data("table alembic_version has no row".to_owned()))?.text(0)?;
    if found == BUILDBOT_REVISION {
        return Ok(());
    }
    let advice = if found.as_str() < BUILDBOT_REVISION {
        "run `buildbot upgrade-master` of Buildbot 4.3.0 on it first"
    } else {
        "it was made by a Buildbot newer than 4.3.0, which this Muster doesn't know"
    };
    Err(Error::Schema(format!(
        "the database has Buildbot's schema revision {found}, this Muster needs {BUILDBOT_REVISION}: {advice}"
    )))
}

async fn has_table(tx: &Tx, name: &str) -> Result<bool> {
    let query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?";
    Ok(tx.query_opt(query, params![name]).await?.is_some())
}
