//! State of services that belongs to the cluster, as JSON (`docs/compat/database.md`, "State").

use muster_core::hash::name_hash;
use serde_json::Value as Json;

use crate::{Result, Tx, json_text, names::found_next_time, params};

/// Names one value: whose it is, of which class, and which.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub struct StateKey {
    pub object: String,
    pub class: String,
    pub key: String,
}

/// Characters of an object's name, and of a key, that their columns hold.
const OBJECT_NAME: usize = 128;
const KEY_NAME: usize = 255;

/// A name that fits into its column: of a longer one, the first half and the hash of the whole, as Buildbot shortens it.
fn fitting(name: &str, length: usize) -> String {
    if name.chars().count() <= length {
        return name.to_owned();
    }
    let hash: String = name_hash(name).chars().take(length / 2).collect();
    name.chars().take(length / 2).chain(hash.chars()).collect()
}

/// The value, if it was ever set.
pub async fn get(tx: &Tx, key: &StateKey) -> Result<Option<Json>> {
    let query = "SELECT s.value_json FROM object_state s JOIN objects o ON o.id = s.objectid \
                 WHERE o.name = ? AND o.class_name = ? AND s.name = ?";
    let row = tx
        .query_opt(query, params![fitting(&key.object, OBJECT_NAME), &key.class, fitting(&key.key, KEY_NAME)])
        .await?;
    row.map(|row| row.json(0)).transpose()
}

/// The row of whom the value belongs to.
async fn object(tx: &Tx, key: &StateKey) -> Result<i64> {
    let name = fitting(&key.object, OBJECT_NAME);
    let query = "SELECT id FROM objects WHERE name = ? AND class_name = ?";
    if let Some(row) = tx.query_opt(query, params![&name, &key.class]).await? {
        return row.int(0);
    }
    let insert = "INSERT INTO objects (name, class_name) VALUES (?, ?)";
    found_next_time(tx, tx.insert(insert, params![&name, &key.class]).await).await
}

/// Sets the value unless there is one; of several at the same time the first one stays.
pub async fn set_first(tx: &Tx, key: &StateKey, value: &Json) -> Result<()> {
    let insert =
        "INSERT INTO object_state (objectid, name, value_json) VALUES (?, ?, ?) ON CONFLICT DO NOTHING";
    let object = object(tx, key).await?;
    tx.execute(insert, params![object, fitting(&key.key, KEY_NAME), json_text(value)?]).await.map(drop)
}

/// Sets the value.
pub async fn set(tx: &Tx, key: &StateKey, value: &Json) -> Result<()> {
    let object = object(tx, key).await?;
    let upsert = "INSERT INTO object_state (objectid, name, value_json) VALUES (?, ?, ?) \
                  ON CONFLICT (objectid, name) DO UPDATE SET value_json = excluded.value_json";
    tx.later(upsert, params![object, fitting(&key.key, KEY_NAME), json_text(value)?]).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_keep_their_first_half_and_a_hash() {
        assert_eq!(fitting("short", 128), "short");
        let long = "ä".repeat(129);
        let fitted = fitting(&long, 128);
        assert_eq!(fitted, format!("{}{}", "ä".repeat(64), name_hash(&long)));
    }
}
