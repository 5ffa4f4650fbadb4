//! Properties of builds, buildsets and changes.

use std::collections::BTreeMap;

use muster_core::{BuildId, BuildsetId, ChangeId, Properties, Property, python_json};

use super::IDS_PER_STATEMENT;
use crate::{Result, Row, Tx, Value, dialect::expand_list, params};

/// Which properties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Every one.
    All,
    /// Those with these names, as far as they are there.
    Named(Vec<String>),
}

/// One property as its row says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawProperty {
    /// Its name.
    pub name: String,
    /// Its value, as JSON text.
    pub value: String,
    /// Where it came from.
    pub source: String,
}

/// The properties of a build, in the order in which they were first set.
pub async fn raw_of_build(tx: &Tx, build: BuildId) -> Result<Vec<RawProperty>> {
    let rows = tx
        .query("SELECT name, value, source FROM build_properties WHERE buildid = ?", params![build])
        .await?;
    rows.iter()
        .map(|row| Ok(RawProperty { name: row.text(0)?, value: row.text(1)?, source: row.text(2)? }))
        .collect()
}

/// The properties of a build.
pub async fn of_build(tx: &Tx, build: BuildId) -> Result<Properties> {
    Ok(of_builds(tx, &[build.0], &Wanted::All).await?.remove(&build.0).unwrap_or_default())
}

/// The properties of each of these builds.
pub async fn of_builds(tx: &Tx, builds: &[i64], wanted: &Wanted) -> Result<BTreeMap<i64, Properties>> {
    let statement = "SELECT buildid, name, value, source FROM build_properties WHERE buildid IN (??)";
    read(tx, statement, "name", builds, wanted, |row| {
        Ok((row.text(1)?, Property(value(&row.text(2)?), row.text(3)?)))
    })
    .await
}

/// The properties of a buildset.
pub async fn of_buildset(tx: &Tx, buildset: BuildsetId) -> Result<Properties> {
    Ok(of_buildsets(tx, &[buildset.0], &Wanted::All).await?.remove(&buildset.0).unwrap_or_default())
}

/// The properties of each of these buildsets.
pub async fn of_buildsets(tx: &Tx, buildsets: &[i64], wanted: &Wanted) -> Result<BTreeMap<i64, Properties>> {
    let statement =
        "SELECT buildsetid, property_name, property_value FROM buildset_properties WHERE buildsetid IN (??)";
    read(tx, statement, "property_name", buildsets, wanted, |row| Ok((row.text(1)?, property(&row.text(2)?))))
        .await
}

/// The properties of a change.
pub async fn of_change(tx: &Tx, change: ChangeId) -> Result<Properties> {
    Ok(of_changes(tx, &[change.0]).await?.remove(&change.0).unwrap_or_default())
}

/// The properties of each of these changes.
pub async fn of_changes(tx: &Tx, changes: &[i64]) -> Result<BTreeMap<i64, Properties>> {
    let statement =
        "SELECT changeid, property_name, property_value FROM change_properties WHERE changeid IN (??)";
    read(tx, statement, "property_name", changes, &Wanted::All, |row| {
        Ok((row.text(1)?, property(&row.text(2)?)))
    })
    .await
}

async fn read(
    tx: &Tx,
    statement: &str,
    name_column: &str,
    ids: &[i64],
    wanted: &Wanted,
    parse: impl Fn(&Row) -> Result<(String, Property)>,
) -> Result<BTreeMap<i64, Properties>> {
    let mut found: BTreeMap<i64, Vec<(String, Property)>> = BTreeMap::new();
    for part in ids.chunks(IDS_PER_STATEMENT) {
        let mut text = expand_list(statement, part.len());
        let mut params: Vec<Value> = part.iter().copied().map(Value::Int).collect();
        if let Wanted::Named(names) = wanted {
            text += &expand_list(&format!(" AND {name_column} IN (??)"), names.len());
            params.extend(names.iter().map(Value::from));
        }
        for row in tx.query(&text, params).await? {
            found.entry(row.int(0)?).or_default().push(parse(&row)?);
        }
    }
    Ok(found.into_iter().map(|(id, properties)| (id, properties.into_iter().collect())).collect())
}

/// The value that a column's text holds. Python also writes NaN and Infinity, which are no JSON: such a value is shown
/// as null, as one of them must not hide all the others.
fn value(text: &str) -> serde_json::Value {
    serde_json::from_str(&python_json::carried(text)).unwrap_or_default()
}

/// `[value, source]`, as buildsets and changes keep it.
fn property(text: &str) -> Property {
    serde_json::from_str(&python_json::carried(text))
        .unwrap_or_else(|_| Property(serde_json::Value::Null, "Unknown".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_json_is_null() {
        assert_eq!(value("[1, \"a\"]"), serde_json::json!([1, "a"]));
        assert_eq!(value("NaN"), serde_json::Value::Null);
        assert_eq!(property("[42, \"Change\"]"), Property(serde_json::json!(42), "Change".to_owned()));
        assert_eq!(property("[NaN, \"Change\"]").value(), &serde_json::Value::Null);
    }
}
