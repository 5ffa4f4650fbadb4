//! Tables of MySQL as Buildbot may have made them: without transactions, and for characters of three bytes only.

use crate::{Dialect, Error, Result, Tx, params};

/// A change of one table that makes it fit for Muster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conversion {
    pub(crate) statement: String,
}

/// The tables that a script makes.
pub(super) fn names(script: &str) -> impl Iterator<Item = &str> {
    script.lines().filter_map(|line| {
        let rest = line.strip_prefix("CREATE TABLE ")?;
        rest.strip_prefix("IF NOT EXISTS ").unwrap_or(rest).split([' ', '(']).next()
    })
}

/// Refuses tables without transactions: a claim of several requests would not be atomic there.
pub(super) async fn check_engines(tx: &Tx) -> Result<()> {
    if tx.dialect() != Dialect::MySql {
        return Ok(());
    }
    let engines = engine_conversions(tx).await?;
    if !engines.is_empty() {
        let statements: Vec<String> =
            engines.iter().map(|conversion| format!("  {};", conversion.statement)).collect();
        return Err(Error::Schema(format!(
            "{} tables have an engine without transactions (Buildbot's default is MyISAM). Stop every master, make a \
             backup, and run `muster upgrade-master --convert DIR`, or these statements:\n{}",
            engines.len(),
            statements.join("\n")
        )));
    }
    let charsets = charset_conversions(tx, "('utf8', 'utf8mb3', 'utf8mb4')").await?;
    if charsets.is_empty() {
        return Ok(());
    }
    let statements: Vec<String> =
        charsets.iter().map(|conversion| format!("  {};", conversion.statement)).collect();
    Err(Error::Schema(format!(
        "{} tables have a character set that can't hold every text. Stop every master, make a backup, and run \
         `muster upgrade-master --convert DIR`, or these statements:\n{}",
        charsets.len(),
        statements.join("\n")
    )))
}

/// Everything that `upgrade-master --convert` changes: engines first, then three-byte character sets.
pub(crate) async fn conversions(tx: &Tx) -> Result<Vec<Conversion>> {
    if tx.dialect() != Dialect::MySql {
        return Ok(Vec::new());
    }
    let mut all = engine_conversions(tx).await?;
    all.extend(charset_conversions(tx, "('utf8mb4')").await?);
    Ok(all)
}

fn is_ours(name: &str) -> bool {
    super::MYSQL
        .muster
        .iter()
        .chain([&super::MYSQL.buildbot])
        .any(|script| names(script).any(|table| table == name))
        || name == "muster_schema"
}

async fn engine_conversions(tx: &Tx) -> Result<Vec<Conversion>> {
    let query = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() \
                 AND table_type = 'BASE TABLE' AND engine <> 'InnoDB' ORDER BY table_name";
    let mut found = Vec::new();
    for row in tx.query(query, params![]).await? {
        let table = row.text(0)?;
        if is_ours(&table) {
            found.push(Conversion { statement: format!("ALTER TABLE {table} ENGINE=InnoDB") });
        }
    }
    Ok(found)
}

/// Tables with columns of other character sets than `good`. `alembic_version` holds digits only.
async fn charset_conversions(tx: &Tx, good: &'static str) -> Result<Vec<Conversion>> {
    // SQL: `good` is one of the constants above.
    let query = format!(
        "SELECT DISTINCT table_name FROM information_schema.columns WHERE table_schema = DATABASE() \
         AND character_set_name NOT IN {good} AND table_name NOT IN ('alembic_version', 'muster_schema') \
         ORDER BY table_name"
    );
    let mut found = Vec::new();
    for row in tx.query(&query, params![]).await? {
        let table = row.text(0)?;
        if is_ours(&table) {
            // SQL: an identifier can't be a parameter; this one is of our own tables (`is_ours`).
            let statement = format!("ALTER TABLE {table} CONVERT TO CHARACTER SET utf8mb4");
            found.push(Conversion { statement });
        }
    }
    Ok(found)
}
