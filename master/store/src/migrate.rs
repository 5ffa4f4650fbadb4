//! The schema's versions: Buildbot's in `alembic_version`, our own in `muster_schema`.
//!
//! Migrations expand first and contract a release later, so that two neighbouring versions run on one schema
//! (rule 10). A binary refuses a schema only when its `oldest_compatible` is newer than the binary itself.

mod tables;

use tables::conversions;

use crate::{Committed, Db, DbUrl, Dialect, Error, Result, Tx, engine::Create, params};

/// Revision of Buildbot's tables that this binary reads and writes.
const BUILDBOT_REVISION: &str = "067";
const TOO_OLD: &str = "the database was made by a Buildbot before 3.0; run `buildbot upgrade-master` of Buildbot 2.10.5 on \
                       it, then of Buildbot 4.3.0, then `muster upgrade-master`";
/// Version of Muster's own tables that this binary makes.
pub const SCHEMA_VERSION: i64 = SQLITE.muster.len() as i64;
/// The oldest binary (by its `SCHEMA_VERSION`) that can use the schema this binary makes.
pub const OLDEST_COMPATIBLE: i64 = 1;

/// What the next version adds to the schema, as tests of upgrades have it.
const NEXT: &str = "CREATE TABLE IF NOT EXISTS muster_next (id INTEGER NOT NULL PRIMARY KEY);";

/// The version that this process makes and wants.
fn schema_version() -> i64 {
    SCHEMA_VERSION + i64::from(muster_core::skew::is_newer())
}

/// The statements of one engine.
struct Scripts {
    /// The tables of Buildbot 4.3, with their revision.
    buildbot: &'static str,
    /// Muster's own tables, version after version.
    muster: [&'static str; 8],
    has_table: &'static str,
}

macro_rules! script {
    ($engine:literal, $name:literal) => {
        include_str!(concat!("../../../migrations/", $engine, "/", $name))
    };
}

const SQLITE: Scripts = Scripts {
    buildbot: script!("sqlite", "buildbot_067.sql"),
    muster: [
        script!("sqlite", "001_muster.sql"),
        script!("sqlite", "002_cluster.sql"),
        script!("sqlite", "003_gateway.sql"),
        script!("sqlite", "004_database.sql"),
        script!("sqlite", "005_stock_lives.sql"),
        script!("sqlite", "006_reasons.sql"),
        script!("sqlite", "007_moving.sql"),
        script!("sqlite", "008_troubles.sql"),
    ],
    has_table: "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?",
};
const POSTGRES: Scripts = Scripts {
    buildbot: script!("postgres", "buildbot_067.sql"),
    muster: [
        script!("postgres", "001_muster.sql"),
        script!("postgres", "002_cluster.sql"),
        script!("postgres", "003_gateway.sql"),
        script!("postgres", "004_database.sql"),
        script!("postgres", "005_stock_lives.sql"),
        script!("postgres", "006_reasons.sql"),
        script!("postgres", "007_moving.sql"),
        script!("postgres", "008_troubles.sql"),
    ],
    has_table: "SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p', 'v') AND c.relname = ?",
};
const MYSQL: Scripts = Scripts {
    buildbot: script!("mysql", "buildbot_067.sql"),
    muster: [
        script!("mysql", "001_muster.sql"),
        script!("mysql", "002_cluster.sql"),
        script!("mysql", "003_gateway.sql"),
        script!("mysql", "004_database.sql"),
        script!("mysql", "005_stock_lives.sql"),
        script!("mysql", "006_reasons.sql"),
        script!("mysql", "007_moving.sql"),
        script!("mysql", "008_troubles.sql"),
    ],
    has_table: "SELECT 1 FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?",
};

fn scripts(dialect: Dialect) -> &'static Scripts {
    match dialect {
        Dialect::Sqlite => &SQLITE,
        Dialect::Postgres => &POSTGRES,
        Dialect::MySql => &MYSQL,
    }
}

const CREATE_VERSIONS: &str =
    "CREATE TABLE muster_schema (version INTEGER NOT NULL, oldest_compatible INTEGER NOT NULL)";
/// The version while the first tables are being made: MySQL commits each of them by itself, so that a run which was
/// interrupted is found and finished by the next one.
const UNFINISHED: i64 = -1;

impl Db {
    /// Opens a database whose schema is there and usable ([`Db::upgrade`] makes it so).
    pub async fn open(url: &DbUrl) -> Result<Db> {
        let db = Db::connect(url, Create::No).await?;
        check(&db).await?;
        Ok(db)
    }

    /// Creates or migrates the schema, then opens the database.
    pub async fn upgrade(url: &DbUrl) -> Result<Db> {
        let db = Db::connect(url, Create::Yes).await?;
        run(&db).await?;
        Ok(db)
    }

    /// Opens a database for a look at it before its schema is made.
    pub async fn before_upgrade(url: &DbUrl) -> Result<Db> {
        Db::connect(url, Create::Yes).await
    }

    /// Whether Buildbot made this database, so that it may read one day what is written now.
    pub async fn is_adopted(&self) -> Result<bool> {
        self.look("is_adopted", |tx| async move { is_adopted(&tx).await }).await
    }

    /// Makes tables that Buildbot made on MySQL fit for Muster: with transactions, and for every character. `progress`
    /// is told each statement before it runs, with its place and how many there are. What was converted stays so, also
    /// when a later statement fails.
    pub async fn convert(url: &DbUrl, mut progress: impl FnMut(&str, usize, usize)) -> Result<()> {
        let db = Db::connect(url, Create::No).await?;
        let due = db.read("conversions", |tx| async move { conversions(&tx).await }).await?;
        for (done, conversion) in due.iter().enumerate() {
            progress(&conversion.statement, done + 1, due.len());
            let converted =
                db.tx("convert_table", |tx| async move { tx.script(&conversion.statement).await });
            converted.await.map(|committed: Committed<()>| committed.into_inner())?;
        }
        Ok(())
    }
}

/// Makes the schema what this binary wants; in one transaction where the engine can (MySQL can't).
pub(crate) async fn run(db: &Db) -> Result<()> {
    let migrated = db.tx("migrate", |tx| async move {
        keep_others_out(&tx).await?;
        let scripts = scripts(tx.dialect());
        if !has_table(&tx, "muster_schema").await? {
            let adopted = has_table(&tx, "alembic_version").await?;
            if adopted {
                check_buildbot(&tx).await?;
                tables::check_engines(&tx).await?;
            }
            refuse_foreign_tables(&tx, scripts, adopted).await?;
            tx.script(CREATE_VERSIONS).await?;
            let version = if adopted { 0 } else { UNFINISHED };
            tx.execute(
                "INSERT INTO muster_schema (version, oldest_compatible) VALUES (?, 0)",
                params![version],
            )
            .await?;
        }
        let mut found = version(&tx).await?;
        refuse_newer(&found)?;
        let is_new = found.version == UNFINISHED;
        if found.version == UNFINISHED {
            tx.script(scripts.buildbot).await?;
            found.version = 0;
        }
        check_buildbot(&tx).await?;
        if found.version >= schema_version() {
            return Ok(());
        }
        for script in scripts.muster.iter().skip(found.version as usize) {
            tx.script(script).await?;
        }
        // Its first tables are of the same run: whatever was there before them was Buildbot's.
        if found.version == 0 && !is_new {
            tx.execute("INSERT INTO muster_adopted (id) VALUES (1) ON CONFLICT DO NOTHING", params![])
                .await?;
        }
        if schema_version() > SCHEMA_VERSION {
            tx.script(NEXT).await?;
        }
        let update = "UPDATE muster_schema SET version = ?, oldest_compatible = ?";
        tx.execute(update, params![schema_version(), OLDEST_COMPATIBLE]).await?;
        Ok::<_, Error>(())
    });
    migrated.await.map(|committed| committed.into_inner())
}

/// Waits for a migration that another process runs on the same database.
async fn keep_others_out(tx: &Tx) -> Result<()> {
    /// Any number that nobody else uses.
    const KEY: i64 = 0x6d75_7374_6572;
    match tx.dialect() {
        Dialect::Sqlite => {}
        Dialect::Postgres => {
            // The answer is of the type void, which is no value.
            tx.query("SELECT 1 FROM (SELECT pg_advisory_xact_lock(?)) locked", params![KEY]).await?;
        }
        Dialect::MySql => {
            // Held as long as the connection lives, which is longer than it must be and harms nobody: it is asked for
            // by migrations only.
            let row = tx.query_opt("SELECT GET_LOCK(CONCAT(DATABASE(), '.muster'), 60)", params![]).await?;
            if row.map(|row| row.opt_int(0)).transpose()?.flatten() != Some(1) {
                return Err(Error::Schema("another process migrates this database; try again".to_owned()));
            }
        }
    }
    Ok(())
}

/// Refuses a database in which somebody else's tables have the names of those that are to be made.
async fn refuse_foreign_tables(tx: &Tx, scripts: &Scripts, adopted: bool) -> Result<()> {
    if !adopted && has_table(tx, "migrate_version").await? {
        return Err(Error::Schema(TOO_OLD.to_owned()));
    }
    let buildbot = if adopted { "" } else { scripts.buildbot };
    for text in std::iter::once(buildbot).chain(scripts.muster) {
        for name in tables::names(text) {
            if has_table(tx, name).await? {
                return Err(Error::Schema(format!(
                    "the database has a table {name:?} that isn't Buildbot's or Muster's; nothing was changed. Use an \
                     empty database, or move that table away"
                )));
            }
        }
    }
    Ok(())
}

/// Refuses a schema that this binary can't use.
pub(crate) async fn check(db: &Db) -> Result<()> {
    db.read("check_schema", |tx| async move {
        if !has_table(&tx, "alembic_version").await? || !has_table(&tx, "muster_schema").await? {
            if has_table(&tx, "migrate_version").await? {
                return Err(Error::Schema(TOO_OLD.to_owned()));
            }
            return Err(Error::Schema(
                "the database has no schema of Muster yet; run `muster upgrade-master DIR`".to_owned(),
            ));
        }
        check_buildbot(&tx).await?;
        tables::check_engines(&tx).await?;
        let found = version(&tx).await?;
        refuse_newer(&found)?;
        if found.version < schema_version() {
            return Err(Error::Schema(format!(
                "the database has schema version {}, this Muster needs {}; run `muster upgrade-master DIR`",
                found.version,
                schema_version()
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

/// Whether Buildbot made this database, so that it may read one day what is written now.
pub(crate) async fn is_adopted(tx: &Tx) -> Result<bool> {
    Ok(tx.query_opt("SELECT 1 FROM muster_adopted", params![]).await?.is_some())
}

/// How far Muster has taken a database over.
pub(crate) enum TakenOver {
    No,
    /// By a version that did not write down its heartbeats.
    Formerly,
    Fully,
}

pub(crate) async fn is_taken_over(tx: &Tx) -> Result<TakenOver> {
    Ok(if has_table(tx, "muster_heartbeats").await? {
        TakenOver::Fully
    } else if has_table(tx, "muster_schema").await? {
        TakenOver::Formerly
    } else {
        TakenOver::No
    })
}

/// Whether Buildbot's tables are there.
pub(crate) async fn has_buildbots_tables(tx: &Tx) -> Result<bool> {
    has_table(tx, "masters").await
}

async fn has_table(tx: &Tx, name: &str) -> Result<bool> {
    Ok(tx.query_opt(scripts(tx.dialect()).has_table, params![name]).await?.is_some())
}
